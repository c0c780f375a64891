"""Rolling kernels over the bars of each symbol.

Every kernel takes `values` (num_rows,) float64 and `age` (num_rows,), the number of earlier bars of the
row's symbol, and returns (num_rows,) float64. A value is computed from its own window alone, in two passes
and in a fixed order: no running sum is carried along. So it does not depend, to the last bit, on what comes
later, on how much history lies before the window, or on an outlier that has left it. The rule for missing
data is the same for all: NaN unless the symbol has `window` bars and all of them are known.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from factor_data.kernel_cache import kernel

Floats = NDArray[np.float64]


@kernel(nogil=True)
def rolling_mean(values: Floats, age: NDArray[np.int64], window: int) -> Floats:
    """Mean of the last `window` bars: the newest plus the mean difference to it, so that a constant is its own mean."""
    result = np.full(len(values), np.nan)
    for row in range(len(values)):
        if age[row] >= window - 1:
            newest = values[row]
            differences = 0.0
            for i in range(row - window + 1, row):
                differences += values[i] - newest
            result[row] = newest + differences / window
    return result


@kernel(nogil=True, error_model="numpy")
def rolling_log_mean(values: Floats, unit: Floats, floor: float, age: NDArray[np.int64], window: int) -> Floats:
    """Mean of log(value / unit of the row + floor) over the last `window` bars; NaN where the unit is not above 0."""
    result = np.full(len(values), np.nan)
    for row in range(len(values)):
        if age[row] >= window - 1 and unit[row] > 0.0:
            total = 0.0
            for i in range(row - window + 1, row + 1):
                total += math.log(values[i] / unit[row] + floor)
            result[row] = total / window
    return result


@kernel(nogil=True)
def rolling_max(values: Floats, age: NDArray[np.int64], window: int) -> Floats:
    """Largest of the last `window` bars."""
    result = np.full(len(values), np.nan)
    for row in range(len(values)):
        if age[row] >= window - 1:
            largest = values[row]
            for i in range(row - window + 1, row):
                if values[i] > largest or math.isnan(values[i]):
                    largest = values[i]
                if math.isnan(largest):
                    break
            result[row] = largest
    return result


@kernel(nogil=True)
def mean_and_constant(values: Floats, first: int, window: int) -> tuple[float, bool]:
    """Mean of a window, and whether all its values are equal: rounding of the mean must not look like variance."""
    total = 0.0
    constant = True
    for i in range(first, first + window):
        total += values[i]
        constant = constant and values[i] == values[first]
    return total / window, constant


@kernel(nogil=True)
def rolling_std(values: Floats, age: NDArray[np.int64], window: int) -> Floats:
    """Sample standard deviation (divisor `window - 1`); exactly 0 for a constant window."""
    result = np.full(len(values), np.nan)
    for row in range(len(values)):
        if age[row] >= window - 1:
            first = row - window + 1
            mean, constant = mean_and_constant(values, first, window)
            squares = 0.0
            for i in range(first, row + 1):
                squares += (values[i] - mean) ** 2
            result[row] = 0.0 if constant else math.sqrt(squares / (window - 1))
    return result


@kernel(nogil=True)
def rolling_skewness(values: Floats, age: NDArray[np.int64], window: int) -> Floats:
    """Skewness m3 / m2^1.5 of population moments; NaN for a constant window."""
    result = np.full(len(values), np.nan)
    for row in range(len(values)):
        if age[row] >= window - 1:
            first = row - window + 1
            mean, constant = mean_and_constant(values, first, window)
            second = 0.0
            third = 0.0
            for i in range(first, row + 1):
                deviation = values[i] - mean
                second += deviation * deviation
                third += deviation * deviation * deviation
            if not constant and second > 0.0:
                result[row] = (third / window) / (second / window) ** 1.5
    return result


@kernel(nogil=True)
def rolling_covariance(left: Floats, right: Floats, age: NDArray[np.int64], window: int) -> Floats:
    """Sample covariance (divisor `window - 1`) of two columns; exactly 0 where either is constant in the window."""
    result = np.full(len(left), np.nan)
    for row in range(len(left)):
        if age[row] >= window - 1:
            first = row - window + 1
            mean_left, constant_left = mean_and_constant(left, first, window)
            mean_right, constant_right = mean_and_constant(right, first, window)
            cross = 0.0
            for i in range(first, row + 1):
                cross += (left[i] - mean_left) * (right[i] - mean_right)
            known = cross == cross
            result[row] = 0.0 if known and (constant_left or constant_right) else cross / (window - 1)
    return result


@kernel(nogil=True)
def rolling_correlation(left: Floats, right: Floats, age: NDArray[np.int64], window: int) -> Floats:
    """Pearson correlation of two columns; NaN where either is constant in the window."""
    result = np.full(len(left), np.nan)
    for row in range(len(left)):
        if age[row] >= window - 1:
            first = row - window + 1
            mean_left, constant_left = mean_and_constant(left, first, window)
            mean_right, constant_right = mean_and_constant(right, first, window)
            cross = 0.0
            squares_left = 0.0
            squares_right = 0.0
            for i in range(first, row + 1):
                cross += (left[i] - mean_left) * (right[i] - mean_right)
                squares_left += (left[i] - mean_left) ** 2
                squares_right += (right[i] - mean_right) ** 2
            scale = math.sqrt(squares_left) * math.sqrt(squares_right)
            if not constant_left and not constant_right and scale > 0.0:
                result[row] = cross / scale
    return result
