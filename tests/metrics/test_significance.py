"""Newey-West interval and naive t, track record and monotonicity: published figures, closed forms, bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from factor_metrics import (
    bootstrap_interval,
    minimum_track_record_length,
    monotonicity,
    naive_t,
    newey_west_interval,
    newey_west_t,
    probabilistic_sharpe_ratio,
    quantile_returns,
    summarize,
)


def noise(seed: int, num_dates: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=num_dates)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.15])
@pytest.mark.parametrize(
    ("confidence", "coefficients"),
    [
        (0.80, (1.2816, 1.3040, 0.5135, -0.3386)),
        (0.90, (1.6449, 2.1859, 0.3142, -0.3427)),
        (0.95, (1.9600, 2.9694, 0.4160, -0.5324)),
        (0.98, (2.3263, 4.1618, 0.5368, -0.9060)),
    ],
)
def test_interval_is_close_to_the_critical_values_of_kiefer_and_vogelsang(
    share: float, confidence: float, coefficients: tuple[float, ...]
) -> None:
    """Kiefer and Vogelsang (2005), table 1, Bartlett kernel: a0 + a1 b + a2 b^2 + a3 b^3, b = window / T."""
    series, window = noise(0, 1000), round(1000 * share)
    low, high = newey_west_interval(series, 1, confidence, lag=window - 1)
    found = (high - low) / 2.0 / newey_west_t(series, lag=window - 1).standard_error
    assert found == pytest.approx(sum(a * share**k for k, a in enumerate(coefficients)), rel=0.03)


def test_interval_tends_to_the_normal_one_with_many_dates() -> None:
    series = noise(1, 200_000)
    low, high = newey_west_interval(series, lag=3)
    error = newey_west_t(series, lag=3).standard_error
    assert (high - low) / 2.0 == pytest.approx(1.959964 * error, rel=1e-3)


@pytest.mark.parametrize("horizon", [1, 5])
def test_both_intervals_agree_where_there_are_many_blocks(horizon: int) -> None:
    series = np.convolve(noise(2, 6000 + horizon - 1), np.ones(horizon), "valid")
    newey_west = np.subtract(*newey_west_interval(series, horizon))
    assert newey_west == pytest.approx(np.subtract(*bootstrap_interval(series, horizon)), rel=0.12)


@given(st.integers(0, 300), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_interval_holds_the_mean_or_is_unknown(num_dates: int, horizon: int) -> None:
    series = noise(num_dates, num_dates)
    low, high = newey_west_interval(series, horizon)
    if math.isnan(low):
        assert num_dates < max(2 * horizon, 5)
    else:
        assert low < series.mean() < high


def test_interval_of_a_constant_series_has_no_width() -> None:
    assert newey_west_interval(np.full(50, 0.1)) == (0.1, 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lag": 2, "horizon": 5}, "lag must be at least 4, got 2"),
        ({"confidence": 0.0}, "confidence must lie strictly between 0 and 1"),
        ({"horizon": 0}, "horizon must be at least 1"),
    ],
)
def test_impossible_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        newey_west_interval(noise(0, 50), **options)


def test_newey_west_by_hand() -> None:
    """Deviations -1, 1, 0 about 1: gamma_0 = 2/3, gamma_1 = -1/3; lag 1 weighs gamma_1 with 1/2."""
    assert newey_west_t([0.0, 2.0, 1.0], lag=1).standard_error == pytest.approx(math.sqrt((2 / 3 - 1 / 3) / 3))


@pytest.mark.parametrize(("num_dates", "horizon"), [(6, 1), (250, 1), (100, 20), (400, 20)])
def test_the_newey_west_t_and_its_interval_say_the_same(num_dates: int, horizon: int) -> None:
    series = noise(num_dates, num_dates) + 0.1
    result = newey_west_t(series, horizon)
    low, high = newey_west_interval(series, horizon, 1.0 - result.p_value)
    assert min(abs(low), abs(high)) == pytest.approx(0.0, abs=1e-10)
    assert result.t_stat == pytest.approx(math.copysign(stats.norm.isf(result.p_value / 2.0), series.mean()))


@pytest.mark.parametrize(("num_dates", "horizon"), [(4, 1), (39, 20)])
def test_where_the_newey_west_interval_is_withheld_so_is_the_t(num_dates: int, horizon: int) -> None:
    series = noise(3, num_dates)
    assert all(math.isnan(value) for value in newey_west_interval(series, horizon))
    result = newey_west_t(series, horizon)
    assert math.isnan(result.t_stat)
    assert math.isnan(result.p_value)


def test_naive_t_equals_the_one_sample_test_and_stands_in_the_summary() -> None:
    series = noise(4, 50)
    assert naive_t(series) == pytest.approx(stats.ttest_1samp(series, 0.0).statistic)
    assert summarize(series).naive_t_stat == naive_t(series)
    assert math.isnan(naive_t([0.1]))
    assert math.isnan(naive_t([0.1, 0.1]))


def test_naive_t_is_too_large_with_overlapping_labels() -> None:
    series = np.convolve(noise(5, 504), np.ones(5) / 5, "valid") + 0.1
    assert naive_t(series) > 1.4 * summarize(series, 5).t_stat


@pytest.mark.parametrize(
    ("periods", "skewness", "kurtosis", "years"),
    [(252, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_track_record_equals_the_figures_of_the_paper(
    periods: int, skewness: float, kurtosis: float, years: float
) -> None:
    """Bailey and Lopez de Prado (2012), section 4: an annual Sharpe ratio of 2 against 1 at 95 %."""
    scale = 1.0 / math.sqrt(periods)
    length = minimum_track_record_length(2.0 * scale, scale, skewness, kurtosis)
    assert length / periods == pytest.approx(years, abs=0.006)


@given(st.floats(0.01, 0.5), st.floats(-2.0, 1.0), st.floats(3.0, 10.0), st.floats(0.6, 0.999))
@settings(max_examples=100, deadline=None)
def test_track_record_is_where_the_probabilistic_sharpe_reaches_the_level(
    sharpe: float, skewness: float, kurtosis: float, confidence: float
) -> None:
    length = minimum_track_record_length(sharpe, 0.0, skewness, kurtosis, confidence)
    whole = max(math.ceil(length), 2)
    assert probabilistic_sharpe_ratio(sharpe, whole, 0.0, skewness, kurtosis) >= confidence - 1e-12
    if length > 3.0:
        assert probabilistic_sharpe_ratio(sharpe, whole - 1, 0.0, skewness, kurtosis) < confidence


def test_a_sharpe_ratio_at_the_benchmark_never_gets_there() -> None:
    assert minimum_track_record_length(0.1, 0.1) == math.inf
    assert math.isnan(minimum_track_record_length(math.nan))
    assert math.isnan(minimum_track_record_length(1.0, 0.0, 5.0, 1.0))


def test_rising_quantiles_are_monotonic_and_a_bent_middle_is_not() -> None:
    returns = 0.3 * noise(6, 1250).reshape(250, 5)
    rising = monotonicity(returns + 0.2 * np.arange(5))
    assert (rising.rank_correlation, rising.num_dates) == (pytest.approx(1.0), 250)
    assert rising.p_value < 0.01
    bent = monotonicity(returns + np.array([0.0, 0.6, 0.1, 0.7, 0.8]))
    assert bent.smallest_step == pytest.approx(-0.5, abs=0.1)
    assert bent.p_value > 0.9
    assert bent.rank_correlation == pytest.approx(0.9)


def test_two_quantiles_give_the_one_sided_test_of_their_spread() -> None:
    returns = 0.01 * np.column_stack([noise(7, 2000), noise(8, 2000) + 0.05])
    step = returns[:, 1] - returns[:, 0]
    result = monotonicity(returns, num_bootstrap=20_000)
    assert result.smallest_step == pytest.approx(step.mean())
    assert result.p_value == pytest.approx(stats.norm.sf(naive_t(step)), abs=0.03)


def test_monotonicity_of_real_quantiles_drops_undefined_dates() -> None:
    generator = np.random.default_rng(9)
    label = generator.normal(size=(200, 50))
    prediction = label + generator.normal(size=(200, 50))
    prediction[5] = np.nan
    result = monotonicity(quantile_returns(prediction, label, 5))
    assert (result.num_dates, result.rank_correlation) == (199, pytest.approx(1.0))
    assert result.p_value < 0.01
    assert math.isnan(monotonicity(np.full((10, 5), np.nan)).p_value)
    assert math.isnan(monotonicity(np.ones((10, 5))).rank_correlation)
