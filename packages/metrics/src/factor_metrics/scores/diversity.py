"""How different predictions are: between models, and between symbols within one model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from factor_metrics.checks import Matrix, as_float_array, as_matrix
from factor_metrics.dispersion import no_dispersion_by_date, rounding_of
from factor_metrics.information_coefficient.ic import rank_ic_by_horizon
from factor_metrics.labels import same_labels


@same_labels("predictions")
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


def constant_share(prediction: ArrayLike, dtype: DTypeLike | None = None) -> float:
    """Return the share of dates on which all symbols get the same prediction, up to rounding.

    Counted over the dates with at least two predictions; NaN if there is none. `dtype` as in `constant_dates`.
    """
    prediction_DS = as_float_array("prediction", prediction, 2)
    counted = (~np.isnan(prediction_DS)).sum(axis=1) >= 2
    if not counted.any():
        return float("nan")
    return float(constant_dates(prediction_DS, dtype)[counted].mean())


def constant_dates(prediction: ArrayLike, dtype: DTypeLike | None = None) -> NDArray[np.bool_]:
    """Return whether all symbols of a date get the same prediction, up to rounding.

    Equal inputs give forecasts that are equal on one CPU and differ in the last bits on another. The rule is that of
    `dispersion`, with for scale the larger of the date's own largest |prediction| and the median of that over the
    dates: a date near zero rounds like its neighbours.

    Parameters
    ----------
    prediction
        (num_dates, num_symbols), NaN = missing.
    dtype
        The type the predictions were computed in, if they have been converted since; None: that of the array.

    Returns
    -------
    numpy.ndarray
        (num_dates,) bool; true as well for a date with one prediction or none, which tells nothing apart.
    """
    prediction_DS = as_float_array("prediction", prediction, 2)
    present = ~np.isnan(prediction_DS)
    several = present.sum(axis=1) >= 2
    largest = np.max(np.abs(prediction_DS), axis=1, where=present, initial=0.0)
    usual = float(np.median(largest[several])) if several.any() else 0.0
    return no_dispersion_by_date(prediction_DS, scale=usual, rounding=rounding_of(prediction_DS, dtype))


def _named_matrix(correlation: ArrayLike, names: Sequence[str]) -> Matrix:
    matrix = as_matrix("correlation", correlation)
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"correlation must be square over {len(names)} names, got shape {matrix.shape}")
    if len(set(names)) != len(names):
        raise ValueError(f"names must be unique, got {list(names)}")
    return matrix
