"""Classification and calibration: by hand, against scikit-learn, and dates with one class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import calibration, metrics

from factor_metrics import (
    accuracy,
    auc,
    balanced_accuracy,
    brier_score,
    calibration_curve,
    classification_scores,
    f1_score,
    log_loss,
    mcc,
)

PER_CLASS = {
    accuracy: metrics.accuracy_score,
    balanced_accuracy: metrics.balanced_accuracy_score,
    mcc: metrics.matthews_corrcoef,
    f1_score: metrics.f1_score,
}
PER_PROBABILITY = {
    auc: metrics.roc_auc_score,
    log_loss: metrics.log_loss,
    brier_score: metrics.brier_score_loss,
}


def panel(
    seed: int, shape: tuple[int, int] = (30, 50), decimals: int = 12, missing: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    probability = generator.random(shape).round(decimals)
    outcome = (generator.random(shape) < 0.3 + 0.4 * probability).astype(float)
    probability[generator.random(shape) < missing] = np.nan
    outcome[generator.random(shape) < missing] = np.nan
    return probability, outcome


def per_date(score: Callable[..., float], forecast: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    values = []
    for said, was in zip(forecast, outcome, strict=True):
        known = ~np.isnan(said) & ~np.isnan(was)
        values.append(score(was[known], said[known]))
    return np.array(values)


def test_the_scores_of_four_calls_by_hand() -> None:
    predicted, outcome = [[1, 1, 1, 0, np.nan]], [[1, 1, 0, 0, 1]]  # 2 true up, 1 false up, 1 true down
    assert accuracy(predicted, outcome)[0] == 0.75
    assert balanced_accuracy(predicted, outcome)[0] == 0.75
    assert f1_score(predicted, outcome)[0] == pytest.approx(0.8)
    assert mcc(predicted, outcome)[0] == pytest.approx(2.0 / np.sqrt(12.0))


@pytest.mark.parametrize("ours", PER_CLASS)
def test_scores_of_classes_equal_scikit_learn_date_by_date(ours: Callable[..., np.ndarray]) -> None:
    probability, outcome = panel(0)
    predicted = np.where(np.isnan(probability), np.nan, probability > 0.5)
    np.testing.assert_allclose(ours(predicted, outcome), per_date(PER_CLASS[ours], predicted, outcome), atol=1e-14)


@pytest.mark.parametrize("ours", PER_PROBABILITY)
@pytest.mark.parametrize("decimals", [1, 12])
def test_scores_of_probabilities_equal_scikit_learn_date_by_date(
    ours: Callable[..., np.ndarray], decimals: int
) -> None:
    probability, outcome = panel(1, decimals=decimals)  # one decimal: many ties, and certain and wrong
    np.testing.assert_allclose(
        ours(probability, outcome), per_date(PER_PROBABILITY[ours], probability, outcome), rtol=1e-12
    )


def test_float32_probabilities_are_welcome() -> None:
    probability, outcome = (values.astype(np.float32) for values in panel(2))
    np.testing.assert_array_equal(auc(probability, outcome), auc(probability.astype(np.float64), outcome))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), num_symbols=st.integers(2, 12), decimals=st.integers(0, 1))
def test_small_tied_dates_equal_scikit_learn_wherever_two_classes_are_seen(
    seed: int, num_symbols: int, decimals: int
) -> None:
    probability, outcome = panel(seed, shape=(1, num_symbols), decimals=decimals, missing=0.0)
    predicted = (probability > 0.5).astype(float)
    two_classes = len(set(outcome[0])) == 2
    two_calls = len(set(predicted[0])) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for ours, theirs in {**PER_CLASS, **PER_PROBABILITY}.items():
            forecast = probability if ours in PER_PROBABILITY else predicted
            value = ours(forecast, outcome)[0]
            defined = {
                balanced_accuracy: two_classes,
                auc: two_classes,
                mcc: two_classes and two_calls,
                f1_score: bool((predicted + outcome).any()),
            }.get(ours, True)
            assert np.isnan(value) != defined, ours.__name__
            if defined:
                expected = theirs(outcome[0], forecast[0], **({"labels": [0, 1]} if ours is log_loss else {}))
                assert value == pytest.approx(expected, rel=1e-12, abs=1e-14), ours.__name__


def test_a_date_with_one_class_or_nobody_is_nan_where_two_classes_are_needed() -> None:
    predicted = np.array([[1.0, 0.0, 1.0], [np.nan, np.nan, np.nan]])
    outcome = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    assert accuracy(predicted, outcome)[0] == pytest.approx(2 / 3)
    for needs_two in (balanced_accuracy, mcc, auc):
        assert np.isnan(needs_two(predicted, outcome)).all()
    for metric in (accuracy, f1_score, log_loss, brier_score):
        assert np.isnan(metric(predicted, outcome)[1])


def test_pooled_scores_equal_scikit_learn_on_all_cells_and_one_class_dates_are_counted() -> None:
    probability, outcome = panel(3)
    outcome[4] = 1.0
    outcome[5] = np.nan
    probability[6, 1:] = np.nan
    known = ~np.isnan(probability) & ~np.isnan(outcome)
    said, was = probability[known], outcome[known]
    scores = classification_scores(probability, outcome)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(was, said > 0.5), abs=1e-14)
    assert scores.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(was, said > 0.5), abs=1e-14)
    assert scores.mcc == pytest.approx(metrics.matthews_corrcoef(was, said > 0.5), abs=1e-14)
    assert scores.f1 == pytest.approx(metrics.f1_score(was, said > 0.5), abs=1e-14)
    assert scores.auc == pytest.approx(metrics.roc_auc_score(was, said), abs=1e-14)
    assert scores.log_loss == pytest.approx(metrics.log_loss(was, said), abs=1e-12)
    assert scores.brier == pytest.approx(metrics.brier_score_loss(was, said), abs=1e-14)
    assert scores.majority_accuracy == pytest.approx(max(was.mean(), 1.0 - was.mean()))
    assert scores.num_pairs == known.sum()
    assert scores.num_dates == 29
    assert scores.num_one_class_dates == 1 + known[6].any()


def test_nothing_to_score_is_nan_and_counts_no_date() -> None:
    scores = classification_scores(np.full((3, 4), np.nan), np.zeros((3, 4)))
    assert np.isnan([scores.accuracy, scores.auc, scores.brier, scores.majority_accuracy]).all()
    assert (scores.num_pairs, scores.num_dates, scores.num_one_class_dates) == (0, 0, 0)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
@pytest.mark.parametrize("decimals", [1, 12])
def test_a_calibration_curve_equals_scikit_learn(strategy: Literal["uniform", "quantile"], decimals: int) -> None:
    probability, outcome = panel(4, decimals=decimals)
    probability *= 0.8  # the highest uniform bins stay empty
    known = ~np.isnan(probability) & ~np.isnan(outcome)
    share, mean = calibration.calibration_curve(outcome[known], probability[known], n_bins=10, strategy=strategy)
    curve = calibration_curve(probability, outcome, 10, strategy)
    filled = curve.num_pairs > 0
    np.testing.assert_allclose(curve.share_up[filled], share, atol=1e-14)
    np.testing.assert_allclose(curve.mean_probability[filled], mean, atol=1e-14)
    assert np.isnan(curve.share_up[~filled]).all()
    assert curve.num_pairs.sum() == known.sum()


def test_the_calibration_error_by_hand() -> None:
    curve = calibration_curve([[0.25, 0.25, 0.75, 0.75]], [[0, 1, 1, 1]], num_bins=2)
    assert curve.share_up.tolist() == [0.5, 1.0]
    assert curve.expected_calibration_error == pytest.approx(0.25)
    assert np.isnan(calibration_curve([[np.nan]], [[1]]).expected_calibration_error)


def test_what_is_no_class_or_no_probability_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"outcome must be 0, 1 or NaN, got 1 .* first at \(0, 1\): -1.0"):
        accuracy([[1, 0]], [[1, -1]])
    with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\] or be NaN, got 2 other value"):
        log_loss([[1.5, -0.1]], [[1, 0]])
    with pytest.raises(ValueError, match="predicted and outcome must have the same shape"):
        mcc([[1, 0]], [[1]])
    with pytest.raises(ValueError, match="score holds 1 infinite value"):
        auc([[np.inf, 0.0]], [[1, 0]])
