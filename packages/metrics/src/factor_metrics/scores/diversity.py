"""How different predictions are: between models, and between symbols within one model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from factor_metrics.checks import Matrix, Series, as_float_array, as_matrix
from factor_metrics.dispersion import no_dispersion_by_date, rounding_of
from factor_metrics.information_coefficient.ic import rank_ic
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ordered import OrderedMatrix, as_ordered


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
    ordered = _ordered_models(predictions)
    num_models = len(ordered)
    matrix = np.full((num_models, num_models), np.nan)
    for first in range(num_models):
        for second in range(first, num_models):
            per_date = rank_ic(ordered[first], ordered[second], min_symbols)
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
    return len(model_clusters(correlation, names, threshold))


def model_clusters(correlation: ArrayLike, names: Sequence[str], threshold: float = 0.9) -> list[tuple[str, ...]]:
    """Return the groups of models when every redundant pair is joined into one, in the order of their first names."""
    group = {name: name for name in names}
    for first, second, _ in redundant_pairs(correlation, names, threshold):
        old, new = group[second], group[first]
        group = {name: new if leader == old else leader for name, leader in group.items()}
    leaders = dict.fromkeys(group.values())
    return [tuple(name for name in names if group[name] == leader) for leader in leaders]


def num_effective_models(correlation: ArrayLike) -> float:
    """Return how many uncorrelated models would be as diverse: M^2 / sum of squared correlations.

    The participation ratio of the eigenvalues of the correlation matrix, (sum)^2 / sum of squares: M for uncorrelated
    models, 1 for copies. Models without a correlation to themselves are left out; two that share no date count as
    uncorrelated. NaN without any model.

    Examples
    --------
    >>> round(num_effective_models([[1.0, 0.5], [0.5, 1.0]]), 3)
    1.6
    """
    matrix = as_matrix("correlation", correlation)
    there = np.isfinite(np.diag(matrix))
    known = np.nan_to_num(matrix[np.ix_(there, there)])
    return float(len(known) ** 2 / np.square(known).sum()) if len(known) else float("nan")


@same_labels("predictions", "outcome")
def error_correlation(predictions: ArrayLike, outcome: ArrayLike, min_symbols: int = 10) -> Matrix:
    """Return the mean over dates of the correlation between every two models' errors.

    The error of a model is the outcome's rank less its own, both standardised over the symbols of the date that both
    models predict and whose outcome is known. With rank ICs a and b and the rank correlation r between the two models
    that is (1 - a - b + r) / (2 sqrt((1 - a)(1 - b))): two models that know little have errors of correlation
    (1 + r) / 2, so what is below is due to what they know.

    Parameters
    ----------
    predictions
        (num_models, num_dates, num_symbols), NaN = missing.
    outcome
        (num_dates, num_symbols), NaN = unknown.
    min_symbols
        Dates with fewer such symbols are left out.

    Returns
    -------
    numpy.ndarray
        (num_models, num_models) symmetric. NaN where two models share no usable date, also of a model with itself
        where it is constant, missing or right on every date; else the diagonal is 1.
    """
    target = as_ordered("outcome", outcome)
    known = ~np.isnan(target.values)
    models = [one.where(known) for one in _ordered_models(predictions)]
    alone = [rank_ic(one, target, min_symbols) for one in models]
    there = [~np.isnan(one.values) for one in models]
    num_models = len(models)
    matrix = np.full((num_models, num_models), np.nan)
    for first in range(num_models):
        for second in range(first, num_models):
            pair = models[first], models[second]
            of_both: tuple[Series, ...] = (alone[first], alone[second])
            if not np.array_equal(there[first], there[second]):  # each is judged where the other one is, too
                shared = there[first] & there[second]
                of_both = tuple(rank_ic(one.where(shared), target, min_symbols) for one in pair)
            per_date = _error_correlation_of(of_both[0], of_both[1], rank_ic(*pair, min_symbols))
            if np.isfinite(per_date).any():
                matrix[first, second] = matrix[second, first] = np.nanmean(per_date)
    return matrix


def _ordered_models(predictions: ArrayLike | Sequence[OrderedMatrix]) -> list[OrderedMatrix]:
    """Return each model's forecasts in order; (num_models, num_dates, num_symbols) or ordered matrices."""
    given: Any = predictions
    if isinstance(given, list | tuple) and given and isinstance(given[0], OrderedMatrix):
        return list(given)
    return [OrderedMatrix(one, "predictions") for one in as_float_array("predictions", given, 3)]


def _error_correlation_of(a: Series, b: Series, r: Series) -> Series:
    """Return the correlation of errors by the rank ICs of two models, and their own rank correlation."""
    scale = 2.0 * np.sqrt(np.maximum((1.0 - a) * (1.0 - b), 0.0))
    defined = scale > 1e-9
    return np.where(defined, (1.0 - a - b + r) / np.where(defined, scale, 1.0), np.nan)


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
