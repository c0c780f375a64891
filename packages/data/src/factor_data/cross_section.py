"""Per-date arithmetic on long arrays: ranks, moments, clipping and neutralisation within groups.

Rows come in any order; the date (or any other group) of each is given by a code. A value that is NaN is left out and
stays NaN. To restrict a transform to the universe, hand it NaN for the rows outside.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray

RANK_BLOCK = 1 << 20  # values that are ranked at a time


def group_ranks(
    values: NDArray, group: NDArray[np.integer], order: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rank values within their group, 1 = smallest, ties share the average rank.

    Parameters
    ----------
    values : (num_rows,) float, NaN = missing
    group : (num_rows,) int, such as the date code of each row
    order : what ``group_order(group)`` gives, if it is at hand

    Returns
    -------
    ranks : (num_rows,) float64, NaN where the value is missing
    counts : (num_rows,) int64, how many known values the row's group has, 0 where the value is missing

    >>> group_ranks(np.array([3.0, 1.0, 1.0, np.nan]), np.zeros(4, dtype=int))[0]
    array([3. , 1.5, 1.5, nan])
    """
    if order is None:
        order = group_order(group)
    ranks, counts = np.full(len(values), np.nan), np.zeros(len(values), dtype=np.int64)
    for starts in group_blocks(group, order):
        rows = order[starts[0] : starts[-1]]
        own = np.asarray(values[rows], dtype=np.float64)
        ranks[rows], counts[rows] = ranks_of_runs(own, starts - starts[0])
    return ranks, counts


def group_order(group: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the rows sorted by group, to be shared between calls of ``group_ranks`` on the same groups."""
    if len(group) and group.min() >= 0 and group.max() <= 4 * len(group):
        return _counting_order(np.ascontiguousarray(group, dtype=np.int64), int(group.max()) + 1)
    return np.argsort(group, kind="stable")


def group_blocks(group: NDArray[np.integer], order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the run borders of some whole groups at a time, as places in ``order``, in bounded blocks."""
    sorted_group = group[order]
    first = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]]) if len(order) else order
    borders = np.r_[first, len(order)]
    begin = 0
    while begin < len(borders) - 1:
        widest = np.maximum.accumulate(np.diff(borders[begin:]))
        cells = widest * np.arange(1, len(widest) + 1)
        end = begin + max(int(np.searchsorted(cells, RANK_BLOCK, side="right")), 1)
        yield borders[begin : end + 1]
        begin = end


def ranks_of_runs(
    values: NDArray[np.float64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rank each run ``values[starts[g]:starts[g + 1]]`` for itself; result as ``group_ranks``.

    The runs are laid out as the rows of a matrix, which NumPy sorts with vector instructions.
    """
    sizes = np.diff(starts)
    inside = np.arange(sizes.max(initial=0)) < sizes[:, None]
    matrix = np.full(inside.shape, np.nan)
    matrix[inside] = values
    return _average_ranks(values, starts, np.argsort(matrix, axis=1))


@njit(cache=True, nogil=True)
def _average_ranks(
    values: NDArray[np.float64], starts: NDArray[np.int64], places: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give ties their average rank; ``places[g]`` sorts run ``g``, NaN last."""
    ranks = np.full(len(values), np.nan)
    counts = np.zeros(len(values), dtype=np.int64)
    for group in range(len(starts) - 1):
        run, place = values[starts[group] : starts[group + 1]], places[group]
        known = 0
        while known < len(run) and run[place[known]] == run[place[known]]:
            known += 1
        first = 0
        for last in range(known):
            if last + 1 == known or run[place[last + 1]] != run[place[last]]:
                for tied in range(first, last + 1):
                    ranks[starts[group] + place[tied]] = (first + last) / 2 + 1
                    counts[starts[group] + place[tied]] = known
                first = last + 1
    return ranks, counts


@njit(cache=True, nogil=True)
def _counting_order(group: NDArray[np.int64], num_groups: int) -> NDArray[np.int64]:
    """Stable sort by counting."""
    place = np.zeros(num_groups + 1, dtype=np.int64)
    for row in range(len(group)):
        place[group[row] + 1] += 1
    for number in range(num_groups):
        place[number + 1] += place[number]
    order = np.empty(len(group), dtype=np.int64)
    for row in range(len(group)):
        order[place[group[row]]] = row
        place[group[row]] += 1
    return order


def group_moments(
    values: NDArray, group: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean, population standard deviation and count of the row's group, each (num_rows,); NaN
    ignored."""
    num_groups = int(group.max()) + 1 if len(group) else 0
    valid = ~np.isnan(values)
    filled = np.where(valid, values, 0.0).astype(np.float64)
    count = np.bincount(group, weights=valid, minlength=num_groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(group, weights=filled, minlength=num_groups) / count
        deviation = np.where(valid, filled - mean[group], 0.0)
        std = np.sqrt(np.bincount(group, weights=deviation**2, minlength=num_groups) / count)
    return mean[group], std[group], count[group].astype(np.int64)


def cross_sectional_rank(values: NDArray, date_code: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the average rank within the date, scaled so that the lowest is -1 and the highest +1; a single value
    is 0.

    ``values`` and result are (num_rows,).
    """
    return scaled_rank(*group_ranks(values, date_code))


def scaled_rank(rank: NDArray[np.float64], count: NDArray[np.integer]) -> NDArray[np.float64]:
    """Map ranks 1..count to [-1, 1], a single value to 0."""
    return 2.0 * (rank - 1.0) / np.maximum(count - 1, 1) - np.where(count > 1, 1.0, 0.0)


def cross_sectional_zscore(values: NDArray, date_code: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return (x - mean) / population standard deviation of the date, (num_rows,); NaN where all values are equal."""
    mean, std, _ = group_moments(values, date_code)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(constant_groups(values, date_code), np.nan, (values - mean) / std)


def constant_groups(values: NDArray, group: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(num_rows,) True where the row's group has no two different values: exact, unlike a deviation of 0."""
    num_groups = int(group.max()) + 1 if len(group) else 0
    low, high = np.full(num_groups, np.inf), np.full(num_groups, -np.inf)
    known = ~np.isnan(values)
    np.minimum.at(low, group[known], values[known])
    np.maximum.at(high, group[known], values[known])
    return ~(low < high)[group]


def winsorise(
    values: NDArray, date_code: NDArray[np.integer], lower: float = 0.01, upper: float = 0.99
) -> NDArray[np.float64]:
    """Clip values to the ``lower`` and ``upper`` quantile of their date (linear interpolation), (num_rows,)."""
    if not 0.0 <= lower < upper <= 1.0:
        raise ValueError(
            f"lower and upper must satisfy 0 <= lower < upper <= 1, got lower {lower}, upper {upper}"
        )
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
        group = (
            np.zeros(len(rows), dtype=int)
            if groups is None
            else np.unique(groups[rows], return_inverse=True)[1]
        )
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
