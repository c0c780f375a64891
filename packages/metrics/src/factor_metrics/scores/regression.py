"""Forecasts as numbers: how far from the label, beside a forecast that knows nothing.

Per date over the symbols where both are present, or pooled over all dates (`regression_errors`). R2 is pooled
only: per date it would reward guessing the spread of that date.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, Series, as_matrix, check_same_shape
from factor_metrics.dispersion import rounding_of
from factor_metrics.labels import same_labels


@dataclass(frozen=True, kw_only=True)
class RegressionErrors:
    """Errors over all dates and symbols at once. NaN = undefined."""

    mse: float
    """Mean of (label - prediction)^2."""
    mae: float
    """Mean of |label - prediction|."""
    rmse: float
    """Root of mse, in units of the label."""
    r2: float
    """1 - sum (label - prediction)^2 / sum (label - benchmark)^2: above 0 = better than the benchmark."""
    num_pairs: int
    """Cells with both a prediction and a label (and a benchmark)."""


@same_labels("prediction", "label")
def mean_squared_error(prediction: ArrayLike, label: ArrayLike) -> Series:
    """Return the mean of (label - prediction)^2 per date, (num_dates,); NaN on a date without symbols.

    Both matrices are (num_dates, num_symbols), NaN = missing. The root of it is the RMSE of the date.

    Examples
    --------
    >>> mean_squared_error([[1.0, 2.0, float("nan")]], [[1.0, 4.0, 9.0]])
    array([2.])
    """
    return _mean_per_date(np.square(_error(prediction, label)))


@same_labels("prediction", "label")
def mean_absolute_error(prediction: ArrayLike, label: ArrayLike) -> Series:
    """Return the mean of |label - prediction| per date; arguments as in `mean_squared_error`."""
    return _mean_per_date(np.abs(_error(prediction, label)))


@same_labels("prediction", "label", "benchmark")
def regression_errors(prediction: ArrayLike, label: ArrayLike, benchmark: ArrayLike = 0.0) -> RegressionErrors:
    """Return MSE, MAE, RMSE and out-of-sample R2, pooled over dates and symbols.

    Parameters
    ----------
    prediction, label
        (num_dates, num_symbols) in the same units, NaN = missing.
    benchmark
        The forecast to beat, a number or an array that broadcasts to (num_dates, num_symbols). 0 is that of
        Gu, Kelly and Xiu (2020), "Empirical asset pricing via machine learning": historical means of single
        stocks are so noisy that beating them is easy. The mean of the training labels is that of Campbell and
        Thompson (2008), "Predicting excess stock returns out of sample". Never use the mean of the label that
        is judged: nobody knew it. Cells where it is NaN do not count.

    Returns
    -------
    RegressionErrors
        All NaN without pairs; r2 NaN where the benchmark is without error.
    """
    error = _error(prediction, label)
    label_DS = as_matrix("label", label)
    reference = np.asarray(benchmark, dtype=np.float64)
    try:
        reference = np.broadcast_to(reference, label_DS.shape)
    except ValueError:
        raise ValueError(f"benchmark must broadcast to {label_DS.shape}, got shape {reference.shape}") from None
    present = ~np.isnan(error) & ~np.isnan(reference)
    errors, reference_errors = error[present], (label_DS - as_matrix("benchmark", reference))[present]
    if not len(errors):
        return RegressionErrors(mse=math.nan, mae=math.nan, rmse=math.nan, r2=math.nan, num_pairs=0)
    squares, reference_squares = float(errors @ errors), float(reference_errors @ reference_errors)
    mse = squares / len(errors)
    size = float(np.abs(label_DS[present]).max())
    without_error = bool(np.abs(reference_errors).max() <= rounding_of(label_DS).relative * size)
    return RegressionErrors(
        mse=mse,
        mae=float(np.abs(errors).mean()),
        rmse=math.sqrt(mse),
        r2=math.nan if without_error else 1.0 - squares / reference_squares,
        num_pairs=len(errors),
    )


def _error(prediction: ArrayLike, label: ArrayLike) -> Matrix:
    prediction_DS, label_DS = as_matrix("prediction", prediction), as_matrix("label", label)
    check_same_shape("prediction", prediction_DS, "label", label_DS)
    return label_DS - prediction_DS


def _mean_per_date(values: Matrix) -> Series:
    present = ~np.isnan(values)
    total, count = np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
