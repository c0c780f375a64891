"""Per-date arithmetic on long arrays: ranks, means and standard deviations within groups."""

from __future__ import annotations

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
    valid = np.flatnonzero(~np.isnan(values))
    order = valid[np.lexsort((values[valid], group[valid]))]
    sorted_values, sorted_group = values[order], group[order]
    ranks = np.full(len(values), np.nan)
    counts = np.zeros(len(values), dtype=np.int64)
    if len(order) == 0:
        return ranks, counts
    new_group = np.r_[True, sorted_group[1:] != sorted_group[:-1]]
    new_tie = new_group | np.r_[True, sorted_values[1:] != sorted_values[:-1]]
    first_of_group = np.flatnonzero(new_group)
    group_size = np.diff(np.r_[first_of_group, len(order)])
    first_of_tie = np.flatnonzero(new_tie)
    tie_size = np.diff(np.r_[first_of_tie, len(order)])
    position = first_of_tie - np.repeat(first_of_group, group_size)[first_of_tie]
    ranks[order] = np.repeat(position + (tie_size + 1) / 2, tie_size)
    counts[order] = np.repeat(group_size, group_size)
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
