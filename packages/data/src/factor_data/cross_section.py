"""Per-date arithmetic on long arrays: ranks, means and standard deviations within groups."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


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
    counts : (num_rows,) int64, how many values the row's group has

    >>> group_ranks(np.array([3.0, 1.0, 1.0, np.nan]), np.zeros(4, dtype=int))[0]
    array([3. , 1.5, 1.5, nan])
    """
    if order is None:
        order = group_order(group)
    sorted_group = group[order]
    first = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]]) if len(order) else order
    return _rank_groups(np.asarray(values, dtype=np.float64), order, np.r_[first, len(order)])


def group_order(group: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the rows sorted by group, to be shared between calls of ``group_ranks`` on the same groups."""
    return np.argsort(group, kind="stable")


@njit(cache=True, nogil=True)
def _rank_groups(
    values: NDArray[np.float64], order: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    ranks = np.full(len(values), np.nan)
    counts = np.zeros(len(values), dtype=np.int64)
    for group in range(len(starts) - 1):
        rows = order[starts[group] : starts[group + 1]]
        rows = rows[~np.isnan(values[rows])]
        rows = rows[np.argsort(values[rows])]
        first = 0
        for last in range(len(rows)):
            if last + 1 == len(rows) or values[rows[last + 1]] != values[rows[last]]:
                for place in range(first, last + 1):
                    ranks[rows[place]] = (first + last) / 2 + 1
                    counts[rows[place]] = len(rows)
                first = last + 1
    return ranks, counts


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
