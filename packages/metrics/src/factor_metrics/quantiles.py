"""Mean label of the symbols ranked into quantiles: does more signal earn more?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix, check_quantiles, check_same_shape
from factor_metrics.ranks import rank_rows


def quantile_of(prediction: ArrayLike, num_quantiles: int) -> NDArray[np.int64]:
    """Return the quantile of every symbol per date, 0 = lowest prediction, -1 = in no quantile.

    quantile = floor(num_quantiles (rank - 1/2) / n) in exact integer arithmetic, with the average rank on
    ties: tied symbols always share a quantile, whatever their column order, so a quantile may stay empty. A
    date has no quantiles (all -1) where fewer than `num_quantiles` symbols are present or the prediction is
    constant.

    Parameters
    ----------
    prediction
        (num_dates, num_symbols), NaN = missing.
    num_quantiles
        From 2 to num_symbols.

    Examples
    --------
    >>> quantile_of([[0.4, 0.1, 0.2, 0.3]], num_quantiles=2)
    array([[1, 0, 0, 1]])
    """
    prediction_DS = as_matrix("prediction", prediction)
    check_quantiles(num_quantiles, prediction_DS.shape[1])
    ranks = rank_rows(prediction_DS)
    present = ~np.isnan(ranks)
    num_present = present.sum(axis=1)
    twice_rank = np.where(present, 2.0 * ranks, 1.0).astype(np.int64)
    quantile = (twice_rank - 1) * num_quantiles // (2 * np.maximum(num_present, 1))[:, None]
    # Constant: every present symbol has the average rank (n + 1) / 2.
    constant = np.all((twice_rank == (num_present + 1)[:, None]) | ~present, axis=1)
    usable = (num_present >= num_quantiles) & ~constant
    return np.where(present & usable[:, None], quantile, -1)


def quantile_returns(prediction: ArrayLike, label: ArrayLike, num_quantiles: int = 5) -> Matrix:
    """Return the mean label of each prediction quantile, per date, lowest quantile first.

    Parameters
    ----------
    prediction, label
        (num_dates, num_symbols), NaN = missing. Quantiles are formed among the symbols where both are
        present.
    num_quantiles
        From 2 to num_symbols. Ties: see `quantile_of`.

    Returns
    -------
    numpy.ndarray
        (num_dates, num_quantiles) float64. NaN for a whole date with fewer than `num_quantiles` symbols or a
        constant prediction, and for a quantile that ties left empty.

    Examples
    --------
    >>> quantile_returns([[1.0, 2.0, 3.0, 4.0]], [[0.1, 0.3, 0.5, 0.7]], num_quantiles=2)
    array([[0.2, 0.6]])
    """
    prediction_DS, label_DS = as_matrix("prediction", prediction), as_matrix("label", label)
    check_same_shape("prediction", prediction_DS, "label", label_DS)
    quantile = quantile_of(np.where(np.isnan(label_DS), np.nan, prediction_DS), num_quantiles)
    means = np.full((len(label_DS), num_quantiles), np.nan)
    for index in range(num_quantiles):
        member = quantile == index
        count = member.sum(axis=1)
        total = np.where(member, label_DS, 0.0).sum(axis=1)
        np.divide(total, count, out=means[:, index], where=count > 0)
    return means


def spread(quantile_returns_DQ: ArrayLike) -> Series:
    """Return top minus bottom quantile per date, (num_dates,); NaN where either is NaN."""
    returns = as_matrix("quantile_returns", quantile_returns_DQ)
    return returns[:, -1] - returns[:, 0]
