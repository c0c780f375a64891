"""Deflated Sharpe ratio and probability of backtest overfitting against the papers and brute force."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from factor_metrics import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    overfitting_logits,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
)


def test_deflated_sharpe_ratio_equals_the_example_of_the_paper() -> None:
    """Bailey and Lopez de Prado (2014), section "A numerical example": SR0 = 0.1132 a day, DSR = 0.9004."""
    trials_std = math.sqrt(0.5 / 250)
    assert expected_maximum_sharpe(100, trials_std) == pytest.approx(0.1132, abs=5e-5)
    value = deflated_sharpe_ratio(2.5 / math.sqrt(250), 1250, 100, trials_std, skewness=-3.0, kurtosis=10.0)
    assert value == pytest.approx(0.9004, abs=5e-5)


def test_one_trial_is_not_deflated() -> None:
    assert expected_maximum_sharpe(1, 0.3) == 0.0
    assert deflated_sharpe_ratio(0.1, 500, 1, 0.3) == probabilistic_sharpe_ratio(0.1, 500)


def test_probabilistic_sharpe_ratio_of_normal_returns_by_hand() -> None:
    expected = stats.norm.cdf(0.1 * math.sqrt(99) / math.sqrt(1 + 0.1**2 / 2))
    assert probabilistic_sharpe_ratio(0.1, 100) == pytest.approx(expected, abs=1e-15)
    assert probabilistic_sharpe_ratio(0.0, 100) == 0.5


def test_expected_maximum_is_close_to_the_simulated_one() -> None:
    simulated = np.random.default_rng(0).normal(size=(20_000, 50)).max(axis=1).mean()
    assert expected_maximum_sharpe(50, 1.0) == pytest.approx(simulated, rel=0.02)


def test_more_trials_deflate_more() -> None:
    values = [deflated_sharpe_ratio(0.1, 1000, num_trials, 0.04) for num_trials in (1, 2, 10, 100, 1000)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5


def test_moments_that_no_distribution_has_give_nan() -> None:
    assert math.isnan(probabilistic_sharpe_ratio(1.0, 100, skewness=5.0, kurtosis=1.0))


def brute_force_logits(returns: np.ndarray, num_blocks: int) -> np.ndarray:
    blocks = np.split(returns, num_blocks)
    logits = []
    for chosen in combinations(range(num_blocks), num_blocks // 2):
        inside = np.concatenate([blocks[i] for i in chosen])
        outside = np.concatenate([blocks[i] for i in range(num_blocks) if i not in chosen])
        best = np.argmax(inside.mean(axis=0) / inside.std(axis=0))
        rank = stats.rankdata(outside.mean(axis=0) / outside.std(axis=0))[best]
        share = rank / (returns.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    return np.array(logits)


@pytest.mark.parametrize("num_blocks", [2, 4, 8])
def test_logits_equal_brute_force(num_blocks: int) -> None:
    returns = np.random.default_rng(num_blocks).normal(0.05, 1.0, size=(80, 7))
    np.testing.assert_allclose(overfitting_logits(returns, num_blocks), brute_force_logits(returns, num_blocks))


def test_one_trial_better_on_every_date_is_not_overfit() -> None:
    returns = np.random.default_rng(0).normal(size=(320, 20))
    returns[:, 7] += 3.0
    assert probability_of_backtest_overfitting(returns, 8) == 0.0


def test_a_choice_among_noise_is_worth_nothing() -> None:
    values = [
        probability_of_backtest_overfitting(np.random.default_rng(seed).normal(size=(240, 20)), 8) for seed in range(40)
    ]
    assert np.mean(values) == pytest.approx(0.5, abs=0.1)


def test_a_reversal_between_halves_is_always_overfit() -> None:
    generator = np.random.default_rng(0)
    drift = np.repeat([[1.0, -1.0], [-1.0, 1.0]], 40, axis=0)
    assert probability_of_backtest_overfitting(drift + 0.1 * generator.normal(size=(80, 2)), 2) == 1.0


def test_dates_that_do_not_fill_a_block_are_dropped_at_the_end() -> None:
    returns = np.random.default_rng(1).normal(size=(43, 5))
    np.testing.assert_allclose(overfitting_logits(returns, 4), overfitting_logits(returns[:40], 4))


def test_a_constant_trial_does_not_raise() -> None:
    returns = np.random.default_rng(1).normal(size=(40, 3))
    returns[:, 1] = 0.0
    assert np.isfinite(overfitting_logits(returns, 4)).all()


@pytest.mark.parametrize(
    ("shape", "num_blocks", "message"),
    [
        ((40, 3), 5, "num_blocks must be even and at most 20"),
        ((40, 3), 22, "num_blocks must be even and at most 20"),
        ((40, 1), 4, r"at least 2 trials \(columns\), got 1"),
        ((7, 3), 4, "at least 2 dates a block = 8, got 7"),
    ],
)
def test_impossible_arguments_are_refused(shape: tuple[int, int], num_blocks: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        probability_of_backtest_overfitting(np.zeros(shape), num_blocks)


def test_missing_returns_are_refused_with_their_count() -> None:
    returns = np.zeros((40, 3))
    returns[3:5, 1] = np.nan
    with pytest.raises(ValueError, match=r"returns must hold no NaN .* got 2"):
        probability_of_backtest_overfitting(returns, 4)
