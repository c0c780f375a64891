"""Forecasts of all models on one scale: ranks per date with mean 0 and variance 1."""

from __future__ import annotations

import numpy as np


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
    return np.unique(labels, return_inverse=True)[1].ravel()


def average_ranks(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the ranks 0, 1, 2 ... of values (num_rows,) within their group, averages among equals; NaN stays NaN."""
    ranks = np.full(len(values), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.lexsort((values[known], group[known]))]
    if len(order) == 0:
        return ranks
    sorted_group, sorted_value = group[order], values[order]
    new_group = np.r_[True, sorted_group[1:] != sorted_group[:-1]]
    new_tie = new_group | np.r_[True, sorted_value[1:] != sorted_value[:-1]]
    place = np.arange(len(order)) - np.flatnonzero(new_group)[np.cumsum(new_group) - 1]
    tie = np.cumsum(new_tie) - 1
    ranks[order] = (np.bincount(tie, place) / np.bincount(tie))[tie]
    return ranks


def standardise(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return values (num_rows,) with mean 0 and variance 1 per group; NaN stays, and is all of a constant group."""
    known = np.isfinite(values)
    count = np.maximum(np.bincount(group, known), 1)
    mean = (np.bincount(group, np.where(known, values, 0.0)) / count)[group]
    centred = np.where(known, values - mean, 0.0)
    deviation = np.sqrt(np.bincount(group, centred**2) / count)[group]
    usable = known & (deviation > 1e-12 * np.abs(mean))
    return np.where(usable, centred / np.where(usable, deviation, 1.0), np.nan)
