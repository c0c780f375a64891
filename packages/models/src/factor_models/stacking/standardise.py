"""Forecasts of all models on one scale: ranks per date with mean 0 and variance 1."""

from __future__ import annotations

import numpy as np

MOST_PADDING = 4
"""Cells of a matrix with a group in each row, as a multiple of the values in it, up to which groups share one."""


def rank_standardise(values: np.ndarray, date_code: np.ndarray, fold: np.ndarray | None = None) -> np.ndarray:
    """Average ranks per date (and fold), shifted and scaled to mean 0 and variance 1.

    Parameters
    ----------
    values : (num_models, num_rows); NaN stays NaN and has no rank
    date_code, fold : (num_rows,) integers

    Returns
    -------
    (num_models, num_rows) float64; NaN for a whole date whose values are all equal: a constant carries no
    order
    """
    date = date_code.astype(np.int64) - date_code.min(initial=0)
    group = number_groups(date if fold is None else fold * (date.max(initial=0) + 1) + date)
    return np.stack([standardise(average_ranks(row, group), group) for row in values])


def number_groups(labels: np.ndarray) -> np.ndarray:
    """Return whole numbers (num_rows,) replaced by 0, 1, 2 ... in ascending order."""
    if len(labels) and (labels[1:] >= labels[:-1]).all():
        return np.concatenate([[0], np.cumsum(labels[1:] != labels[:-1])])
    return np.unique(labels, return_inverse=True)[1].ravel()


def average_ranks(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the ranks 0, 1, 2 ... of values (num_rows,) within their group, averages among equals; NaN stays NaN."""
    ranks = np.full(len(values), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    if len(known) == 0:
        return ranks
    order = known[_by_group_and_value(values[known], group[known])]
    sorted_group, sorted_value = group[order], values[order]
    new_group = np.r_[True, sorted_group[1:] != sorted_group[:-1]]
    new_tie = new_group | np.r_[True, sorted_value[1:] != sorted_value[:-1]]
    place = np.arange(len(order)) - np.flatnonzero(new_group)[np.cumsum(new_group) - 1]
    tie = np.cumsum(new_tie) - 1
    ranks[order] = (np.bincount(tie, place) / np.bincount(tie))[tie]
    return ranks


def _by_group_and_value(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the positions (num_rows,) in the order of group and value; equal values in any order.

    Rows that come group by group are sorted side by side, a group in a row of a matrix: that is many times faster.
    """
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    sizes = np.diff(first, append=len(group))
    width = int(sizes.max())
    if (group[1:] < group[:-1]).any() or width * len(sizes) > MOST_PADDING * len(values):
        return np.lexsort((values, group))
    there = np.arange(width) < sizes[:, None]
    matrix = np.full(there.shape, np.inf)
    matrix[there] = values
    return (first[:, None] + np.argsort(matrix, axis=1))[there]


def standardise(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return values (num_rows,) with mean 0 and variance 1 per group; NaN stays, and is all of a constant group."""
    known = np.isfinite(values)
    count = np.maximum(np.bincount(group, known), 1)
    mean = (np.bincount(group, np.where(known, values, 0.0)) / count)[group]
    centred = np.where(known, values - mean, 0.0)
    deviation = np.sqrt(np.bincount(group, centred**2) / count)[group]
    usable = known & (deviation > 1e-12 * np.abs(mean))
    return np.where(usable, centred / np.where(usable, deviation, 1.0), np.nan)
