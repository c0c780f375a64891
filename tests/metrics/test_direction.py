"""Scores of a called direction: a hand case, scipy's logistic function, and what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from factor_metrics import (
    EvaluationConfig,
    accuracy,
    calibration_curve,
    classification_scores,
    direction_scores,
    summarize,
)

CONFIG = EvaluationConfig(bootstrap=100)


def test_direction_scores_of_a_hand_case() -> None:
    generator = np.random.default_rng(0)
    outcome = generator.integers(0, 2, size=(60, 20)).astype(float)
    logit = np.where(generator.random((60, 20)) < 0.75, 1.0, -1.0) * (2 * outcome - 1)
    outcome[3, 4] = np.nan
    scores = direction_scores(logit, outcome, horizon=1, config=CONFIG)
    known = np.isfinite(outcome)
    right = ((logit > 0) == (outcome == 1))[known]
    assert scores.accuracy == pytest.approx(right.mean())
    assert scores.majority_accuracy == pytest.approx(max(outcome[known].mean(), 1 - outcome[known].mean()))
    assert scores.accuracy_by_date_low < scores.accuracy < scores.accuracy_by_date_high
    assert scores.num_directions == 60 * 20 - 1
    assert scores.mcc == pytest.approx(np.corrcoef(logit[known], outcome[known])[0, 1])


@pytest.mark.parametrize("scale", [1e-9, 1.0, 30.0, 2000.0])
def test_scores_equal_those_of_scipys_logistic_function(scale: float) -> None:
    generator = np.random.default_rng(1)
    logit = scale * generator.normal(size=(40, 30))
    logit[generator.random(logit.shape) < 0.1] = np.nan
    logit[0, 0] = 0.0
    outcome = (logit + scale * generator.normal(size=logit.shape) > 0).astype(float)
    outcome[generator.random(logit.shape) < 0.1] = np.nan
    scores = direction_scores(logit, outcome, horizon=5, config=CONFIG)
    expected = classification_scores(expit(logit), outcome)
    curve = calibration_curve(expit(logit), outcome, 10, "quantile")
    assert scores.calibration_error == curve.expected_calibration_error
    for name in ("accuracy", "majority_accuracy", "mcc", "f1", "auc", "share_up"):
        assert getattr(scores, name) == getattr(expected, name), name
    called = np.where(np.isnan(logit), np.nan, logit > 0)
    by_date = summarize(accuracy(called, outcome), 5, num_bootstrap=100)
    assert (scores.accuracy_by_date, scores.accuracy_by_date_low) == (by_date.mean, by_date.ci_low)
    assert scores.accuracy_by_date_high == by_date.ci_high


def test_the_scores_are_written_under_their_names_in_order() -> None:
    scores = direction_scores([[1.0, -1.0]], [[1.0, 0.0]], horizon=1, config=CONFIG)
    assert list(scores.to_dict()) == [
        "accuracy",
        "majority_accuracy",
        "mcc",
        "f1",
        "auc",
        "share_up",
        "calibration_error",
        "num_directions",
        "accuracy_by_date",
        "accuracy_by_date_low",
        "accuracy_by_date_high",
    ]
    assert scores.accuracy == 1.0


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        direction_scores(np.zeros((2, 3)), np.zeros((3, 2)), horizon=1)
