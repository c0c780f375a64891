"""Forecasts as rankings: are the right symbols at the top? Per date; the mean over dates is the caller's.

The prediction ranks, highest first. Symbols with equal predictions are in no order, so each function returns
the expected value over all orders of the ties: results never depend on the order of columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import (
    FloatArray,
    Matrix,
    Series,
    as_float_array,
    as_matrix,
    check_at_least,
    check_same_shape,
    refuse_cells,
)
from factor_metrics.kernel_cache import kernel
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ranks import Counts, Ranks, rank_block, row_blocks
from factor_metrics.scores.classification import checked_classes


@same_labels("prediction", "relevant")
def precision_at_k(prediction: ArrayLike, relevant: ArrayLike, k: int) -> Series:
    """Return the share of relevant symbols among the k highest predictions, per date.

    Parameters
    ----------
    prediction
        (num_dates, num_symbols), NaN = missing.
    relevant
        (num_dates, num_symbols) of 0, 1 and NaN. A symbol counts where both are present.
    k
        At least 1. NaN on dates with fewer symbols.

    Examples
    --------
    >>> precision_at_k([[0.9, 0.8, 0.1]], [[1, 0, 1]], k=2)
    array([0.5])
    """
    check_at_least("k", k, 1)
    prediction_DS = as_float_array("prediction", prediction, 2)
    relevant_DS = checked_classes("relevant", relevant)
    gain, num_present = _ranked_gains(prediction_DS, relevant_DS, np.full(k, 1.0 / k))
    return np.where(num_present >= k, gain, np.nan)


@same_labels("prediction", "relevant")
def reciprocal_rank(prediction: ArrayLike, relevant: ArrayLike) -> Series:
    """Return 1 / the place of the first relevant symbol, per date; its mean over dates is the MRR.

    Arguments as in `precision_at_k`. NaN on dates without a relevant symbol. With ties the expected value: if
    m of t tied symbols are relevant and s symbols are above, the first one is in place s + j with probability
    C(t - j, m - 1) / C(t, m).
    """
    prediction_DS, relevant_DS = (
        as_float_array("prediction", prediction, 2),
        checked_classes("relevant", relevant),
    )
    check_same_shape("prediction", prediction_DS, "relevant", relevant_DS)
    result = np.empty(len(prediction_DS))
    for block in row_blocks(*prediction_DS.shape):
        values, gains = prediction_DS[block], relevant_DS[block]
        ranked = rank_block(values, ~np.isnan(values) & ~np.isnan(gains))
        _first_relevant(ranked.doubled_rank, gains, ranked.num_present, result[block])
    return result


@same_labels("prediction", "relevance")
def ndcg(prediction: ArrayLike, relevance: ArrayLike, k: int | None = None) -> Series:
    """Return the normalised discounted cumulative gain per date, in [0, 1].

    sum_i gain_i / log2(i + 1) over places i = 1..k of the prediction's order, divided by the same sum in the
    best order: Järvelin and Kekäläinen (2002), "Cumulated gain-based evaluation of IR techniques"; ties as in
    McSherry and Najork (2008), "Computing information retrieval performance measures efficiently in the
    presence of tied scores".

    Parameters
    ----------
    prediction
        (num_dates, num_symbols), NaN = missing.
    relevance
        (num_dates, num_symbols) gains, at least 0: returns do not qualify, their quantiles do. Gains are
        linear; for the exponential form pass `2.0**relevance - 1.0`. A symbol counts where both are present.
    k
        Places that count, at least 1. Default: all. Dates with fewer symbols use those they have.

    Returns
    -------
    numpy.ndarray
        (num_dates,). NaN where no gain is above 0: no order is better than another (scikit-learn says 0).
    """
    prediction_DS = as_float_array("prediction", prediction, 2)
    relevance_DS = as_matrix("relevance", relevance)
    refuse_cells("relevance", "must be at least 0 or NaN", relevance_DS, relevance_DS < 0.0)
    num_places = prediction_DS.shape[1] if k is None else k
    check_at_least("k", max(num_places, 1) if k is None else k, 1)
    discount = 1.0 / np.log2(np.arange(num_places) + 2.0)
    gain, _ = _ranked_gains(prediction_DS, relevance_DS, discount)
    known = np.where(np.isnan(prediction_DS), np.nan, relevance_DS)
    best, _ = _ranked_gains(known, relevance_DS, discount)
    return np.divide(gain, best, out=np.full(len(gain), np.nan), where=best > 0.0)


def _ranked_gains(prediction_DS: FloatArray, gain_DS: Matrix, discount: Series) -> tuple[Series, NDArray[np.int64]]:
    """Return the sum of discount[place] * gain per date in the order of the prediction, and the symbols counted."""
    check_same_shape("prediction", prediction_DS, "relevance", gain_DS)
    total, num_present = np.empty(len(prediction_DS)), np.empty(len(prediction_DS), dtype=np.int64)
    up_to = np.concatenate([[0.0], np.cumsum(discount)])  # discounts of the first places together
    for block in row_blocks(*prediction_DS.shape):
        values, gains = prediction_DS[block], gain_DS[block]
        ranked = rank_block(values, ~np.isnan(values) & ~np.isnan(gains))
        num_present[block] = ranked.num_present
        _sum_gains(ranked.doubled_rank, gains, ranked.num_present, up_to, total[block])
    return total, num_present


@kernel(nogil=True)
def _tied_sums(doubled_rank: Ranks, gains: Series, size: Counts, gain: Series) -> None:
    """Return the number of symbols and the sum of gains at every doubled rank (0 = not ranked) of one row."""
    size[:] = 0
    gain[:] = 0.0
    for column in range(len(doubled_rank)):
        if doubled_rank[column] > 0:
            size[doubled_rank[column]] += 1
            gain[doubled_rank[column]] += gains[column]


@kernel(nogil=True)
def _sum_gains(doubled_rank: Ranks, gains: Matrix, num_present: Counts, up_to: Series, total: Series) -> None:
    num_rows, num_columns = doubled_rank.shape
    size, gain = np.zeros(2 * num_columns + 1, dtype=np.int64), np.zeros(2 * num_columns + 1)
    for row in range(num_rows):
        _tied_sums(doubled_rank[row], gains[row], size, gain)
        place, here = 0, 0.0
        for rank in range(2 * num_present[row], 0, -1):
            if size[rank] > 0:
                first, last = min(place, len(up_to) - 1), min(place + size[rank], len(up_to) - 1)
                here += gain[rank] / size[rank] * (up_to[last] - up_to[first])
                place += size[rank]
        total[row] = here


@kernel(nogil=True)
def _first_relevant(doubled_rank: Ranks, relevant: Matrix, num_present: Counts, result: Series) -> None:
    num_rows, num_columns = doubled_rank.shape
    size, gain = np.zeros(2 * num_columns + 1, dtype=np.int64), np.zeros(2 * num_columns + 1)
    for row in range(num_rows):
        _tied_sums(doubled_rank[row], relevant[row], size, gain)
        result[row] = np.nan
        above = 0
        for rank in range(2 * num_present[row], 0, -1):
            if gain[rank] > 0.0:
                result[row] = _expected_reciprocal(above, size[rank], int(gain[rank]))
                break
            above += size[rank]


@kernel(nogil=True)
def _expected_reciprocal(above: int, tied: int, relevant: int) -> float:
    """Return the expected 1 / place of the first of `relevant` among `tied` symbols in random order, `above` before."""
    chance = relevant / tied  # of the first being in place 1 of the tie, then 2, ...
    expected = 0.0
    for place in range(1, tied - relevant + 2):
        expected += chance / (above + place)
        if place < tied:
            chance *= (tied - place - relevant + 1) / (tied - place)
    return expected
