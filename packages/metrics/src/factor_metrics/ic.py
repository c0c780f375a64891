"""Information coefficient: how well a prediction orders the symbols of one date.

Computed per date over symbols, never pooled over dates. A prediction that does not differ between symbols
says nothing, so its IC is NaN, not 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, Series, as_matrix, check_at_least, check_same_shape
from factor_metrics.ranks import rank_rows


def ic(prediction: ArrayLike, label: ArrayLike, min_symbols: int = 10) -> Series:
    """Return the Pearson correlation of prediction and label, per date.

    Parameters
    ----------
    prediction, label
        (num_dates, num_symbols) float32 or float64, NaN = missing. A symbol counts on a date where both are
        present.
    min_symbols
        Dates with fewer such symbols are NaN. At least 2.

    Returns
    -------
    numpy.ndarray
        (num_dates,) float64 in [-1, 1]; NaN where either side is constant or symbols are too few.

    Examples
    --------
    >>> ic([[1.0, 2.0, 3.0]], [[0.1, 0.2, 0.3]], min_symbols=3).round(6)
    array([1.])
    """
    prediction_DS, label_DS = _pairs(prediction, label, min_symbols)
    return _pearson_rows(prediction_DS, label_DS, min_symbols)


def rank_ic(prediction: ArrayLike, label: ArrayLike, min_symbols: int = 10) -> Series:
    """Return the Spearman correlation of prediction and label, per date: Pearson on average ranks.

    Ties share their average rank and ranks are taken among the symbols where both values are present, exactly
    on the values given (nothing is rounded). Arguments, NaN rule and shape are those of `ic`.

    Examples
    --------
    >>> rank_ic([[1.0, 2.0, 30.0]], [[0.1, 0.2, 0.3]], min_symbols=3).round(6)
    array([1.])
    """
    prediction_DS, label_DS = _pairs(prediction, label, min_symbols)
    return _pearson_rows(rank_rows(prediction_DS), rank_rows(label_DS), min_symbols)


def _pairs(prediction: ArrayLike, label: ArrayLike, min_symbols: int) -> tuple[Matrix, Matrix]:
    """Both matrices with NaN wherever either is missing."""
    check_at_least("min_symbols", min_symbols, 2)
    prediction_DS = as_matrix("prediction", prediction)
    label_DS = as_matrix("label", label)
    check_same_shape("prediction", prediction_DS, "label", label_DS)
    missing = np.isnan(prediction_DS) | np.isnan(label_DS)
    if not missing.any():
        return prediction_DS, label_DS
    return np.where(missing, np.nan, prediction_DS), np.where(missing, np.nan, label_DS)


def _pearson_rows(x_DS: Matrix, y_DS: Matrix, min_symbols: int) -> Series:
    """Pearson per row of two matrices that are missing at the same places."""
    present = ~np.isnan(x_DS)
    num_symbols = present.sum(axis=1)
    x_unit, x_varies = _unit_deviation(x_DS, present, num_symbols)
    y_unit, y_varies = _unit_deviation(y_DS, present, num_symbols)
    correlation = np.clip((x_unit * y_unit).sum(axis=1), -1.0, 1.0)
    defined = (num_symbols >= min_symbols) & x_varies & y_varies
    return np.where(defined, correlation, np.nan)


def _unit_deviation(
    values: Matrix, present: np.ndarray, num_symbols: np.ndarray
) -> tuple[Matrix, np.ndarray]:
    """Deviation from the row mean scaled to length one (0 where missing), and which rows are not constant.

    "Constant" is decided on the values themselves: the deviations of a constant row are rounding noise, not
    exact 0. Dividing by the largest deviation first keeps the squares of very small or large values in range.
    """
    filled = np.where(present, values, 0.0)
    highest = np.max(filled, axis=1, where=present, initial=-np.inf)
    lowest = np.min(filled, axis=1, where=present, initial=np.inf)
    varies = highest > lowest
    mean = filled.sum(axis=1) / np.maximum(num_symbols, 1)
    deviation = np.where(present, filled - mean[:, None], 0.0)
    largest = np.abs(deviation).max(axis=1, initial=0.0)
    deviation /= np.where(varies & (largest > 0.0), largest, 1.0)[:, None]
    length = np.sqrt(np.square(deviation).sum(axis=1))
    deviation /= np.where(length > 0.0, length, 1.0)[:, None]
    return deviation, varies & (length > 0.0)
