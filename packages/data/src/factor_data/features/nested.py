"""Sums, moments and extremes over nested windows of 5, 10, 20, 30 and 60 bars, all rows of a block at once.

A window of 10 bars is two of 5, of 20 two of 10, of 30 one of 20 and one of 10, of 60 two of 30. So each size is
joined from smaller ones that are at hand: a dozen steps instead of 125 per row, each a plain loop over rows that
the compiler turns into vector instructions. Nothing is carried from row to row and the order of operations is that
of this fixed tree. Hence a result has the same bits whatever the block, the history before the window, the bars
after it, the number of threads or the width of the machine's vectors.

Second moments are kept around the mean of each part and joined by the rule of Chan, Golub & LeVeque (1983,
American Statistician 37): squares = squares_a + squares_b + (mean_b - mean_a)^2 * n_a * n_b / (n_a + n_b). All terms
are positive, so nothing cancels, however large the level, and a constant window gives exactly 0.

Every function takes values (num_rows,) float64 and returns (5, num_rows) float64: row `k` belongs to
`WINDOWS[k]` and ends at the bar of the column, NaN where the window holds a NaN or is not complete.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_data.kernel_cache import kernel

WINDOWS = (5, 10, 20, 30, 60)
NUM_WINDOWS = len(WINDOWS)
OLDER = (-1, 0, 1, 1, 3)  # window k is joined from window k - 1 and, before it, window OLDER[k]

Floats = NDArray[np.float64]


@kernel(nogil=True)
def nested_sums(values: Floats) -> Floats:
    """Sums."""
    result = np.full((NUM_WINDOWS, len(values)), np.nan)
    smallest = result[0]
    for i in range(4, len(values)):
        smallest[i] = values[i] + values[i - 1] + values[i - 2] + values[i - 3] + values[i - 4]
    for k in range(1, NUM_WINDOWS):
        shift = WINDOWS[k - 1]
        _add(result[k - 1][shift:], result[OLDER[k]][:-shift], result[k][shift:])
    return result


@kernel(nogil=True)
def nested_means(values: Floats) -> Floats:
    """Means: the newest value plus the mean difference to it, so that a constant window gives the constant."""
    result = np.full((NUM_WINDOWS, len(values)), np.nan)
    smallest = result[0]
    for i in range(4, len(values)):
        newest = values[i]
        smallest[i] = newest + 0.2 * (
            (values[i - 1] - newest) + (values[i - 2] - newest) + (values[i - 3] - newest) + (values[i - 4] - newest)
        )
    for k in range(1, NUM_WINDOWS):
        shift = WINDOWS[k - 1]
        share = WINDOWS[OLDER[k]] / WINDOWS[k]
        _join_means(result[k - 1][shift:], result[OLDER[k]][:-shift], share, result[k][shift:])
    return result


@kernel(nogil=True)
def nested_products(left: Floats, right: Floats, mean_left: Floats, mean_right: Floats) -> Floats:
    """Sums of (left - mean) * (right - mean), the means of each window as `nested_means` gives them."""
    result = np.full((NUM_WINDOWS, len(left)), np.nan)
    _smallest_products(left, right, mean_left[0], mean_right[0], result[0])
    for k in range(1, NUM_WINDOWS):
        older, shift = OLDER[k], WINDOWS[k - 1]
        weight = WINDOWS[older] * shift / WINDOWS[k]
        _join_products(
            mean_left[k - 1][shift:], mean_left[older][:-shift], mean_right[k - 1][shift:],
            mean_right[older][:-shift], result[k - 1][shift:], result[older][:-shift], weight, result[k][shift:],
        )  # fmt: skip
    return result


@kernel(nogil=True)
def nested_trends(values: Floats, means: Floats) -> Floats:
    """Sums of (value - mean) * (bar - mean bar) with the bars numbered from old to new."""
    result = np.full((NUM_WINDOWS, len(values)), np.nan)
    smallest = result[0]
    for i in range(4, len(values)):
        smallest[i] = 2.0 * (values[i] - values[i - 4]) + (values[i - 1] - values[i - 3])
    for k in range(1, NUM_WINDOWS):
        older, shift = OLDER[k], WINDOWS[k - 1]
        # The mean bars of two neighbouring parts lie half the joined window apart.
        weight = WINDOWS[older] * shift / 2.0
        _join_trends(
            means[k - 1][shift:], means[older][:-shift], result[k - 1][shift:], result[older][:-shift], weight,
            result[k][shift:],
        )  # fmt: skip
    return result


@kernel(nogil=True)
def nested_maxima(values: Floats) -> tuple[Floats, Floats]:
    """Largest values and how many bars ago they were, the oldest on ties (the lag of a NaN means nothing)."""
    largest = np.full((NUM_WINDOWS, len(values)), np.nan)
    lag = np.zeros((NUM_WINDOWS, len(values)))
    largest[0, 4:] = values[4:]
    for bars in range(1, 5):
        _take_larger_lag(largest[0, 4:], values[4 - bars :], lag[0, 4:], float(bars))
        _take_larger(largest[0, 4:], values[4 - bars :], largest[0, 4:])
    for k in range(1, NUM_WINDOWS):
        shift, older = WINDOWS[k - 1], OLDER[k]
        newer_values, older_values = largest[k - 1][shift:], largest[older][:-shift]
        _take_larger(newer_values, older_values, largest[k][shift:])
        _join_lags(newer_values, older_values, lag[k - 1][shift:], lag[older], float(shift), lag[k][shift:])
    return largest, lag


@kernel(nogil=True)
def _add(newer: Floats, older: Floats, result: Floats) -> None:
    for i in range(len(result)):
        result[i] = newer[i] + older[i]


@kernel(nogil=True)
def _join_means(newer: Floats, older: Floats, share: float, result: Floats) -> None:
    for i in range(len(result)):
        result[i] = newer[i] + share * (older[i] - newer[i])


@kernel(nogil=True)
def _smallest_products(left: Floats, right: Floats, mean_left: Floats, mean_right: Floats, result: Floats) -> None:
    for i in range(4, len(left)):
        a, b = mean_left[i], mean_right[i]
        result[i] = (
            (left[i] - a) * (right[i] - b)
            + (left[i - 1] - a) * (right[i - 1] - b)
            + (left[i - 2] - a) * (right[i - 2] - b)
            + (left[i - 3] - a) * (right[i - 3] - b)
            + (left[i - 4] - a) * (right[i - 4] - b)
        )


@kernel(nogil=True)
def _join_products(
    newer_left: Floats, older_left: Floats, newer_right: Floats, older_right: Floats,
    newer: Floats, older: Floats, weight: float, result: Floats,
) -> None:  # fmt: skip
    for i in range(len(result)):
        between = (older_left[i] - newer_left[i]) * (older_right[i] - newer_right[i])
        result[i] = newer[i] + older[i] + weight * between


@kernel(nogil=True)
def _join_trends(
    newer_mean: Floats, older_mean: Floats, newer: Floats, older: Floats, weight: float, result: Floats
) -> None:
    for i in range(len(result)):
        result[i] = newer[i] + older[i] + weight * (newer_mean[i] - older_mean[i])


@kernel(nogil=True)
def _take_larger(newer: Floats, older: Floats, result: Floats) -> None:
    """NaN of either side wins."""
    for i in range(len(result)):
        result[i] = older[i] if older[i] >= newer[i] or older[i] != older[i] else newer[i]


@kernel(nogil=True)
def _take_larger_lag(newer: Floats, older: Floats, lag: Floats, older_lag: float) -> None:
    for i in range(len(lag)):
        lag[i] = older_lag if older[i] >= newer[i] else lag[i]


@kernel(nogil=True)
def _join_lags(
    newer: Floats, older: Floats, newer_lag: Floats, older_lag: Floats, shift: float, result: Floats
) -> None:
    for i in range(len(result)):
        result[i] = older_lag[i] + shift if older[i] >= newer[i] else newer_lag[i]
