"""Forecasts of all models on one scale: ranks per date with mean 0 and variance 1."""

from __future__ import annotations

import numpy as np

from factor_models.stacking.grid import Grid, column_ranks, number_groups, standardised_columns


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
    grid = Grid(date_groups(date_code, fold))
    return np.stack([grid.rows(standard_ranks(grid, row)) for row in values])


def date_groups(date_code: np.ndarray, fold: np.ndarray | None = None) -> np.ndarray:
    """Return a number for the date (and fold) of each row (num_rows,), ascending with fold and date."""
    date = date_code.astype(np.int64) - date_code.min(initial=0)
    return number_groups(date if fold is None else fold * (date.max(initial=0) + 1) + date)


def standard_ranks(grid: Grid, values: np.ndarray) -> np.ndarray:
    """Return (num_places, num_groups) standardised ranks of the values (num_rows,) of one model."""
    return standardised_columns(column_ranks(grid.by_group(values)))
