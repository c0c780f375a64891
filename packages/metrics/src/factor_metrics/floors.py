"""Floors: signals without a model that every model has to beat.

A floor is a plain matrix (num_dates, num_symbols), such as the reversed return of the last five bars. Which
floors are used is a table of the caller; here are the one that knows nothing, and the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, as_series
from factor_metrics.summary import ICSummary, paired_difference


def random_ranking(shape: tuple[int, int], seed: int = 0) -> Matrix:
    """Return uniform noise (num_dates, num_symbols): the floor that knows nothing."""
    if len(shape) != 2 or min(shape) < 0:
        raise ValueError(f"shape must be (num_dates, num_symbols), got {shape}")
    return np.random.default_rng(seed).random(shape)


def best_floor(floor_ics: Mapping[str, ArrayLike]) -> str:
    """Return the name of the floor with the highest mean IC (the first by name on equal means).

    Floors whose IC is NaN on every date come last.
    """
    if not floor_ics:
        raise ValueError("floor_ics must name at least one floor, got none")
    return min(floor_ics, key=lambda name: (-_mean_or_worst(name, floor_ics[name]), name))


def compare_with_floors(
    model_ic: ArrayLike, floor_ics: Mapping[str, ArrayLike], horizon: int = 1, confidence: float = 0.95
) -> dict[str, ICSummary]:
    """Return, per floor, the paired difference model - floor on common dates (see `paired_difference`)."""
    return {name: paired_difference(model_ic, floor_ics[name], horizon, confidence) for name in floor_ics}


def _mean_or_worst(name: str, series: ArrayLike) -> float:
    values = as_series(name, series)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else -np.inf
