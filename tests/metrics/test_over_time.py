"""Scores over time: scikit-learn and scipy on all cells at once, and intervals that hold the truth as often as said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, roc_auc_score

from factor_metrics import EvaluationConfig, over_time, over_time_by_symbol
from factor_metrics.judging.over_time import MEASURES

pytestmark = pytest.mark.numeric
CONFIG = EvaluationConfig(bootstrap=200)


def market(num_dates: int, num_symbols: int, seed: int, strength: float = 0.4) -> tuple[np.ndarray, ...]:
    """Score, direction and label with ties, holes and a dead zone."""
    generator = np.random.default_rng(seed)
    shape = (num_dates, num_symbols)
    score = np.round(generator.standard_normal(shape), 1)
    label = strength * score + generator.standard_normal(shape) + 0.5 * generator.standard_normal((num_dates, 1))
    score[generator.random(shape) < 0.1] = np.nan
    label[generator.random(shape) < 0.1] = np.nan
    outcome = np.where(label > 0.1, 1.0, np.where(label < -0.1, 0.0, np.nan))
    return score, outcome, label


def references(score: np.ndarray, outcome: np.ndarray, label: np.ndarray) -> dict[str, float]:
    known, both = np.isfinite(score) & np.isfinite(outcome), np.isfinite(score) & np.isfinite(label)
    truth, calls = outcome[known], score[known] > 0
    return {
        "auc": roc_auc_score(truth, score[known]),
        "accuracy": accuracy_score(truth, calls),
        "mcc": matthews_corrcoef(truth, calls),
        "f1": f1_score(truth, calls),
        "ic": pearsonr(score[both], label[both])[0],
        "rank_ic": spearmanr(score[both], label[both])[0],
    }


@pytest.mark.parametrize("num_symbols", [1, 6])
def test_pooled_scores_are_those_of_scikit_learn_and_scipy(num_symbols: int) -> None:
    score, outcome, label = market(300, num_symbols, seed=1)
    found = over_time(score, outcome, label, horizon=5, config=CONFIG)
    for name, value in references(score, outcome, label).items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-12), name
        assert getattr(found, f"{name}_low") < value < getattr(found, f"{name}_high")
    known = np.isfinite(score) & np.isfinite(outcome)
    assert found.num_directions == known.sum()
    assert found.num_cells == (np.isfinite(score) & np.isfinite(label)).sum()
    assert found.majority_accuracy == max(outcome[known].mean(), 1 - outcome[known].mean())


def test_each_symbol_is_scored_over_its_own_dates() -> None:
    score, outcome, label = market(200, 4, seed=2)
    score[:, 3] = 1.0
    found = over_time_by_symbol(score, outcome, label)
    for symbol in range(3):
        own = [values[:, [symbol]] for values in (score, outcome, label)]
        for name, value in references(*own).items():
            assert found[name][symbol] == pytest.approx(value, abs=1e-12), name
    assert np.isnan([found["ic"][3], found["rank_ic"][3], found["mcc"][3]]).all(), "a constant orders nothing"
    assert found["auc"][3] == 0.5


def test_intervals_are_those_of_scores_computed_anew_on_drawn_dates() -> None:
    """The linear part is all there is in a large sample: its spread is that of the score itself, resampled."""
    score, outcome, label = market(400, 3, seed=3)
    generator = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {name: [] for name in MEASURES}
    for _ in range(300):
        dates = generator.integers(0, 400, 400)
        for name, value in references(score[dates], outcome[dates], label[dates]).items():
            drawn[name].append(value)
    found = over_time(score, outcome, label, horizon=1, config=EvaluationConfig(bootstrap=2000))
    for name in MEASURES:
        width = getattr(found, f"{name}_high") - getattr(found, f"{name}_low")
        assert width == pytest.approx(2 * 1.96 * np.std(drawn[name]), rel=0.25), name


@pytest.mark.parametrize("name", ["auc", "rank_ic"])
def test_without_signal_the_interval_misses_chance_as_often_as_said(name: str) -> None:
    """Labels overlap over five dates and symbols move together; scores persist."""
    missed, chance = 0, {"auc": 0.5, "rank_ic": 0.0}[name]
    for seed in range(200):
        generator = np.random.default_rng(seed)
        steps = generator.standard_normal((304, 4)) + generator.standard_normal((304, 1))
        label = np.lib.stride_tricks.sliding_window_view(steps, 5, axis=0).sum(axis=-1)
        noise = generator.standard_normal((304, 4))
        score = np.lib.stride_tricks.sliding_window_view(noise, 5, axis=0).sum(axis=-1)
        found = over_time(score, (label > 0).astype(float), label, horizon=5, config=CONFIG)
        missed += not getattr(found, f"{name}_low") <= chance <= getattr(found, f"{name}_high")
    assert missed / 200 < 0.11


def test_what_has_one_class_or_no_cell_is_undefined() -> None:
    ones = np.ones((20, 2))
    score = np.arange(40.0).reshape(20, 2)
    found = over_time(score, ones, score, horizon=1, config=CONFIG)
    assert np.isnan([found.auc, found.auc_low, found.mcc]).all()
    assert found.accuracy == pytest.approx(39 / 40)
    assert found.rank_ic == pytest.approx(1.0)
    empty = over_time(np.full((5, 1), np.nan), np.ones((5, 1)), np.ones((5, 1)), horizon=1, config=CONFIG)
    assert (empty.num_cells, empty.num_dates) == (0, 0)
    assert all(np.isnan(getattr(empty, name)) for name in MEASURES)


def test_shapes_and_classes_are_checked() -> None:
    with pytest.raises(ValueError, match="score and label"):
        over_time(np.ones((3, 2)), np.ones((3, 2)), np.ones((2, 2)), horizon=1)
    with pytest.raises(ValueError, match="outcome must be 0, 1 or NaN"):
        over_time(np.ones((3, 2)), np.full((3, 2), 0.5), np.ones((3, 2)), horizon=1)
