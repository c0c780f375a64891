"""Performance of a return series: by hand, against pandas and brute force, and what must never be made up."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from factor_metrics import (
    annual_return,
    annual_volatility,
    calmar_ratio,
    conditional_value_at_risk,
    drawdown,
    equity_curve,
    hit_rate,
    max_drawdown,
    performance,
    relative_performance,
    sharpe_ratio,
    sortino_ratio,
    total_return,
    value_at_risk,
)

returns_strategy = st.lists(st.floats(-0.9, 2.0), min_size=1, max_size=40)


def noise(seed: int = 0, num_dates: int = 500, mean: float = 0.0005) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.01, size=num_dates)


def test_equity_and_drawdown_by_hand() -> None:
    returns = [0.1, -0.2, 0.25, -0.5]
    np.testing.assert_allclose(equity_curve(returns), [1.1, 0.88, 1.1, 0.55])
    np.testing.assert_allclose(drawdown(returns), [0.0, -0.2, 0.0, -0.5], atol=1e-15)
    assert max_drawdown(returns) == pytest.approx(-0.5)
    assert total_return(returns) == pytest.approx(-0.45)


def test_a_loss_on_the_first_date_is_a_drawdown_from_the_start() -> None:
    np.testing.assert_allclose(drawdown([-0.1, 0.05]), [-0.1, 0.9 * 1.05 - 1.0])


def test_a_later_and_higher_peak_does_not_deepen_an_earlier_drawdown() -> None:
    returns = [0.0, -0.1, 9.0]
    assert max_drawdown(returns) == pytest.approx(-0.1)
    assert max_drawdown(returns[:2]) == max_drawdown(returns)


def test_sums_instead_of_products_on_request() -> None:
    returns = [0.5, -0.25, np.nan, -0.5, 1.0]
    np.testing.assert_allclose(equity_curve(returns, compound=False), [1.5, 1.25, np.nan, 0.75, 1.75])
    np.testing.assert_allclose(drawdown(returns, compound=False), [0.0, -0.25, np.nan, -0.75, 0.0])


@given(returns_strategy)
@settings(max_examples=100, deadline=None)
def test_drawdown_equals_brute_force_and_knows_no_future(returns: np.ndarray) -> None:
    curve, expected = 1.0, []
    path = [1.0]
    for value in returns:
        curve *= 1.0 + value
        path.append(curve)
        expected.append(curve / max(path) - 1.0)
    depths = drawdown(returns)
    np.testing.assert_allclose(depths, expected, atol=1e-12)
    np.testing.assert_array_equal(drawdown(returns[:-1]), depths[:-1])
    assert (depths <= 0.0).all()
    assert (depths >= -1.0).all()


def test_unknown_dates_stay_unknown_and_change_no_other_number() -> None:
    returns = noise(1, 60)
    with_gaps = np.insert(returns, [0, 10, 60], np.nan)
    assert np.isnan(equity_curve(with_gaps)[[0, 11, -1]]).all()
    np.testing.assert_array_equal(drawdown(with_gaps)[~np.isnan(with_gaps)], drawdown(returns))
    assert performance(with_gaps, periods_per_year=252) == performance(returns, periods_per_year=252)


def test_every_number_against_pandas_and_scipy() -> None:
    returns = noise(2)
    series = pd.Series(returns)
    result = performance(returns, periods_per_year=252, risk_free=0.0001)
    curve = (1.0 + series).cumprod()
    assert result.total_return == pytest.approx(curve.iloc[-1] - 1.0)
    assert result.annual_return == pytest.approx(curve.iloc[-1] ** (252 / 500) - 1.0)
    assert result.annual_volatility == pytest.approx(series.std() * 252**0.5)
    assert result.sharpe == pytest.approx((series - 0.0001).mean() / series.std() * 252**0.5)
    downside = ((series - 0.0001).clip(upper=0.0) ** 2).mean() ** 0.5
    assert result.sortino == pytest.approx((series - 0.0001).mean() / downside * 252**0.5)
    assert result.max_drawdown == pytest.approx((curve / curve.cummax().clip(lower=1.0) - 1.0).min())
    assert result.calmar == pytest.approx(result.annual_return / -result.max_drawdown)
    assert result.hit_rate == (series > 0).mean()
    assert result.value_at_risk == -series.quantile(0.05, interpolation="lower")
    assert result.conditional_value_at_risk == pytest.approx(-series.nsmallest(25).mean())
    assert result.skewness == pytest.approx(stats.skew(returns))
    assert result.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False))
    assert result.num_dates == 500
    assert set(result.to_dict()) == set(result.__dataclass_fields__)


def test_against_a_benchmark_as_a_regression() -> None:
    benchmark = noise(3)
    returns = 0.0002 + 1.5 * benchmark + noise(4, mean=0.0)
    result = relative_performance(returns, benchmark, periods_per_year=252)
    fit = stats.linregress(benchmark, returns)
    assert result.beta == pytest.approx(fit.slope)
    assert result.alpha == pytest.approx(252 * fit.intercept)
    difference = pd.Series(returns - benchmark)
    assert result.tracking_error == pytest.approx(difference.std() * 252**0.5)
    assert result.information_ratio == pytest.approx(difference.mean() / difference.std() * 252**0.5)


def test_a_benchmark_is_compared_on_common_dates_only() -> None:
    returns, benchmark = noise(3, 50), noise(4, 50)
    returns[:5], benchmark[-5:] = np.nan, np.nan
    result = relative_performance(returns, benchmark, periods_per_year=252)
    assert result == relative_performance(returns[5:-5], benchmark[5:-5], periods_per_year=252)
    assert result.num_dates == 40


def test_the_tail_counts_its_last_date_in_part() -> None:
    returns = np.arange(30) / 100.0 - 0.1  # worst: -0.10, -0.09; the tail at 95 % is 1.5 dates
    assert value_at_risk(returns) == pytest.approx(0.09)
    assert conditional_value_at_risk(returns) == pytest.approx((0.10 + 0.5 * 0.09) / 1.5)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_conditional_value_at_risk_is_the_mean_of_the_quantile_function(confidence: float) -> None:
    returns = noise(5, 333)
    grid = (np.arange(200_000) + 0.5) / 200_000 * (1.0 - confidence)
    quantiles = np.quantile(returns, grid, method="inverted_cdf")
    assert conditional_value_at_risk(returns, confidence) == pytest.approx(-quantiles.mean(), rel=1e-4)
    assert conditional_value_at_risk(returns, confidence) >= value_at_risk(returns, confidence)


def test_risk_of_a_history_that_is_too_short_is_unknown_and_never_zero() -> None:
    assert math.isnan(value_at_risk(noise(0, 19)))
    assert math.isnan(conditional_value_at_risk(noise(0, 19)))
    assert math.isfinite(value_at_risk(noise(0, 20)))
    assert math.isnan(value_at_risk(noise(0, 99), 0.99))
    assert math.isnan(annual_volatility([0.01], periods_per_year=252))
    assert math.isnan(sharpe_ratio([0.01], periods_per_year=252))
    empty, words = performance([np.nan, np.nan], periods_per_year=252), ("num_dates", "undefined")
    assert (empty.num_dates, empty.undefined) == (0, "no return is known")
    assert all(math.isnan(value) for name, value in empty.to_dict().items() if name not in words)
    single = relative_performance([0.1, np.nan], [0.1, 0.1], periods_per_year=252)
    assert math.isnan(single.beta)
    assert math.isnan(single.tracking_error)


def test_ratios_without_a_denominator_are_unknown() -> None:
    gains = [0.01, 0.02, 0.01]
    assert math.isnan(sortino_ratio(gains, periods_per_year=252))
    assert math.isnan(calmar_ratio(gains, periods_per_year=252))
    assert math.isnan(sharpe_ratio([0.1, 0.1, 0.1], periods_per_year=252))
    assert math.isnan(relative_performance(gains, [0.1, 0.1, 0.1], periods_per_year=252).beta)
    assert hit_rate(gains) == 1.0


def test_the_year_scales_as_the_caller_says() -> None:
    returns = noise(6)
    daily, hourly = (sharpe_ratio(returns, periods_per_year=year) for year in (252, 8760))
    assert hourly / daily == pytest.approx(math.sqrt(8760 / 252))
    assert annual_return([0.1, 0.1], periods_per_year=1) == pytest.approx(0.1)
    assert annual_return([0.5, -1.0], periods_per_year=1) == -1.0


@pytest.mark.parametrize("year", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_year_is_refused(year: float) -> None:
    with pytest.raises(ValueError, match="periods_per_year must be finite and above 0"):
        sharpe_ratio([0.1, 0.2], periods_per_year=year)


def test_more_than_everything_cannot_be_lost_and_compounded() -> None:
    with pytest.raises(ValueError, match=r"returns holds 1 value\(s\) below -1, .*: -1.5 at 1"):
        equity_curve([0.1, -1.5])
    assert equity_curve([0.1, -1.5], compound=False)[1] == pytest.approx(-0.4)


def test_a_panel_is_no_series_of_returns() -> None:
    """One return per row of a panel is not one per date: only a series over dates is taken."""
    with pytest.raises(ValueError, match=r"returns must have shape \(num_dates,\)"):
        performance(np.zeros((5, 3)), periods_per_year=252)
