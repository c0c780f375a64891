"""Per-date arithmetic on long arrays: rank, z-score, clipping and neutralisation within groups.

Rows come in any order; the date (or any other group) of each is given by a code. A value that is NaN is left out and
stays NaN. To restrict a transform to the universe, hand it NaN for the rows outside.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from factor_data.fit.ranks import group_order, group_ranks, scaled_rank
from factor_data.kernel_cache import kernel


def group_moments(
    values: NDArray, group: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean, population standard deviation and count of the row's group, each (num_rows,); NaN ignored."""
    num_groups = int(group.max()) + 1 if len(group) else 0
    known = np.asarray(values, dtype=np.float64)
    count, total = _count_and_sum(known, group, num_groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        std = np.sqrt(_sum_of_squares(known, group, mean) / count)
    return mean[group], std[group], count[group].astype(np.int64)


@kernel(nogil=True)
def _count_and_sum(
    values: NDArray[np.float64], group: NDArray[np.integer], num_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many values each group has, and their sum row after row; without NaN."""
    count, total = np.zeros(num_groups), np.zeros(num_groups)
    for row in range(len(values)):
        if values[row] == values[row]:
            count[group[row]] += 1.0
            total[group[row]] += values[row]
    return count, total


@kernel(nogil=True)
def _sum_of_squares(
    values: NDArray[np.float64], group: NDArray[np.integer], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sum of squared deviations of each group from its mean, row after row; without NaN."""
    total = np.zeros(len(mean))
    for row in range(len(values)):
        if values[row] == values[row]:
            deviation = values[row] - mean[group[row]]
            total[group[row]] += deviation * deviation
    return total


def cross_sectional_rank(values: NDArray, date_code: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the average rank within the date, scaled so that the lowest is -1 and the highest +1; a single value is 0.

    `values` and result are (num_rows,).
    """
    return scaled_rank(*group_ranks(values, date_code))


def cross_sectional_zscore(values: NDArray, date_code: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return (x - mean) / population standard deviation of the date, (num_rows,); NaN where all values are equal."""
    mean, std, _ = group_moments(values, date_code)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(constant_groups(values, date_code), np.nan, (values - mean) / std)


def constant_groups(values: NDArray, group: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(num_rows,) True where the row's group has no two different values: exact, unlike a deviation of 0."""
    num_groups = int(group.max()) + 1 if len(group) else 0
    low, high = _lowest_and_highest(np.asarray(values, dtype=np.float64), group, num_groups)
    return ~(low < high)[group]


@kernel(nogil=True)
def _lowest_and_highest(
    values: NDArray[np.float64], group: NDArray[np.integer], num_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and the highest value of each group; without NaN."""
    low, high = np.full(num_groups, np.inf), np.full(num_groups, -np.inf)
    for row in range(len(values)):
        if values[row] == values[row]:
            low[group[row]] = min(low[group[row]], values[row])
            high[group[row]] = max(high[group[row]], values[row])
    return low, high


def less_group_mean(values: NDArray, date_code: NDArray[np.integer], group: NDArray) -> NDArray[np.float64]:
    """Return each value minus the mean of those that share its date and group, (num_rows,).

    Parameters
    ----------
    values : (num_rows,) float, NaN = missing: it has no part in a mean
    date_code : (num_rows,) int
    group : (num_rows,) number of a group, such as a sector; NaN = none is known

    Returns
    -------
    float64; NaN where value or group is missing, exactly 0 where all values of date and group are equal, as in a group
    of one, so that no rounding is ranked
    """
    own = np.where(np.isnan(group), np.nan, values).astype(np.float64)
    code = np.unique(group, return_inverse=True)[1]
    cell = np.unique(date_code.astype(np.int64) * (len(own) + 1) + code, return_inverse=True)[1]
    residual = own - group_moments(own, cell)[0]
    residual[constant_groups(own, cell) & ~np.isnan(own)] = 0.0
    return residual


def winsorise(
    values: NDArray, date_code: NDArray[np.integer], lower: float = 0.01, upper: float = 0.99
) -> NDArray[np.float64]:
    """Clip values to the `lower` and `upper` quantile of their date (linear interpolation), (num_rows,)."""
    if not 0.0 <= lower < upper <= 1.0:
        raise ValueError(f"lower and upper must satisfy 0 <= lower < upper <= 1, got lower {lower}, upper {upper}")
    result = np.array(values, dtype=np.float64)
    for rows in _rows_of_groups(date_code, ~np.isnan(result)):
        low, high = np.quantile(result[rows], [lower, upper])
        result[rows] = np.clip(result[rows], low, high)
    return result


def neutralise(
    values: NDArray,
    date_code: NDArray[np.integer],
    groups: NDArray[np.integer] | None = None,
    exposures: NDArray | None = None,
) -> NDArray[np.float64]:
    """Return the residual of values on groups and exposures, by least squares on each date for itself.

    Parameters
    ----------
    values : (num_rows,) float, NaN = missing
    date_code : (num_rows,) int
    groups : (num_rows,) int >= 0, such as an industry code: each group of a date gets its own intercept. None: one
        intercept per date
    exposures : (num_rows,) or (num_rows, num_exposures) float, such as log capitalisation; None: none

    Returns
    -------
    (num_rows,) float64; NaN where the value or an exposure is missing, and on a date with fewer such rows than
    intercepts and exposures plus one. Collinear exposures do no harm: the residual is unique.
    """
    values = np.asarray(values, dtype=np.float64)
    columns = np.zeros((len(values), 0)) if exposures is None else np.asarray(exposures, dtype=np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    result = np.full(len(values), np.nan)
    known = ~np.isnan(values) & ~np.isnan(columns).any(axis=1)
    for rows in _rows_of_groups(date_code, known):
        group = np.zeros(len(rows), dtype=int) if groups is None else np.unique(groups[rows], return_inverse=True)[1]
        if len(rows) < int(group.max()) + 2 + columns.shape[1]:
            continue
        # Frisch, Waugh & Lovell: intercepts drop out of values and exposures before the regression.
        target = _without_group_mean(values[rows], group)
        if columns.shape[1]:
            inputs = np.column_stack([_without_group_mean(column, group) for column in columns[rows].T])
            target = target - inputs @ np.linalg.lstsq(inputs, target, rcond=None)[0]
        result[rows] = target
    return result


def _without_group_mean(values: NDArray[np.float64], group: NDArray[np.integer]) -> NDArray[np.float64]:
    return values - (np.bincount(group, weights=values) / np.bincount(group))[group]


def _rows_of_groups(group: NDArray[np.integer], selected: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Yield the selected rows of each group that has any."""
    rows = np.flatnonzero(selected)
    rows = rows[group_order(group[rows])]
    yield from np.split(rows, np.flatnonzero(np.diff(group[rows])) + 1) if len(rows) else ()
