"""Forecasts scored over time, for universes too small to have a cross-section: pooled over all cells, and by symbol.

Every pooled number has an interval by blocks of dates. A score of the sample is written as the mean of one number per
date, its own value plus the date's influence on it (Hampel, 1974, "The influence curve and its role in robust
estimation"); that series is resampled in blocks like any other (`bootstrap_interval`). What symbols of a date have in
common, and labels that overlap, then widen the interval as they should.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix, check_same_shape
from factor_metrics.dispersion import Rounding, no_dispersion, rounding_of
from factor_metrics.information_coefficient.ic import ic, rank_ic
from factor_metrics.judging.config import EvaluationConfig
from factor_metrics.kernel_cache import kernel
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ordered import Order, OrderedMatrix, rank_known
from factor_metrics.ordering.ranks import rank_rows
from factor_metrics.scores.classification import Confusion, accuracy_of, checked_classes, f1_of, mcc_of
from factor_metrics.significance.bootstrap import bootstrap_interval

MEASURES = ("auc", "accuracy", "mcc", "f1", "ic", "rank_ic")


@dataclass(frozen=True, kw_only=True)
class TimeSeriesScores:
    """Scores over all cells (date, symbol) at once; NaN = undefined. Each has the bounds of its interval beside it."""

    auc: float
    """Area under the ROC curve: the chance that an up scores above a down, whatever their dates."""
    auc_low: float
    auc_high: float
    accuracy: float
    """Share of directions that were called right; a score above 0 calls up."""
    accuracy_low: float
    accuracy_high: float
    mcc: float
    """Matthews correlation of the called direction."""
    mcc_low: float
    mcc_high: float
    f1: float
    """F1 of the class up."""
    f1_low: float
    f1_high: float
    ic: float
    """Pearson correlation of score and label."""
    ic_low: float
    ic_high: float
    rank_ic: float
    """Spearman correlation of score and label, ranks over all cells."""
    rank_ic_low: float
    rank_ic_high: float
    share_up: float
    """Share of outcomes that went up."""
    majority_accuracy: float
    """Accuracy of always calling the commoner class."""
    num_cells: int
    """Cells with a score and a label."""
    num_directions: int
    """Cells with a score and an outcome."""
    num_dates: int
    """Dates with a cell."""

    def to_dict(self) -> dict[str, float]:
        """Return the scores by name in the order of the fields."""
        return asdict(self)


@same_labels("score", "outcome", "label")
def over_time(
    score: ArrayLike,
    outcome: ArrayLike,
    label: ArrayLike,
    *,
    horizon: int,
    config: EvaluationConfig | None = None,
) -> TimeSeriesScores:
    """Return pooled scores of one forecast with their intervals.

    Parameters
    ----------
    score
        (num_dates, num_symbols), above 0 = up is called, NaN = missing. It has to mean the same on every date.
    outcome
        Of the same shape: 1 up, 0 down, NaN unknown or between the thresholds.
    label
        Of the same shape: the label itself, for the correlations.
    horizon
        Dates over which labels overlap, for the length of blocks.
    config
        Level, resamples and seed of the intervals; None takes the defaults.

    Notes
    -----
    Ties count half in the AUC and have average ranks. A measure of one class, or of a constant, is NaN. The influence
    of a date on the rank correlation takes ranks as given.
    """
    config = config or EvaluationConfig()
    score_DS, label_DS = as_matrix("score", score), as_matrix("label", label)
    outcome_DS = checked_classes("outcome", outcome)
    check_same_shape("score", score_DS, "outcome", outcome_DS)
    check_same_shape("score", score_DS, "label", label_DS)
    judged, called = ~np.isnan(score_DS) & ~np.isnan(label_DS), ~np.isnan(score_DS) & ~np.isnan(outcome_DS)
    series = {**_of_directions(score_DS, outcome_DS, called), **_of_labels(score_DS, label_DS, judged)}
    found: dict[str, float] = {}
    for name in MEASURES:
        value, by_date = series[name]
        low, high = bootstrap_interval(by_date, horizon, config.confidence, config.bootstrap, config.seed)
        found |= {name: value, f"{name}_low": low, f"{name}_high": high}
    share_up = float(outcome_DS[called].mean()) if called.any() else math.nan
    return TimeSeriesScores(
        **found,
        share_up=share_up,
        majority_accuracy=max(share_up, 1.0 - share_up),
        num_cells=int(judged.sum()),
        num_directions=int(called.sum()),
        num_dates=int((judged | called).any(axis=1).sum()),
    )


@same_labels("score", "outcome", "label")
def over_time_by_symbol(score: ArrayLike, outcome: ArrayLike, label: ArrayLike) -> dict[str, Series]:
    """Return each measure of `over_time` per symbol, (num_symbols,) over the symbol's own dates; NaN = undefined."""
    score_SD, label_SD, outcome_SD = (
        np.ascontiguousarray(matrix.T)
        for matrix in (as_matrix("score", score), as_matrix("label", label), checked_classes("outcome", outcome))
    )
    check_same_shape("score", score_SD, "outcome", outcome_SD)
    scored = OrderedMatrix(score_SD)
    counts, doubled_sum = _directions(scored.order, score_SD, rounding_of(score_SD), outcome_SD)
    called = Confusion(*counts)
    num_up, num_down = called.true_up + called.false_down, called.true_down + called.false_up
    pairs = num_up * num_down
    return {
        "auc": np.divide(
            doubled_sum - num_up * (num_up + 1), 2 * pairs, out=np.full(len(pairs), np.nan), where=pairs > 0
        ),
        "accuracy": accuracy_of(called),
        "mcc": mcc_of(called),
        "f1": f1_of(called),
        "ic": ic(score_SD, label_SD, 3),
        "rank_ic": rank_ic(scored, OrderedMatrix(label_SD), 3),
    }


@kernel(nogil=True)
def _directions(
    order: Order, score: Matrix, rounding: Rounding, outcome: Matrix
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (4, num_rows) counts, as `Confusion` has them, and twice the sum of the ranks of what went up."""
    num_rows, num_columns = score.shape
    counts, doubled_sum = np.zeros((4, num_rows), dtype=np.int64), np.zeros(num_rows, dtype=np.int64)
    left, doubled_rank = np.empty(num_columns, dtype=np.uint32), np.empty(num_columns, dtype=np.int32)
    known = np.empty(num_columns, dtype=np.uint8)
    for row in range(num_rows):
        for column in range(num_columns):
            known[column] = outcome[row, column] == outcome[row, column]  # which NaN is not
        count, _ = rank_known(order, row, score[row], known, rounding, left, doubled_rank)
        for place in range(count):
            column = left[place]
            up, says_up = outcome[row, column] == 1.0, score[row, column] > 0.0
            counts[(0 if says_up else 3) if up else (1 if says_up else 2), row] += 1
            doubled_sum[row] += doubled_rank[column] if up else 0
    return counts, doubled_sum


Measured = tuple[float, Series]
"""A value, and (num_dates,) numbers whose mean it is: itself plus the date's influence; NaN without a cell."""

UNDEFINED = math.nan


def _of_directions(score_DS: Matrix, outcome_DS: Matrix, called: NDArray[np.bool_]) -> dict[str, Measured]:
    up, says_up = called & (outcome_DS == 1.0), called & (score_DS > 0.0)
    right = called & (up == says_up)
    count = called.sum(axis=1)
    hits = 2.0 * (up & says_up).sum(axis=1)
    return {
        "auc": _auc(score_DS, up, called),
        "accuracy": _ratio(right.sum(axis=1), count, count),
        "mcc": _correlation(says_up.astype(np.float64), up.astype(np.float64), called),
        "f1": _ratio(hits, says_up.sum(axis=1) + up.sum(axis=1), count),
    }


def _of_labels(score_DS: Matrix, label_DS: Matrix, judged: NDArray[np.bool_]) -> dict[str, Measured]:
    ranks = []
    for values in (score_DS, label_DS):
        spread = np.zeros(values.shape)
        spread[judged] = rank_rows(values[judged][None, :])[0]
        ranks.append(spread)
    return {"ic": _correlation(score_DS, label_DS, judged), "rank_ic": _correlation(ranks[0], ranks[1], judged)}


def _ratio(numerator: NDArray, denominator: NDArray, count: NDArray) -> Measured:
    """Sum over sum, of (num_dates,) counts."""
    total = float(denominator.sum())
    if not total:
        return UNDEFINED, np.full(len(count), np.nan)
    value = float(numerator.sum()) / total
    return value, _per_date(value, (numerator - value * denominator) / total, count)


def _correlation(x_DS: Matrix, y_DS: Matrix, present: NDArray[np.bool_]) -> Measured:
    """Pearson correlation over the cells that are present."""
    count = present.sum(axis=1)
    x, y = x_DS[present], y_DS[present]
    if len(x) < 3 or no_dispersion(x) or no_dispersion(y):
        return UNDEFINED, np.full(len(count), np.nan)
    x, y = ((values - values.mean()) / values.std() for values in (x, y))
    value = float((x * y).mean())
    influence = np.zeros(present.shape)
    influence[present] = (x * y - value * (x * x + y * y) / 2.0) / len(x)
    return value, _per_date(value, influence.sum(axis=1), count)


def _auc(score_DS: Matrix, up: NDArray[np.bool_], called: NDArray[np.bool_]) -> Measured:
    """Mean over ups of the share of downs below, ties half; each side's deviations are its influence."""
    count, down = called.sum(axis=1), called & ~up
    num_up, num_down = int(up.sum()), int(down.sum())
    if not num_up or not num_down:
        return UNDEFINED, np.full(len(count), np.nan)
    ups, downs = np.sort(score_DS[up]), np.sort(score_DS[down])
    below = _share_below(downs, score_DS[up])
    above = 1.0 - _share_below(ups, score_DS[down])
    value = float(below.mean())
    influence = np.zeros(up.shape)
    influence[up] = (below - value) / num_up
    influence[down] = (above - value) / num_down
    return value, _per_date(value, influence.sum(axis=1), count)


def _share_below(ordered: Series, values: Series) -> Series:
    """Share of ordered numbers below each value, ties half."""
    first, last = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (first + last) / (2.0 * len(ordered))


def _per_date(value: float, influence: Series, count: NDArray) -> Series:
    """The value plus each date's influence, scaled so that the mean over the dates with cells is the value."""
    has = count > 0
    return np.where(has, value + influence * int(has.sum()), np.nan)
