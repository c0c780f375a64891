"""Simulation studies: what the intervals, tests and corrections promise, held against thousands of draws.

Panels: 60 symbols, 250 dates, horizon 5, one-bar returns independent over dates, so that labels overlap and
nothing else is dependent. A prediction without memory has ICs without autocorrelation even so; the hard case
is a persistent one, whose luck repeats for as long as its labels overlap (first autocorrelation about 0.7).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.signal import lfilter

from factor_metrics import (
    SuperiorAbility,
    adjusted_p_values,
    bootstrap_interval,
    deflated_sharpe_ratio,
    ic,
    moments,
    monotonicity,
    naive_t,
    newey_west_interval,
    newey_west_t,
    permutation_test,
    probability_of_backtest_overfitting,
    reality_check,
    superior_predictive_ability,
)

pytestmark = pytest.mark.slow
NUM_DATES, NUM_SYMBOLS, HORIZON = 250, 60, 5


def panel(
    seed: int,
    memory: float,
    strength: float = 0.0,
    strength_memory: float = 0.0,
    strength_std: float = 0.0,
    num_dates: int = NUM_DATES,
    horizon: int = HORIZON,
) -> tuple[np.ndarray, np.ndarray]:
    """(prediction, label): a first-order autoregressive prediction that drives each next one-bar return."""
    generator = np.random.default_rng(seed)
    length = num_dates + horizon
    shocks = generator.normal(size=(length, NUM_SYMBOLS))
    shocks[1:] *= math.sqrt(1.0 - memory**2)
    prediction = lfilter([1.0], [1.0, -memory], shocks, axis=0)
    regime = generator.normal(size=length)
    regime[1:] *= math.sqrt(1.0 - strength_memory**2)
    strengths = strength + strength_std * lfilter([1.0], [1.0, -strength_memory], regime)
    returns = strengths[:, None] * prediction + generator.normal(size=(length, NUM_SYMBOLS))
    total = np.vstack([np.zeros((1, NUM_SYMBOLS)), np.cumsum(returns, axis=0)])
    return prediction[:num_dates], total[horizon : horizon + num_dates] - total[:num_dates]


def true_mean_ic(memory: float, strength: float) -> float:
    """Expected sample correlation: rho - rho (1 - rho^2) / (2 n), rho from the covariances of the process."""
    powers = memory ** np.abs(np.subtract.outer(np.arange(HORIZON), np.arange(HORIZON)))
    rho = strength * powers[0].sum() / math.sqrt(HORIZON + strength**2 * powers.sum())
    return rho - rho * (1.0 - rho**2) / (2.0 * NUM_SYMBOLS)


@pytest.fixture(scope="module")
def persistent_ics() -> np.ndarray:
    """(2000, num_dates): ICs of 2,000 panels with a persistent prediction of a known, positive mean IC."""
    return np.array([ic(*panel(seed, memory=0.9, strength=0.02)) for seed in range(2000)])


def coverage(
    series: Sequence[np.ndarray], truth: float, interval: Callable[[np.ndarray], tuple[float, float]]
) -> float:
    hits = [low <= truth <= high for low, high in map(interval, series)]
    return float(np.mean(hits))


def test_95_percent_intervals_of_the_mean_ic_cover_the_truth_in_2000_panels(
    persistent_ics: np.ndarray,
) -> None:
    truth = true_mean_ic(0.9, 0.02)
    assert persistent_ics.mean() == pytest.approx(truth, abs=0.001)
    assert 0.93 <= coverage(persistent_ics, truth, lambda s: bootstrap_interval(s, HORIZON)) <= 0.97
    assert 0.93 <= coverage(persistent_ics, truth, lambda s: newey_west_interval(s, HORIZON)) <= 0.97


@pytest.mark.parametrize(("num_dates", "horizon"), [(100, 20), (30, 5), (100, 5)])
def test_intervals_of_few_dates_cover_the_truth_too_or_are_withheld(num_dates: int, horizon: int) -> None:
    """A prediction that hardly moves, 5, 6 and 20 horizons of dates: blocks by themselves cover 88 to 94 %."""
    series = [ic(*panel(seed, 0.99, num_dates=num_dates, horizon=horizon)) for seed in range(600)]
    found = [bootstrap_interval(values, horizon, num_bootstrap=300) for values in series]
    given_ends = np.array([ends for ends in found if not math.isnan(ends[0])])
    assert len(given_ends) > 590
    assert 0.935 <= ((given_ends[:, 0] <= 0.0) & (given_ends[:, 1] >= 0.0)).mean() <= 0.98


def test_stationary_blocks_cover_the_truth_as_well(persistent_ics: np.ndarray) -> None:
    def interval(series: np.ndarray) -> tuple[float, float]:
        return bootstrap_interval(series, HORIZON, num_bootstrap=500, method="stationary")

    assert 0.92 <= coverage(persistent_ics[:1000], true_mean_ic(0.9, 0.02), interval) <= 0.97


def test_the_naive_interval_does_not_cover_the_truth(persistent_ics: np.ndarray) -> None:
    def interval(series: np.ndarray) -> tuple[float, float]:
        half_width = 1.96 * series.mean() / naive_t(series)
        return series.mean() - abs(half_width), series.mean() + abs(half_width)

    assert coverage(persistent_ics, true_mean_ic(0.9, 0.02), interval) < 0.70


def test_a_newey_west_error_with_a_lag_of_one_horizon_is_better_and_still_too_short(
    persistent_ics: np.ndarray,
) -> None:
    """The Bartlett weights cut off part of the overlap: why the interval takes a longer window."""

    def interval(series: np.ndarray) -> tuple[float, float]:
        result = newey_west_t(series, HORIZON, lag=HORIZON - 1)
        return result.mean - 1.96 * result.standard_error, result.mean + 1.96 * result.standard_error

    assert 0.83 <= coverage(persistent_ics, true_mean_ic(0.9, 0.02), interval) <= 0.92


def test_a_prediction_without_memory_needs_no_correction_and_gets_a_slightly_wide_interval() -> None:
    series = [ic(*panel(seed, memory=0.0, strength=0.02)) for seed in range(1000)]
    truth = true_mean_ic(0.0, 0.02)

    def naive(values: np.ndarray) -> tuple[float, float]:
        half_width = 1.96 * values.std(ddof=1) / math.sqrt(NUM_DATES)
        return values.mean() - half_width, values.mean() + half_width

    assert 0.93 <= coverage(series, truth, naive) <= 0.97
    assert 0.94 <= coverage(series, truth, lambda s: bootstrap_interval(s, HORIZON, num_bootstrap=500)) <= 0.985
    assert 0.93 <= coverage(series, truth, lambda s: newey_west_interval(s, HORIZON)) <= 0.98


def test_strength_that_comes_in_long_regimes_is_not_covered_and_we_say_so() -> None:
    """Dependence beyond the overlap: a strength with a half-life of 13 dates. One year cannot show it."""
    series = [ic(*panel(seed, 0.9, 0.02, strength_memory=0.95, strength_std=0.03)) for seed in range(400)]
    truth = float(np.mean(series))
    assert coverage(series, truth, lambda s: bootstrap_interval(s, HORIZON, num_bootstrap=500)) < 0.93


def share_rejected(num_panels: int, p_value: Callable[[int], float]) -> float:
    return float(np.mean([p_value(seed) <= 0.05 for seed in range(num_panels)]))


def test_permutation_by_date_rejects_five_percent_where_dates_are_unrelated() -> None:
    def p_value(seed: int) -> float:
        prediction, label = panel(seed, memory=0.0)
        return permutation_test(prediction[:60], label[:60], 199, seed, correlation="pearson").p_value

    assert 0.03 <= share_rejected(400, p_value) <= 0.07


def test_permutation_date_by_date_is_fooled_by_persistence_and_blocks_of_dates_are_not() -> None:
    def apart(seed: int) -> float:
        return permutation_test(*panel(seed, memory=0.9), 99, seed, correlation="pearson").p_value

    def together(seed: int) -> float:
        data = panel(seed, memory=0.9)
        return permutation_test(*data, 99, seed, correlation="pearson", num_dates_together=50).p_value

    assert share_rejected(100, apart) > 0.2
    assert 0.02 <= share_rejected(400, together) <= 0.085


def test_a_choice_among_noise_strategies_is_overfit_half_of_the_time() -> None:
    """Strategies without any difference: the best of one half is above or below the median of the other alike."""
    generator = np.random.default_rng(0)
    values = [probability_of_backtest_overfitting(generator.normal(size=(240, 20)), 8) for _ in range(300)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


def test_deflated_sharpe_rejects_the_best_of_1000_noise_strategies_and_the_plain_t_takes_it() -> None:
    believed, believed_by_t = [], []
    for seed in range(150):
        returns = np.random.default_rng(seed).normal(size=(500, 1000))
        sharpe = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
        best = int(sharpe.argmax())
        skewness, kurtosis = moments(returns[:, best])
        value = deflated_sharpe_ratio(sharpe[best], 500, 1000, sharpe.std(ddof=1), skewness, kurtosis)
        believed.append(value > 0.95)
        believed_by_t.append(naive_t(returns[:, best]) > 1.96)
    assert np.mean(believed) <= 0.05
    assert np.mean(believed_by_t) == 1.0


@pytest.mark.parametrize(
    ("test", "lowest", "highest"), [(superior_predictive_ability, 0.03, 0.085), (reality_check, 0.005, 0.05)]
)
def test_the_best_of_many_equal_models_is_rejected_about_five_percent_of_the_time(
    test: Callable[..., SuperiorAbility], lowest: float, highest: float
) -> None:
    def p_value(seed: int) -> float:
        values = np.random.default_rng(seed).normal(size=(250, 20))
        return test(values, num_bootstrap=199, seed=seed).p_value

    assert lowest <= share_rejected(400, p_value) <= highest


def test_superior_predictive_ability_needs_the_stretch_to_keep_its_size_with_overlapping_labels() -> None:
    def p_value(seed: int, stretch: bool) -> float:
        noise = np.random.default_rng(seed).normal(size=(504, 10))
        values = lfilter(np.ones(HORIZON), 1.0, noise, axis=0)[HORIZON - 1 :]
        return superior_predictive_ability(values, HORIZON, num_bootstrap=199, seed=seed, stretch=stretch).p_value

    assert share_rejected(200, lambda seed: p_value(seed, True)) <= 0.1
    assert share_rejected(100, lambda seed: p_value(seed, False)) > 0.1


def test_flat_quantiles_are_called_monotonic_rarely_and_rising_ones_mostly() -> None:
    def p_value(seed: int, step: float) -> float:
        returns = np.random.default_rng(seed).normal(size=(250, 5)) + step * np.arange(5)
        return monotonicity(returns, num_bootstrap=199, seed=seed).p_value

    assert share_rejected(300, lambda seed: p_value(seed, 0.0)) <= 0.05
    assert share_rejected(100, lambda seed: p_value(seed, 0.4)) >= 0.9


def test_false_discoveries_stay_at_their_share() -> None:
    """90 tests of nothing and 10 of something: of what is called a discovery, at most 5 % is false on average."""
    generator = np.random.default_rng(0)
    false_shares = []
    for _ in range(500):
        p_values = generator.random(100)
        p_values[:10] = 1e-4 * generator.random(10)
        found = adjusted_p_values(p_values) <= 0.05
        false_shares.append(found[10:].sum() / max(found.sum(), 1))
    assert np.mean(false_shares) <= 0.05
