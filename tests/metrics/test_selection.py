"""The best of all trials: every number is that of its own function, on common dates, and noise is not believed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from factor_metrics import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    judge_trials,
    mean_test,
    moments,
    probability_of_backtest_overfitting,
    superior_predictive_ability,
)


def trials(seed: int = 0, num_trials: int = 12, num_dates: int = 300, best: float = 0.0) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(num_dates, num_trials))
    values[:, 3] += best
    return {f"exp-{index}": column for index, column in enumerate(values.T)}


def test_every_number_is_that_of_its_function() -> None:
    series = trials()
    series["exp-5"][[0, 7]] = np.nan
    result = judge_trials(series, 5, num_blocks=8, num_bootstrap=200, seed=3)
    values = np.column_stack(list(series.values()))
    values = values[~np.isnan(values).any(axis=1)]
    sharpe = values.mean(axis=0) / values.std(axis=0, ddof=1)
    best, std = int(sharpe.argmax()), sharpe.std(ddof=1)
    assert (result.best, result.num_trials, result.num_dates) == (f"exp-{best}", 12, 298)
    expected = deflated_sharpe_ratio(sharpe[best], 298 // 5, 12, std, *moments(values[:, best]))
    assert result.deflated_sharpe == pytest.approx(expected)
    assert result.expected_maximum_sharpe == pytest.approx(expected_maximum_sharpe(12, std))
    assert result.probability_of_overfitting == probability_of_backtest_overfitting(values, 8)
    assert result.superior_p_value == superior_predictive_ability(values, 5, 200, 3).p_value
    p_values = [mean_test(column, 5).p_value for column in values.T]
    adjusted = dict(zip(series, multipletests(p_values, method="fdr_bh")[1], strict=True))
    for trial in result.trials:
        assert trial.adjusted_p_value == pytest.approx(adjusted[trial.name])
    assert [trial.sharpe for trial in result.trials] == sorted(sharpe, reverse=True)


def test_a_true_signal_is_believed_and_the_best_of_noise_is_not() -> None:
    real, noise = judge_trials(trials(best=0.5)), judge_trials(trials(num_trials=200))
    assert (real.best, real.deflated_sharpe > 0.95, real.superior_p_value < 0.01) == ("exp-3", True, True)
    assert real.probability_of_overfitting < 0.05
    assert noise.trials[0].p_value < 0.05  # alone it would be believed
    assert noise.trials[0].adjusted_p_value > 0.05
    assert noise.deflated_sharpe < 0.95
    assert noise.superior_p_value > 0.05


def test_looks_without_a_series_are_counted() -> None:
    few, many = judge_trials(trials(best=0.2)), judge_trials(trials(best=0.2), num_trials=1000)
    assert many.deflated_sharpe < few.deflated_sharpe
    assert many.num_trials == 1000
    with pytest.raises(ValueError, match="num_trials must be at least 12, got 3"):
        judge_trials(trials(), num_trials=3)


def test_a_benchmark_has_to_be_beaten() -> None:
    series = trials(best=0.5)
    assert judge_trials(series).superior_p_value < 0.01
    assert math.isnan(judge_trials(series, benchmark=series["exp-3"]).superior_p_value)
    against = judge_trials({"a": series["exp-3"], "b": series["exp-1"]}, benchmark=np.full(300, 0.6))
    assert against.superior_p_value > 0.5


def test_one_trial_is_not_deflated_and_cannot_be_overfit() -> None:
    result = judge_trials({"only": trials()["exp-1"]})
    assert result.expected_maximum_sharpe == 0.0
    assert math.isnan(result.probability_of_overfitting)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({}, "series must name at least one trial, got none"),
        ({"a": [1.0, 2.0], "b": [1.0]}, "b has 1 dates, a has 2"),
        ({"a": [1.0, np.nan], "b": [np.nan, 1.0]}, "share at least 2 dates on which all are known, got 0"),
        ({"a": [1.0, 2.0, 3.0], "b": [1.0, 1.0, 1.0]}, r"1 trial\(s\) are constant on the common dates: b"),
    ],
)
def test_impossible_trials_are_refused(series: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judge_trials(series)
