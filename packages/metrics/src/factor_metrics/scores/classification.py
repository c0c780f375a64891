"""Forecasts of a direction: classes and probabilities against what happened, per date and pooled.

An outcome is 1 (up), 0 (down) or NaN (unknown, or dropped by the rule that made the label: say which share).
Everything per date is (num_dates,) over the symbols where both sides are present; on a date with one class
what needs two is NaN. `classification_scores` pools all dates instead and counts the one-class dates: pooled
numbers also reward knowing which dates go up, and are what published accuracies and AUCs mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix, check_same_shape, refuse_cells
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ranks import rank_block, row_blocks

_LEAST_PROBABILITY = float(np.finfo(np.float64).eps)


class Confusion(NamedTuple):
    """Counts per date, each (num_dates,)."""

    true_up: NDArray[np.int64]
    false_up: NDArray[np.int64]
    true_down: NDArray[np.int64]
    false_down: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassificationScores:
    """Scores over all dates and symbols at once. NaN = undefined."""

    accuracy: float
    balanced_accuracy: float
    mcc: float
    f1: float
    auc: float
    log_loss: float
    brier: float
    share_up: float
    """Share of outcomes that are 1."""
    majority_accuracy: float
    """Accuracy of always saying the commoner class, the floor of `accuracy`."""
    num_pairs: int
    """Cells with both a probability and an outcome."""
    num_dates: int
    """Dates with at least one such cell."""
    num_one_class_dates: int
    """How many of these have outcomes of one class only, on which per-date AUC and MCC are NaN."""


@same_labels("predicted", "outcome")
def confusion(predicted: ArrayLike, outcome: ArrayLike) -> Confusion:
    """Return how many symbols were called up or down, rightly or wrongly, per date.

    Both matrices are (num_dates, num_symbols) of 0, 1 and NaN; a symbol counts where both are present.
    """
    predicted_DS, outcome_DS = checked_classes("predicted", predicted), checked_classes("outcome", outcome)
    check_same_shape("predicted", predicted_DS, "outcome", outcome_DS)
    said_up, said_down = predicted_DS == 1.0, predicted_DS == 0.0
    was_up, was_down = outcome_DS == 1.0, outcome_DS == 0.0
    return Confusion(
        true_up=(said_up & was_up).sum(axis=1),
        false_up=(said_up & was_down).sum(axis=1),
        true_down=(said_down & was_down).sum(axis=1),
        false_down=(said_down & was_up).sum(axis=1),
    )


@same_labels("predicted", "outcome")
def accuracy(predicted: ArrayLike, outcome: ArrayLike) -> Series:
    """Return the share of right calls per date; NaN on a date without symbols.

    Examples
    --------
    >>> accuracy([[1, 1, 0, 0]], [[1, 0, 0, 0]])
    array([0.75])
    """
    return accuracy_of(confusion(predicted, outcome))


def accuracy_of(counts: Confusion) -> Series:
    """Return `accuracy` of counts."""
    true_up, false_up, true_down, false_down = counts
    return _ratio(true_up + true_down, true_up + false_up + true_down + false_down)


@same_labels("predicted", "outcome")
def balanced_accuracy(predicted: ArrayLike, outcome: ArrayLike) -> Series:
    """Return the mean of the shares of ups and of downs that were called, per date; NaN with one class."""
    true_up, false_up, true_down, false_down = confusion(predicted, outcome)
    return (_ratio(true_up, true_up + false_down) + _ratio(true_down, true_down + false_up)) / 2.0


@same_labels("predicted", "outcome")
def mcc(predicted: ArrayLike, outcome: ArrayLike) -> Series:
    """Return the Matthews correlation per date: the Pearson correlation of two classes, in [-1, 1].

    (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN)); Matthews (1975), "Comparison of the predicted
    and observed secondary structure of T4 phage lysozyme". NaN where all calls or all outcomes are one class,
    as for every correlation here (scikit-learn says 0 there).
    """
    return mcc_of(confusion(predicted, outcome))


def mcc_of(counts: Confusion) -> Series:
    """Return `mcc` of counts."""
    true_up, false_up, true_down, false_down = (one.astype(float) for one in counts)
    calls = (true_up + false_up) * (true_down + false_down)
    outcomes = (true_up + false_down) * (true_down + false_up)
    return _ratio(true_up * true_down - false_up * false_down, np.sqrt(calls) * np.sqrt(outcomes))


@same_labels("predicted", "outcome")
def f1_score(predicted: ArrayLike, outcome: ArrayLike) -> Series:
    """Return the harmonic mean of precision and recall of "up", 2 TP / (2 TP + FP + FN), per date.

    NaN where nothing was called up and nothing went up.
    """
    return f1_of(confusion(predicted, outcome))


def f1_of(counts: Confusion) -> Series:
    """Return `f1_score` of counts."""
    true_up, false_up, _, false_down = counts
    return _ratio(2 * true_up, 2 * true_up + false_up + false_down)


@same_labels("score", "outcome")
def auc(score: ArrayLike, outcome: ArrayLike) -> Series:
    """Return the area under the ROC curve per date: the chance that an up scores above a down.

    Ties count half. Exact, from average ranks: Mann and Whitney (1947), "On a test of whether one of two
    random variables is stochastically larger than the other". `score` is any real matrix (num_dates,
    num_symbols), higher = rather up. NaN on a one-class date.

    Examples
    --------
    >>> auc([[0.1, 0.4, 0.35, 0.8]], [[0, 0, 1, 1]])
    array([0.75])
    """
    score_DS, outcome_DS = as_matrix("score", score), checked_classes("outcome", outcome)
    check_same_shape("score", score_DS, "outcome", outcome_DS)
    result = np.empty(len(score_DS))
    for block in row_blocks(*score_DS.shape):
        outcomes = outcome_DS[block]
        ranked = rank_block(score_DS[block], ~np.isnan(score_DS[block]) & ~np.isnan(outcomes))
        is_up = (outcomes == 1.0) & (ranked.doubled_rank > 0)
        num_up = is_up.sum(axis=1)
        doubled_sum = np.where(is_up, ranked.doubled_rank, 0).sum(axis=1, dtype=np.int64)
        pairs = num_up * (ranked.num_present - num_up)
        result[block] = _ratio(doubled_sum - num_up * (num_up + 1), 2 * pairs)
    return result


@same_labels("probability", "outcome")
def log_loss(probability: ArrayLike, outcome: ArrayLike) -> Series:
    """Return -mean(y log p + (1 - y) log(1 - p)) per date, in nats; NaN on a date without symbols.

    `probability` (num_dates, num_symbols) of an up, in [0, 1]. It is moved into [2.2e-16, 1 - 2.2e-16] first,
    so that being certain and wrong costs 36, not infinity.
    """
    probability_DS, outcome_DS = checked_forecast(probability, outcome)
    safe = np.clip(probability_DS, _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    return _mean_per_date(-np.log(np.where(outcome_DS == 1.0, safe, 1.0 - safe)), probability_DS, outcome_DS)


@same_labels("probability", "outcome")
def brier_score(probability: ArrayLike, outcome: ArrayLike) -> Series:
    """Return the mean of (p - y)^2 per date; 0 = certain and right, 0.25 = always 1/2.

    Brier (1950), "Verification of forecasts expressed in terms of probability". Arguments as in `log_loss`.
    """
    probability_DS, outcome_DS = checked_forecast(probability, outcome)
    return _mean_per_date(np.square(probability_DS - outcome_DS), probability_DS, outcome_DS)


@same_labels("probability", "outcome")
def classification_scores(probability: ArrayLike, outcome: ArrayLike, threshold: float = 0.5) -> ClassificationScores:
    """Return all scores of a probability of "up", pooled over dates and symbols.

    Parameters
    ----------
    probability, outcome
        (num_dates, num_symbols), in [0, 1] and of 0 and 1; NaN = missing. A cell counts where both are present.
    threshold
        A cell is called up where its probability is above it: scikit-learn's rule for probabilities of two
        classes, which gives a tie of 1/2 to the first class.
    """
    probability_DS, outcome_DS = checked_forecast(probability, outcome)
    predicted = np.where(np.isnan(probability_DS), np.nan, probability_DS > threshold)
    present = ~np.isnan(probability_DS) & ~np.isnan(outcome_DS)
    num_up = ((outcome_DS == 1.0) & present).sum(axis=1)
    num_pairs = present.sum(axis=1)
    share_up = float(_ratio(num_up.sum(keepdims=True), num_pairs.sum(keepdims=True))[0])
    return ClassificationScores(
        accuracy=_pooled(accuracy, predicted, outcome_DS),
        balanced_accuracy=_pooled(balanced_accuracy, predicted, outcome_DS),
        mcc=_pooled(mcc, predicted, outcome_DS),
        f1=_pooled(f1_score, predicted, outcome_DS),
        auc=_pooled_auc(probability_DS[present], outcome_DS[present] == 1.0),
        log_loss=_pooled(log_loss, probability_DS, outcome_DS),
        brier=_pooled(brier_score, probability_DS, outcome_DS),
        share_up=share_up,
        majority_accuracy=max(share_up, 1.0 - share_up),
        num_pairs=int(num_pairs.sum()),
        num_dates=int((num_pairs > 0).sum()),
        num_one_class_dates=int(((num_pairs > 0) & ((num_up == 0) | (num_up == num_pairs))).sum()),
    )


def checked_classes(name: str, values: ArrayLike) -> Matrix:
    """Return a matrix of 0, 1 and NaN; ValueError with the first offenders where it holds anything else."""
    matrix = as_matrix(name, values)
    refuse_cells(name, "must be 0, 1 or NaN", matrix, (matrix != 0.0) & (matrix != 1.0) & ~np.isnan(matrix))
    return matrix


def checked_forecast(probability: ArrayLike, outcome: ArrayLike) -> tuple[Matrix, Matrix]:
    """Return probabilities in [0, 1] and outcomes of one shape; ValueError otherwise."""
    probability_DS, outcome_DS = as_matrix("probability", probability), checked_classes("outcome", outcome)
    check_same_shape("probability", probability_DS, "outcome", outcome_DS)
    outside = (probability_DS < 0.0) | (probability_DS > 1.0)
    refuse_cells("probability", "must lie in [0, 1] or be NaN", probability_DS, outside)
    return probability_DS, outcome_DS


def _ratio(numerator: NDArray, denominator: NDArray) -> Series:
    """Return numerator / denominator, NaN where the denominator is 0."""
    result = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)


def _mean_per_date(values: Matrix, probability_DS: Matrix, outcome_DS: Matrix) -> Series:
    present = ~np.isnan(probability_DS) & ~np.isnan(outcome_DS)
    return _ratio(np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1))


def _pooled(metric: Callable[[ArrayLike, ArrayLike], Series], left: Matrix, right: Matrix) -> float:
    """Return the metric with all dates taken as one."""
    return float(metric(left.reshape(1, -1), right.reshape(1, -1))[0])


def _pooled_auc(score: Series, is_up: NDArray[np.bool_]) -> float:
    """Share of pairs (up, down) in which the up scores above; ties count half; NaN with one class."""
    ups, downs = score[is_up], np.sort(score[~is_up])
    if not len(ups) or not len(downs):
        return float("nan")
    below, up_to = np.searchsorted(downs, ups, side="left"), np.searchsorted(downs, ups, side="right")
    return (int(below.sum()) + int(up_to.sum())) / (2 * len(ups) * len(downs))
