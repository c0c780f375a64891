"""Information coefficient: how well a prediction orders the symbols of one date.

Computed per date over symbols, never pooled over dates. A prediction that does not differ between symbols
says nothing, so its IC is NaN, not 0; that it differs by no more than rounding (`dispersion`) is no difference.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import FloatArray, Matrix, Series, as_float_array, check_at_least, check_same_shape
from factor_metrics.dispersion import Rounding, is_rounding, rounding_of
from factor_metrics.kernel_cache import kernel
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ordered import (
    Order,
    OrderedMatrix,
    Rows,
    as_ordered,
    as_rows,
    known_up_to_rounding,
    rank_known,
    values_of,
)
from factor_metrics.ordering.ranks import Counts, RankedRows, Ranks, rank_block, row_blocks


@same_labels("prediction", "label")
def ic(prediction: ArrayLike, label: ArrayLike, min_symbols: int = 10) -> Series:
    """Return the Pearson correlation of prediction and label, per date.

    Parameters
    ----------
    prediction, label
        (num_dates, num_symbols) float32 or float64, NaN = missing. A symbol counts on a date where both are
        present. Two frames must have the same labels in the same order, here and wherever two matrices are taken.
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
    prediction_DS, label_DS = checked_pair(prediction, label, min_symbols)
    return _pearson_panel(prediction_DS, label_DS[None], min_symbols)[0]


@same_labels("prediction", "label")
def rank_ic(prediction: ArrayLike, label: ArrayLike, min_symbols: int = 10) -> Series:
    """Return the Spearman correlation of prediction and label, per date: Pearson on average ranks.

    Ties share their average rank and ranks are taken among the symbols where both values are present, exactly
    on the values given (nothing is rounded). Arguments, NaN rule and shape are those of `ic`.

    Examples
    --------
    >>> rank_ic([[1.0, 2.0, 30.0]], [[0.1, 0.2, 0.3]], min_symbols=3).round(6)
    array([1.])
    """
    x, y = checked_rows(prediction, label, min_symbols)
    if isinstance(x, OrderedMatrix) or isinstance(y, OrderedMatrix):
        return _spearman_ordered_panel(as_ordered("prediction", x), as_ordered("label", y), min_symbols)
    return _spearman_panel(x, y[None], min_symbols)[0]


@same_labels("prediction", "labels")
def ic_by_horizon(prediction: ArrayLike, labels: ArrayLike, min_symbols: int = 10) -> Matrix:
    """Return `ic` of one prediction against several labels, (num_horizons, num_dates).

    Parameters
    ----------
    prediction
        (num_dates, num_symbols).
    labels
        (num_horizons, num_dates, num_symbols), such as forward returns over several horizons.
    """
    return _pearson_panel(*_checked_labels(prediction, labels, min_symbols), min_symbols)


@same_labels("prediction", "labels")
def rank_ic_by_horizon(prediction: ArrayLike, labels: ArrayLike, min_symbols: int = 10) -> Matrix:
    """Return `rank_ic` of one prediction against several labels, (num_horizons, num_dates).

    The same numbers as one call per label, in less time: on dates where the next label is missing for the
    same symbols, the ranks of the prediction hold again. Arguments as in `ic_by_horizon`.
    """
    return _spearman_panel(*_checked_labels(prediction, labels, min_symbols), min_symbols)


def spearman_of_ranks(x: RankedRows, y: RankedRows, min_symbols: int) -> Series:
    """Return the Spearman correlation per row of two blocks ranked among the same symbols.

    cov / sqrt(var_x var_y) with, in doubled ranks, cov = sum r s - n (n + 1)^2 and
    var = (n^3 - n - sum (t^3 - t)) / 3, t the length of each run of ties: integers, so only the last step
    rounds. NaN where either variance is 0 or fewer than `min_symbols` are ranked.
    """
    result = np.empty(len(x.num_present))
    _spearman_rows(x.doubled_rank, y.doubled_rank, x.num_present, x.tie_term, y.tie_term, min_symbols, result)
    return result


def mean_over_dates(ics: Matrix) -> Series:
    """Return the mean of each series (num_series, num_dates) over its defined dates; NaN where it has none."""
    defined = ~np.isnan(ics)
    total, count = np.where(defined, ics, 0.0).sum(axis=1), defined.sum(axis=1)
    return np.divide(total, count, out=np.full(len(ics), np.nan), where=count > 0)


def checked_pair(prediction: ArrayLike, label: ArrayLike, min_symbols: int) -> tuple[FloatArray, FloatArray]:
    """Return both as float matrices of one shape without infinity; ValueError otherwise."""
    x, y = checked_rows(prediction, label, min_symbols)
    return values_of(x), values_of(y)


def checked_rows(prediction: ArrayLike, label: ArrayLike, min_symbols: int) -> tuple[Rows, Rows]:
    """Return `checked_pair` with the order of what is ordered."""
    check_at_least("min_symbols", min_symbols, 2)
    x, y = as_rows("prediction", prediction), as_rows("label", label)
    check_same_shape("prediction", values_of(x), "label", values_of(y))
    return x, y


def _checked_labels(prediction: ArrayLike, labels: ArrayLike, min_symbols: int) -> tuple[FloatArray, FloatArray]:
    check_at_least("min_symbols", min_symbols, 2)
    prediction_DS = as_float_array("prediction", prediction, 2)
    labels_HDS = as_float_array("labels", labels, 3)
    if labels_HDS.shape[1:] != prediction_DS.shape:
        raise ValueError(
            "labels must have shape (num_horizons, num_dates, num_symbols) over the dates and symbols of "
            f"prediction, {prediction_DS.shape}, got {labels_HDS.shape}"
        )
    return prediction_DS, labels_HDS


def _pearson_panel(prediction_DS: FloatArray, labels_HDS: FloatArray, min_symbols: int) -> Matrix:
    result = np.empty(labels_HDS.shape[:2])
    roundings = rounding_of(prediction_DS), rounding_of(labels_HDS)
    for block in row_blocks(*prediction_DS.shape):
        x = np.ascontiguousarray(prediction_DS[block], dtype=np.float64)
        for horizon, label_DS in enumerate(labels_HDS):
            y = np.ascontiguousarray(label_DS[block], dtype=np.float64)
            _pearson_rows(x, y, *roundings, min_symbols, result[horizon, block])
    return result


def _spearman_panel(prediction_DS: FloatArray, labels_HDS: FloatArray, min_symbols: int) -> Matrix:
    result = np.empty(labels_HDS.shape[:2])
    for block in row_blocks(*prediction_DS.shape):
        x = prediction_DS[block]
        known = ~np.isnan(x)
        present: NDArray[np.bool_] | None = None
        ranked: RankedRows | None = None
        for horizon, label_DS in enumerate(labels_HDS):
            y = label_DS[block]
            now_present = known & ~np.isnan(y)
            if present is None or ranked is None or not np.array_equal(present, now_present):
                present, ranked = now_present, rank_block(x, now_present)
            result[horizon, block] = spearman_of_ranks(ranked, rank_block(y, now_present), min_symbols)
    return result


def _spearman_ordered_panel(x: OrderedMatrix, y: OrderedMatrix, min_symbols: int) -> Series:
    result = np.empty(len(x))
    roundings = rounding_of(x.values), rounding_of(y.values)
    _spearman_ordered(x.order, x.values, roundings[0], y.order, y.values, roundings[1], min_symbols, result)
    return result


@kernel(nogil=True)
def _spearman_rows(
    x: Ranks, y: Ranks, num_present: Counts, x_ties: Counts, y_ties: Counts, min_symbols: int, result: Series
) -> None:
    for row in range(len(x)):
        product = np.int64(0)
        for column in range(x.shape[1]):
            product += np.int64(x[row, column]) * np.int64(y[row, column])
        result[row] = _rank_correlation(product, num_present[row], x_ties[row], y_ties[row], min_symbols)


@kernel(nogil=True)
def _spearman_ordered(
    x_order: Order,
    x: FloatArray,
    x_rounding: Rounding,
    y_order: Order,
    y: FloatArray,
    y_rounding: Rounding,
    min_symbols: int,
    result: Series,
) -> None:
    """As `_spearman_rows`, of rows whose columns are in order, among those that are known on both sides."""
    num_columns = x.shape[1]
    rank, other = np.empty(num_columns, dtype=np.int32), np.empty(num_columns, dtype=np.int32)
    x_known, y_known = np.empty(num_columns, dtype=np.uint8), np.empty(num_columns, dtype=np.uint8)
    left = np.empty(num_columns, dtype=np.uint32)
    for row in range(len(x)):
        for column in range(num_columns):
            x_known[column] = x[row, column] == x[row, column]  # which NaN is not
            y_known[column] = y[row, column] == y[row, column]
        count, x_ties = rank_known(x_order, row, x[row], y_known, x_rounding, left, rank)
        product, y_ties = np.int64(0), 0
        if not y_order[2][row] and not (
            count and known_up_to_rounding(y_order, row, y[row], x_known, y_rounding)
        ):  # ranks are multiplied as the order is gone through
            above = np.int64(2)
            for place in range(y_order[1][row]):
                column = y_order[0][row, place]
                product += np.int64(rank[column]) * (above * x_known[column])
                above += 2 * x_known[column]
        else:
            _, y_ties = rank_known(y_order, row, y[row], x_known, y_rounding, left, other)
            for place in range(count):
                column = left[place]
                product += np.int64(rank[column]) * np.int64(other[column])
        result[row] = _rank_correlation(product, count, x_ties, y_ties, min_symbols)


@kernel(nogil=True)
def _rank_correlation(product: int, count: int, x_ties: int, y_ties: int, min_symbols: int) -> float:
    """Return the correlation of doubled ranks by the sum of their products and the tie terms of both sides."""
    cube = count * count * count - count
    x_variance, y_variance = (cube - x_ties) // 3, (cube - y_ties) // 3
    if count < min_symbols or x_variance == 0 or y_variance == 0:
        return np.nan
    covariance = product - count * (count + 1) * (count + 1)
    correlation = covariance / math.sqrt(float(x_variance) * float(y_variance))
    return min(1.0, max(-1.0, correlation))


@kernel(nogil=True)
def _pearson_rows(
    x: FloatArray, y: FloatArray, x_rounding: Rounding, y_rounding: Rounding, min_symbols: int, result: Series
) -> None:
    num_rows, num_columns = x.shape
    known_x, known_y, ones = np.empty(num_columns), np.empty(num_columns), np.ones(num_columns)
    for row in range(num_rows):
        count = 0
        for column in range(num_columns):
            known_x[count], known_y[count] = x[row, column], y[row, column]
            count += not (math.isnan(x[row, column]) or math.isnan(y[row, column]))
        result[row] = np.nan
        if count >= min_symbols:
            weight = ones[:count]
            result[row] = weighted_pearson(known_x[:count], known_y[:count], weight, x_rounding, y_rounding)


@kernel(nogil=True)
def weighted_pearson(x: Series, y: Series, weight: Series, x_rounding: Rounding, y_rounding: Rounding) -> float:
    """Return the correlation of two vectors under positive weights, all without NaN.

    sum w (x - mx)(y - my) / sqrt(sum w (x - mx)^2 sum w (y - my)^2) with weighted means mx, my; NaN where
    either side has no dispersion beyond its rounding, as its values themselves say. Dividing by the largest
    deviation keeps the squares of very small or large values in range, and what the rounded means leave in the
    sums of deviations is taken off at the end.
    """
    x_low, x_high, y_low, y_high = x[0], x[0], y[0], y[0]
    total, x_sum, y_sum = 0.0, 0.0, 0.0
    for place in range(len(x)):
        x_low, x_high = min(x_low, x[place]), max(x_high, x[place])
        y_low, y_high = min(y_low, y[place]), max(y_high, y[place])
        total += weight[place]
        x_sum += weight[place] * x[place]
        y_sum += weight[place] * y[place]
    if is_rounding(x_low, x_high, max(abs(x_low), abs(x_high)), x_rounding.relative, x_rounding.least):
        return np.nan
    if is_rounding(y_low, y_high, max(abs(y_low), abs(y_high)), y_rounding.relative, y_rounding.least):
        return np.nan
    x_mean, y_mean = x_sum / total, y_sum / total
    x_unit, y_unit = max(x_high - x_mean, x_mean - x_low), max(y_high - y_mean, y_mean - y_low)
    x_sum, y_sum, xx, xy, yy = 0.0, 0.0, 0.0, 0.0, 0.0
    for place in range(len(x)):
        x_deviation, y_deviation = (x[place] - x_mean) / x_unit, (y[place] - y_mean) / y_unit
        x_weighted, y_weighted = weight[place] * x_deviation, weight[place] * y_deviation
        x_sum += x_weighted
        y_sum += y_weighted
        xx += x_weighted * x_deviation
        xy += x_weighted * y_deviation
        yy += y_weighted * y_deviation
    xx -= x_sum * x_sum / total
    xy -= x_sum * y_sum / total
    yy -= y_sum * y_sum / total
    if not (xx > 0.0 and yy > 0.0):
        return np.nan
    return min(1.0, max(-1.0, xy / (math.sqrt(xx) * math.sqrt(yy))))
