"""Kernels over windows of bars that look at order, place and trend, under the rules of `features.kernels`.

Each takes `values` (num_rows,) float64 without infinities and `age` (num_rows,), the number of earlier bars of the
row's symbol, and returns (num_rows,) float64: NaN unless the symbol has `window` bars and all of them are known.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from factor_data.features.kernels import Floats, mean_and_constant
from factor_data.kernel_cache import kernel

FORGOTTEN = 1e-7  # weight below which an exponential average no longer looks at a bar: the rounding of float32


@kernel(nogil=True)
def rolling_sum(values: Floats, age: NDArray[np.int64], window: int) -> Floats:
    """Sum of the last `window` bars."""
    result = np.full(len(values), np.nan)
    for row in range(len(values)):
        if age[row] >= window - 1:
            total = 0.0
            for i in range(row - window + 1, row + 1):
                total += values[i]
            result[row] = total
    return result


@kernel(nogil=True)
def rolling_quantile(values: Floats, age: NDArray[np.int64], window: int, level: float) -> Floats:
    """Quantile of the last `window` bars, linear between the two values beside it.

    The sorted window is carried from bar to bar; it holds the values themselves, so nothing of earlier bars is in it.
    """
    result = np.full(len(values), np.nan)
    known = np.where(np.isnan(values), np.inf, values)
    ordered = np.empty(window)
    place = level * (window - 1)
    below = min(int(place), window - 1)
    above = min(below + 1, window - 1)
    for row in range(len(values)):
        if age[row] < window - 1:
            continue
        if age[row] == window - 1 or row < window:
            ordered = np.sort(known[row - window + 1 : row + 1])
        else:
            replace_sorted(ordered, known[row - window], known[row])
        if ordered[window - 1] < np.inf:
            result[row] = ordered[below] + (ordered[above] - ordered[below]) * (place - below)
    return result


@kernel(nogil=True)
def replace_sorted(ordered: Floats, old: float, new: float) -> None:
    """Put `new` in the place of `old` and restore the order; `old` must be there."""
    place = 0
    for i in range(len(ordered)):
        place += ordered[i] < old
    while place + 1 < len(ordered) and ordered[place + 1] < new:
        ordered[place] = ordered[place + 1]
        place += 1
    while place > 0 and ordered[place - 1] > new:
        ordered[place] = ordered[place - 1]
        place -= 1
    ordered[place] = new


@kernel(nogil=True)
def rolling_rank(values: Floats, age: NDArray[np.int64], window: int) -> Floats:
    """Average rank of the last value among the last `window` bars, over `window`: 1 for a strict maximum."""
    result = np.full(len(values), np.nan)
    for row in range(len(values)):
        if age[row] >= window - 1:
            last = values[row]
            rank = 0.5  # it ties with itself below: 1/2 + 1/2 is its own place
            for i in range(row - window + 1, row + 1):
                rank += 1.0 if values[i] < last else 0.5 if values[i] == last else 0.0 * values[i]
            result[row] = rank / window
    return result


@kernel(nogil=True)
def rolling_place_of_max(values: Floats, age: NDArray[np.int64], window: int) -> Floats:
    """Place in the window, 1 = oldest bar, of its largest value; the oldest on ties."""
    result = np.full(len(values), np.nan)
    for row in range(len(values)):
        if age[row] >= window - 1:
            first = row - window + 1
            place, known = first, True
            for i in range(first, row + 1):
                known = known and not math.isnan(values[i])
                if values[i] > values[place]:
                    place = i
            if known:
                result[row] = place - first + 1
    return result


@kernel(nogil=True, error_model="numpy")
def rolling_line(values: Floats, age: NDArray[np.int64], window: int) -> tuple[Floats, Floats, Floats]:
    """Least squares line through the last `window` bars: slope per bar, R^2 and the residual of the last bar.

    A constant window has slope and residual 0, exactly, and no R^2.
    """
    slope, share, residual = np.full((3, len(values)), np.nan)
    middle = 0.5 * (window - 1)
    bars = window * (window * window - 1.0) / 12.0  # sum of squares of the bar numbers around their mean
    for row in range(len(values)):
        if age[row] >= window - 1:
            first = row - window + 1
            mean, constant = mean_and_constant(values, first, window)
            cross, squares = 0.0, 0.0
            for i in range(first, row + 1):
                cross += (i - first - middle) * (values[i] - mean)
                squares += (values[i] - mean) ** 2
            slope[row] = 0.0 if constant else cross / bars
            residual[row] = 0.0 if constant else values[row] - mean - middle * cross / bars
            share[row] = np.nan if constant else min(cross * cross / (bars * squares), 1.0)
    return slope, share, residual


@kernel(nogil=True)
def rolling_ramp(values: Floats, age: NDArray[np.int64], window: int) -> Floats:
    """Mean of the last `window` bars with weights 1, 2 ... `window`, the newest bar's the largest."""
    result = np.full(len(values), np.nan)
    for row in range(len(values)):
        if age[row] >= window - 1:
            first = row - window + 1
            total = 0.0
            for i in range(first, row + 1):
                total += (i - first + 1.0) * values[i]
            result[row] = total / (0.5 * window * (window + 1.0))
    return result


@kernel(nogil=True)
def exponential_memory(share: float, least: int) -> int:
    """Bars that `exponential_mean` looks at, at most: until a weight is below `FORGOTTEN`."""
    keep = 1.0 - share
    return 1 if keep <= 0.0 else max(least, math.ceil(math.log(FORGOTTEN) / math.log(keep)))


@kernel(nogil=True)
def exponential_mean(values: Floats, age: NDArray[np.int64], share: float, least: int) -> Floats:
    """Mean whose weights fall by `1 - share` a bar, over the bars of the symbol since the last missing value.

    It looks back until a weight is below `FORGOTTEN`, and is NaN until it has `least` bars. Like every kernel it begins
    anew at each row, from the oldest bar on: no state is carried along.
    """
    result = np.full(len(values), np.nan)
    keep = 1.0 - share
    memory = exponential_memory(share, least)
    weights = keep ** np.arange(memory)  # the newest bar's is 1
    sums = np.cumsum(weights)
    for row in range(len(values)):
        # As a difference to the newest bar, so that a constant is its own mean.
        differences, count = 0.0, 0
        while count < min(memory, age[row] + 1) and not math.isnan(values[row - count]):
            differences += weights[count] * (values[row - count] - values[row])
            count += 1
        if count >= least:
            result[row] = values[row] + differences / sums[count - 1]
    return result


@kernel(nogil=True)
def known_exponential_mean(values: Floats, age: NDArray[np.int64], keep: float, window: int, least: int) -> Floats:
    """Mean of the known values of the symbol's last `window` bars, whose weights fall to `keep` of them a bar.

    A missing value is left out, its bar counts. NaN where fewer than `least` are known.
    """
    result = np.full(len(values), np.nan)
    weights = keep ** np.arange(window)  # the newest bar's is 1
    for row in range(len(values)):
        result[row] = known_mean_back(values, row, age[row] + 1, weights, least)
    return result


@kernel()
def known_mean_back(values: Floats, row: int, bars: int, weights: Floats, least: int) -> float:
    """Weighted mean of the known among the `bars` values up to a row, as many as there are weights at most.

    `weights[0]` is of the row itself. NaN where fewer than `least` are known.
    """
    # As a difference to the newest known value, so that a constant is its own mean.
    newest, differences, total, count = 0.0, 0.0, 0.0, 0
    for back in range(min(len(weights), bars)):
        value = values[row - back]
        if not math.isnan(value):
            if count == 0:
                newest = value
            count += 1
            differences += weights[back] * (value - newest)
            total += weights[back]
    return newest + differences / total if count >= least else np.nan
