"""The t and p of every table: against scipy and the definition, withheld where dates are few, right on null panels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter

from factor_metrics import ic, judge_trials, mean_test, naive_t, paired_difference, summarize
from factor_metrics.significance.distributions import normal_equivalent, student_t_two_sided
from factor_metrics.significance.mean_test import LEAST_EFFECTIVE_DATES, num_cosines

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("t", [0.0, 1e-4, 0.3, -1.96, 4.0, 40.0, -3e3])
@pytest.mark.parametrize("degrees", [0.7, 1.0, 3.0, 16.5, 250.0])
def test_tails_of_student_s_t_equal_scipy_s(t: float, degrees: float) -> None:
    assert student_t_two_sided(t, degrees) == pytest.approx(2.0 * stats.t.sf(abs(t), degrees), rel=1e-9)
    expected = math.copysign(stats.norm.isf(stats.t.sf(abs(t), degrees)), t)
    if math.isfinite(expected):
        assert normal_equivalent(t, degrees) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_far_tails_go_on_without_a_step() -> None:
    found = np.array([normal_equivalent(t, 400.0) for t in np.geomspace(20.0, 1e6, 400)])
    steps = np.diff(found)
    assert (steps > 0.0).all()
    assert np.isfinite(found).all()
    assert (np.abs(np.diff(steps)) < 0.01).all()
    assert normal_equivalent(-1e6, 400.0) == -found[-1]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_error_is_that_of_the_cosines_by_brute_force(scale: float) -> None:
    series = np.random.default_rng(0).normal(size=90) * scale + scale
    num = num_cosines(90, 1)
    assert num == math.ceil(0.41 * 90 ** (2 / 3)) == 9
    squares = [
        (math.sqrt(2 / 90) * sum(x * math.cos(math.pi * j * (t + 0.5) / 90) for t, x in enumerate(series))) ** 2
        for j in range(1, num + 1)
    ]
    result = mean_test(series)
    error = math.sqrt(sum(squares) / num / 90)
    assert result.standard_error == pytest.approx(error)
    assert result.p_value == pytest.approx(2.0 * stats.t.sf(abs(series.mean() / error), num))
    assert result.t_stat == pytest.approx(stats.norm.isf(result.p_value / 2.0))
    assert result.effective_dates == pytest.approx(min(90.0, series.var(ddof=1) / error**2))


def test_the_overlap_of_white_returns_is_seen_in_full_on_average() -> None:
    """Sums of 20 draws without memory: the variance of their mean is known, and the share of the triangle made good."""
    noise = np.random.default_rng(1).normal(size=(1000, 519))
    series = lfilter(np.ones(20), 1.0, noise, axis=1)[:, 19:]
    times_counted = np.convolve(np.ones(500), np.ones(20))
    variances = [mean_test(row, 20).standard_error ** 2 for row in series]
    assert np.mean(variances) == pytest.approx(np.square(times_counted / 500).sum(), rel=0.06)


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 400), st.integers(1, 20), st.floats(0.5, 0.99))
def test_the_interval_of_the_test_ends_at_zero_at_the_level_of_its_p_value(
    num_dates: int, horizon: int, confidence: float
) -> None:
    result = mean_test(np.random.default_rng(num_dates).normal(0.1, 1.0, num_dates), horizon)
    low, high = result.interval(confidence)
    if result.undefined:
        assert np.isnan([low, high, result.t_stat, result.p_value]).all()
    else:
        assert (low <= 0.0 <= high) == (result.p_value >= 1.0 - confidence)


@pytest.mark.parametrize(("num_dates", "horizon"), [(2, 1), (4, 1), (39, 20), (99, 20)])
def test_there_is_no_t_of_fewer_dates_than_five_horizons(num_dates: int, horizon: int) -> None:
    summary = summarize(np.random.default_rng(num_dates).normal(0.2, 0.1, num_dates), horizon)
    assert np.isnan([summary.t_stat, summary.p_value, summary.effective_dates]).all()
    assert summary.undefined == f"{num_dates} dates, fewer than 5 horizons of {horizon}"
    assert math.isfinite(summary.naive_t_stat), "the naive one is shown beside it all the same"


def test_there_is_no_t_of_dates_that_are_worth_fewer_than_three() -> None:
    summary = summarize(np.repeat([0.05, 0.1], 50) + 1e-3 * np.cos(np.arange(100)), horizon=20)
    assert summary.effective_dates < LEAST_EFFECTIVE_DATES
    assert summary.undefined.endswith("independent ones, fewer than 3")
    assert math.isnan(summary.t_stat)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 130), st.integers(1, 20))
def test_where_the_interval_is_withheld_so_are_t_and_p(num_dates: int, horizon: int) -> None:
    summary = summarize(np.random.default_rng(num_dates).normal(size=num_dates), horizon, num_bootstrap=20)
    if math.isnan(summary.ci_low):
        assert np.isnan([summary.t_stat, summary.p_value]).all()
    assert math.isnan(summary.t_stat) == (summary.undefined != "")


def test_independent_dates_are_worth_themselves_and_overlapping_ones_a_horizon_th() -> None:
    noise = np.random.default_rng(2).normal(size=4019)
    assert mean_test(noise).effective_dates == pytest.approx(4000, rel=0.3)
    overlapping = np.convolve(noise, np.ones(20), "valid")
    assert mean_test(overlapping, 20).effective_dates == pytest.approx(200, rel=0.3)


def test_trials_go_by_the_same_t() -> None:
    series = {f"t{i}": np.convolve(np.random.default_rng(i).normal(size=319), np.ones(20), "valid") for i in range(3)}
    for trial in judge_trials(series, 20, num_bootstrap=50).trials:
        expected = mean_test(series[trial.name], 20)
        assert (trial.t_stat, trial.p_value) == (expected.t_stat, expected.p_value)
        assert trial.effective_dates == expected.effective_dates


# ---- on markets without a signal, and with one


def null_ics(seed: int, memory: float, horizon: int, num_dates: int, strength: float = 0.0) -> np.ndarray:
    """ICs of a persistent forecast of 30 symbols with heavy-tailed returns, which it drives by `strength`."""
    generator = np.random.default_rng(seed)
    length, num_symbols = num_dates + horizon, 30
    shocks = generator.normal(size=(length, num_symbols))
    shocks[1:] *= math.sqrt(1.0 - memory**2)
    forecast = lfilter([1.0], [1.0, -memory], shocks, axis=0)
    returns = strength * forecast + generator.standard_t(4, size=(length, num_symbols))
    total = np.vstack([np.zeros((1, num_symbols)), np.cumsum(returns, axis=0)])
    return ic(forecast[:num_dates], total[horizon : horizon + num_dates] - total[:num_dates])


@pytest.mark.parametrize("memory", [0.0, 0.97])
@pytest.mark.parametrize(("horizon", "num_dates"), [(1, 100), (5, 100), (20, 100), (5, 250), (20, 250)])
def test_five_percent_of_true_nulls_are_rejected(memory: float, horizon: int, num_dates: int) -> None:
    """The study in benchmarks/null_rejection.py has more panels, horizons and dates."""
    tested = [mean_test(null_ics(seed, memory, horizon, num_dates), horizon) for seed in range(300)]
    rejected = float(np.mean([result.p_value < 0.05 for result in tested]))
    assert 0.0125 <= rejected <= 0.0875  # 0.05 and three standard errors of 300 panels
    assert rejected == np.mean([abs(result.t_stat) > 1.959964 for result in tested])


def test_the_naive_t_rejects_most_of_the_same_nulls() -> None:
    rejected = np.mean([abs(naive_t(null_ics(seed, 0.97, 20, 250))) > 1.96 for seed in range(200)])
    assert rejected > 0.5


def test_intervals_hold_a_true_signal_and_the_difference_of_two_forecasts() -> None:
    series = [(null_ics(seed, 0.9, 5, 250, 0.03), null_ics(seed + 10_000, 0.9, 5, 250, 0.03)) for seed in range(300)]
    truth = float(np.mean(series))
    covered = [low <= truth <= high for low, high in (mean_test(one, 5).interval() for one, _ in series)]
    assert 0.91 <= np.mean(covered) <= 0.99
    differences = [paired_difference(one, other, 5, num_bootstrap=20).p_value >= 0.05 for one, other in series]
    assert 0.91 <= np.mean(differences) <= 0.99
