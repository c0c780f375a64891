"""Per-date arithmetic on long arrays: ranks, means and standard deviations within groups."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


def group_ranks(values: NDArray, group: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rank values within their group, 1 = smallest, ties share the average rank.

    Parameters
    ----------
    values : (num_rows,) float, NaN = missing
    group : (num_rows,) int, such as the date code of each row

    Returns
    -------
    ranks : (num_rows,) float64, NaN where the value is missing
    counts : (num_rows,) int64, how many values the row's group has

    >>> group_ranks(np.array([3.0, 1.0, 1.0, np.nan]), np.zeros(4, dtype=int))[0]
    array([3. , 1.5, 1.5, nan])
    """
    num_groups = int(group.max()) + 1 if len(group) else 0
    members = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[members], np.arange(num_groups + 1))
    return _ranks(np.ascontiguousarray(values), members, starts)


@numba.njit(cache=True)
def _ranks(
    values: NDArray, members: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Group by group: sort the known values, then give runs of equal values their average position."""
    ranks = np.full(len(values), np.nan)
    counts = np.zeros(len(values), dtype=np.int64)
    for g in range(len(starts) - 1):
        rows = members[starts[g] : starts[g + 1]]
        rows = rows[~np.isnan(values[rows])]
        ordered = rows[np.argsort(values[rows], kind="mergesort")]
        first = 0
        while first < len(ordered):
            last = first
            while last + 1 < len(ordered) and values[ordered[last + 1]] == values[ordered[first]]:
                last += 1
            for i in range(first, last + 1):
                ranks[ordered[i]] = (first + last) / 2 + 1
            first = last + 1
        counts[rows] = len(rows)
    return ranks, counts


def group_moments(
    values: NDArray, group: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean, population standard deviation and count of the row's group, each (num_rows,); NaN ignored."""
    num_groups = int(group.max()) + 1 if len(group) else 0
    valid = ~np.isnan(values)
    filled = np.where(valid, values, 0.0).astype(np.float64)
    count = np.bincount(group, weights=valid, minlength=num_groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(group, weights=filled, minlength=num_groups) / count
        deviation = np.where(valid, filled - mean[group], 0.0)
        std = np.sqrt(np.bincount(group, weights=deviation**2, minlength=num_groups) / count)
    return mean[group], std[group], count[group].astype(np.int64)
