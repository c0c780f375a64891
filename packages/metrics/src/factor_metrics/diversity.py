"""How different predictions are: between models, and between symbols within one model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, as_float_array, as_matrix
from factor_metrics.ic import rank_ic_by_horizon


def prediction_correlation(predictions: ArrayLike, min_symbols: int = 10) -> Matrix:
    """Return the mean over dates of the per-date Spearman correlation between every two models.

    Parameters
    ----------
    predictions
        (num_models, num_dates, num_symbols), NaN = missing; a pair is compared on the symbols that both
        predict.
    min_symbols
        Dates with fewer such symbols are left out.

    Returns
    -------
    numpy.ndarray
        (num_models, num_models) symmetric. NaN where two models share no usable date; the diagonal is 1, or
        NaN for a model that is constant or missing on every date.
    """
    predictions_MDS = as_float_array("predictions", predictions, 3)
    num_models = len(predictions_MDS)
    matrix = np.full((num_models, num_models), np.nan)
    for first in range(num_models):
        against_MD = rank_ic_by_horizon(predictions_MDS[first], predictions_MDS[first:], min_symbols)
        for second, per_date in enumerate(against_MD, start=first):
            defined = per_date[~np.isnan(per_date)]
            if len(defined):
                matrix[first, second] = matrix[second, first] = defined.mean()
    return matrix


def redundant_pairs(
    correlation: ArrayLike, names: Sequence[str], threshold: float = 0.9
) -> list[tuple[str, str, float]]:
    """Return (name, name, correlation) of all pairs of models above `threshold`, highest first."""
    matrix = _named_matrix(correlation, names)
    pairs = [
        (names[first], names[second], float(matrix[first, second]))
        for first, second in combinations(range(len(names)), 2)
        if matrix[first, second] > threshold
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def num_distinct_models(correlation: ArrayLike, names: Sequence[str], threshold: float = 0.9) -> int:
    """Return the number of groups of models when every redundant pair is joined into one group."""
    group = {name: name for name in names}
    for first, second, _ in redundant_pairs(correlation, names, threshold):
        old, new = group[second], group[first]
        group = {name: new if leader == old else leader for name, leader in group.items()}
    return len(set(group.values()))


def constant_share(prediction: ArrayLike) -> float:
    """Return the share of dates on which all symbols get the same prediction.

    Counted over the dates with at least two predictions; NaN if there is none.
    """
    prediction_DS = as_matrix("prediction", prediction)
    present = ~np.isnan(prediction_DS)
    highest = np.max(prediction_DS, axis=1, where=present, initial=-np.inf)
    lowest = np.min(prediction_DS, axis=1, where=present, initial=np.inf)
    counted = present.sum(axis=1) >= 2
    return float((highest == lowest)[counted].mean()) if counted.any() else float("nan")


def _named_matrix(correlation: ArrayLike, names: Sequence[str]) -> Matrix:
    matrix = as_matrix("correlation", correlation)
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"correlation must be square over {len(names)} names, got shape {matrix.shape}")
    if len(set(names)) != len(names):
        raise ValueError(f"names must be unique, got {list(names)}")
    return matrix
