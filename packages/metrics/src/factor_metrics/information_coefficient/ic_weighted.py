"""IC in which symbols count by weight: by size, liquidity or the room they have in a portfolio."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix, check_same_shape, refuse_cells
from factor_metrics.dispersion import Rounding, rounding_of
from factor_metrics.information_coefficient.ic import checked_pair, weighted_pearson
from factor_metrics.kernel_cache import kernel
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ranks import Ranks, rank_block, row_blocks


@same_labels("prediction", "label", "weight")
def weighted_ic(prediction: ArrayLike, label: ArrayLike, weight: ArrayLike, min_symbols: int = 10) -> Series:
    """Return the weighted Pearson correlation of prediction and label, per date.

    cov_w / sqrt(var_w var_w) with weighted means, variances and covariance. Equal weights give `ic`; an
    integer weight counts as so many copies of the symbol.

    Parameters
    ----------
    prediction, label, weight
        (num_dates, num_symbols), NaN = missing. A symbol counts on a date where all three are present and its
        weight is above 0. Only ratios of weights on one date matter. A negative weight is a ValueError.
    min_symbols
        Dates with fewer such symbols are NaN. At least 2.

    Returns
    -------
    numpy.ndarray
        (num_dates,) float64 in [-1, 1]; NaN where either side is constant or symbols are too few.

    Examples
    --------
    >>> weighted_ic([[1.0, 2.0, 3.0]], [[1.0, 2.0, 0.0]], [[1.0, 1.0, 0.0]], min_symbols=2).round(6)
    array([1.])
    """
    return _by_blocks(prediction, label, weight, min_symbols, by_rank=False)


@same_labels("prediction", "label", "weight")
def weighted_rank_ic(prediction: ArrayLike, label: ArrayLike, weight: ArrayLike, min_symbols: int = 10) -> Series:
    """Return the weighted Spearman correlation, per date: `weighted_ic` of weighted mid-ranks.

    The weighted mid-rank of a symbol is the weight of all symbols below it plus half the weight of those tied
    with it, itself included: the ridit of Bross (1958), "How to use ridit analysis", before division by the
    total. Equal weights give `rank_ic`; an integer weight counts as so many copies of the symbol.
    Arguments, NaN rule and shape are those of `weighted_ic`.
    """
    return _by_blocks(prediction, label, weight, min_symbols, by_rank=True)


def _by_blocks(prediction: ArrayLike, label: ArrayLike, weight: ArrayLike, min_symbols: int, by_rank: bool) -> Series:
    prediction_DS, label_DS = checked_pair(prediction, label, min_symbols)
    weight_DS = _checked_weight(weight, prediction_DS)
    result = np.empty(len(weight_DS))
    roundings = rounding_of(prediction_DS), rounding_of(label_DS)
    for block in row_blocks(*weight_DS.shape):
        x, y, weights = prediction_DS[block], label_DS[block], np.ascontiguousarray(weight_DS[block])
        present = ~np.isnan(x) & ~np.isnan(y) & (weights > 0.0)
        if by_rank:
            x, y = _weighted_ranks(x, present, weights), _weighted_ranks(y, present, weights)
        x, y = (np.ascontiguousarray(values, dtype=np.float64) for values in (x, y))
        _weighted_pearson_rows(x, y, weights, present, roundings[0], roundings[1], min_symbols, result[block])
    return result


def _checked_weight(weight: ArrayLike, prediction_DS: NDArray[np.floating]) -> Matrix:
    weight_DS = as_matrix("weight", weight)
    check_same_shape("prediction", prediction_DS, "weight", weight_DS)
    refuse_cells("weight", "must be at least 0 or NaN", weight_DS, weight_DS < 0.0)
    return weight_DS


def _weighted_ranks(values: NDArray[np.floating], present: NDArray[np.bool_], weights: Matrix) -> Matrix:
    ranks = np.empty(values.shape)
    _weigh_ranks(rank_block(values, present).doubled_rank, weights, ranks)
    return ranks


@kernel(nogil=True)
def _weigh_ranks(doubled_rank: Ranks, weights: Matrix, ranks: Matrix) -> None:
    """Turn doubled ranks (0 = not ranked, at most twice the columns) into weighted mid-ranks."""
    num_rows, num_columns = doubled_rank.shape
    for row in range(num_rows):
        weight_at = np.zeros(2 * num_columns + 1)
        for column in range(num_columns):
            weight_at[doubled_rank[row, column]] += weights[row, column]
        below = 0.0
        for rank in range(1, 2 * num_columns + 1):
            here = weight_at[rank]
            weight_at[rank] = below + here / 2.0
            below += here
        for column in range(num_columns):
            ranks[row, column] = weight_at[doubled_rank[row, column]]


@kernel(nogil=True)
def _weighted_pearson_rows(
    x: Matrix,
    y: Matrix,
    weights: Matrix,
    present: NDArray[np.bool_],
    x_rounding: Rounding,
    y_rounding: Rounding,
    min_symbols: int,
    result: Series,
) -> None:
    for row in range(len(x)):
        known = present[row]
        if known.sum() >= min_symbols:
            result[row] = weighted_pearson(x[row][known], y[row][known], weights[row][known], x_rounding, y_rounding)
        else:
            result[row] = np.nan
