"""The symbols of a date ranked into quantiles, and the mean label of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import FloatArray, Matrix, Series, as_matrix, check_quantiles, check_same_shape
from factor_metrics.dispersion import Rounding, rounding_of
from factor_metrics.kernel_cache import kernel
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ordered import Columns, Order, OrderedMatrix, as_rows, rank_known, values_of
from factor_metrics.ordering.ranks import Counts, Ranks, rank_block, row_blocks


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
    prediction_DS = as_rows("prediction", prediction)
    check_quantiles(num_quantiles, prediction_DS.shape[1])
    quantile = np.empty(prediction_DS.shape, dtype=np.int64)
    if isinstance(prediction_DS, OrderedMatrix):
        rounding = rounding_of(prediction_DS.values)
        _assign_in_order(prediction_DS.order, prediction_DS.values, rounding, num_quantiles, quantile)
        return quantile
    for block in row_blocks(*prediction_DS.shape):
        ranked = rank_block(prediction_DS[block], ~np.isnan(prediction_DS[block]))
        _assign_quantiles(ranked.doubled_rank, ranked.num_present, ranked.tie_term, num_quantiles, quantile[block])
    return quantile


@same_labels("prediction", "label")
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
    prediction_DS, label_DS = as_rows("prediction", prediction), values_of(as_rows("label", label))
    check_same_shape("prediction", values_of(prediction_DS), "label", label_DS)
    check_quantiles(num_quantiles, label_DS.shape[1])
    means = np.empty((len(label_DS), num_quantiles))
    if isinstance(prediction_DS, OrderedMatrix):
        rounding = rounding_of(prediction_DS.values)
        _means_in_order(prediction_DS.order, prediction_DS.values, rounding, label_DS, means)
        return means
    for block in row_blocks(*label_DS.shape):
        values, labels = prediction_DS[block], np.ascontiguousarray(label_DS[block])
        ranked = rank_block(values, ~np.isnan(values) & ~np.isnan(labels))
        quantile = np.empty(labels.shape, dtype=np.int64)
        _assign_quantiles(ranked.doubled_rank, ranked.num_present, ranked.tie_term, num_quantiles, quantile)
        _mean_per_quantile(quantile, labels, means[block])
    return means


def spread(quantile_returns_DQ: ArrayLike) -> Series:
    """Return top minus bottom quantile per date, (num_dates,); NaN where either is NaN."""
    returns = as_matrix("quantile_returns", quantile_returns_DQ)
    return returns[:, -1] - returns[:, 0]


@kernel(nogil=True)
def _assign_quantiles(
    doubled_rank: Ranks, num_present: Counts, tie_term: Counts, num_quantiles: int, quantile: NDArray[np.integer]
) -> None:
    """Write the quantile of every ranked symbol, -1 for the others and for dates without quantiles."""
    for row in range(len(doubled_rank)):
        count = num_present[row]
        constant = tie_term[row] == count * count * count - count  # one run of ties holds all
        usable = count >= num_quantiles and not constant
        for column in range(doubled_rank.shape[1]):
            rank = np.int64(doubled_rank[row, column])
            if usable and rank > 0:
                quantile[row, column] = (rank - 1) * num_quantiles // (2 * count)
            else:
                quantile[row, column] = -1


@kernel(nogil=True)
def _assign_in_order(
    order: Order, values: FloatArray, rounding: Rounding, num_quantiles: int, quantile: NDArray[np.int64]
) -> None:
    """As `_assign_quantiles`, of rows whose columns are in order."""
    num_columns = values.shape[1]
    left, doubled_rank = np.empty(num_columns, dtype=np.uint32), np.empty(num_columns, dtype=np.int32)
    known = np.empty(num_columns, dtype=np.uint8)
    for row in range(len(values)):
        for column in range(num_columns):
            known[column] = values[row, column] == values[row, column]  # which NaN is not
        count, ties = rank_known(order, row, values[row], known, rounding, left, doubled_rank)
        _quantile_left(left[:count], ties, doubled_rank, num_quantiles, quantile[row])


@kernel(nogil=True)
def _means_in_order(order: Order, values: FloatArray, rounding: Rounding, label: FloatArray, means: Matrix) -> None:
    """Write the mean label of every quantile among the symbols that have both, of rows whose columns are in order."""
    num_columns, num_quantiles = values.shape[1], means.shape[1]
    left, doubled_rank = np.empty(num_columns, dtype=np.uint32), np.empty(num_columns, dtype=np.int32)
    known, quantile = np.empty(num_columns, dtype=np.uint8), np.empty((1, num_columns), dtype=np.int64)
    for row in range(len(values)):
        for column in range(num_columns):
            known[column] = label[row, column] == label[row, column]
        count, ties = rank_known(order, row, values[row], known, rounding, left, doubled_rank)
        _quantile_left(left[:count], ties, doubled_rank, num_quantiles, quantile[0])
        _mean_per_quantile(quantile, label[row : row + 1], means[row : row + 1])


@kernel(nogil=True)
def _quantile_left(
    left: Columns, tie_term: int, doubled_rank: Ranks, num_quantiles: int, quantile: NDArray[np.int64]
) -> None:
    """Write the quantile of the ranked columns `left` of a row, which are in order, and -1 for the others."""
    count = len(left)
    quantile[:] = -1
    if count < num_quantiles or tie_term == count * count * count - count:
        return
    index = 0
    for place in range(count):
        column = left[place]
        while (np.int64(doubled_rank[column]) - 1) * num_quantiles >= (index + 1) * 2 * count:
            index += 1
        quantile[column] = index


@kernel(nogil=True)
def _mean_per_quantile(quantile: NDArray[np.integer], label: FloatArray, means: Matrix) -> None:
    """Write the mean label of every quantile, in float64; NaN for an empty one."""
    num_rows, num_quantiles = means.shape
    total, count = np.empty(num_quantiles), np.empty(num_quantiles, dtype=np.int64)
    for row in range(num_rows):
        total[:] = 0.0
        count[:] = 0
        for column in range(quantile.shape[1]):
            index = quantile[row, column]
            if index >= 0:
                total[index] += label[row, column]
                count[index] += 1
        for index in range(num_quantiles):
            means[row, index] = total[index] / count[index] if count[index] > 0 else np.nan
