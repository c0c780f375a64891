"""A forecast as a book: when it holds, keeps and closes positions, years, ruin, and what cannot be priced."""

from __future__ import annotations

import math

import numpy as np
import pytest

from factor_metrics import BookConfig, BookResult, CostSchedule, judge_book, sharpe_ratio

NAN = np.nan
FREE = CostSchedule(commission=0.0, half_spread=0.0, impact=0.0, borrow=0.0)
DATES = np.datetime64("2020-12-01", "ns") + np.arange(60) * np.timedelta64(1, "D")


def noise(seed: int = 0, num_symbols: int = 10) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    price = 50.0 * np.exp(np.cumsum(generator.normal(0.0, 0.02, size=(60, num_symbols)), axis=0))
    return generator.normal(size=price.shape), price


def book(forecast: np.ndarray, price: np.ndarray, config: BookConfig, horizon: int = 1) -> BookResult:
    return judge_book(forecast, price, price * 1e5, DATES, np.full(60, 0.001), config, horizon=horizon, num_quantiles=2)


def test_dates_without_a_forecast_close_the_book_and_constant_ones_keep_it() -> None:
    price = np.ones((60, 2))
    price[:, 1] = 1.01 ** np.arange(60)
    forecast = np.tile([0.0, 1.0], (60, 1))
    forecast[:10] = NAN
    forecast[20:30] = 1.0
    forecast[40:50] = NAN
    found = book(forecast, price, BookConfig(kind="long_only", costs=FREE))
    assert found.dates[0] == DATES[11], "traded one date after the first forecast"
    kept = np.r_[np.arange(11, 42), np.arange(51, 60)]
    np.testing.assert_array_equal(found.dates, DATES[kept], "empty dates are left out, those of trades are not")
    held = np.diff(np.log(found.net)) > 1e-9
    np.testing.assert_array_equal(held, kept[1:] != 51)
    assert found.scores.traded > 0.0
    assert found.scores.book_dates == len(kept)


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_gap_between_folds_does_not_dilute_what_forecasts_are_worth(horizon: int) -> None:
    """A book over two spans with a gap has the returns of two books, one after the other."""
    forecast, price = noise(7)
    forecast[25:35] = NAN
    forecast[50:] = NAN
    first, second = forecast.copy(), forecast.copy()
    first[25:], second[:35] = NAN, NAN
    whole, *parts = (book(one, price, BookConfig(), horizon) for one in (forecast, first, second))
    returns = [np.diff(np.concatenate([[1.0], one.net])) / np.concatenate([[1.0], one.net[:-1]]) for one in parts]
    assert whole.scores.book_dates == sum(len(one) for one in returns)
    expected = sharpe_ratio(np.concatenate(returns), periods_per_year=whole.periods_per_year)
    assert whole.scores.net_sharpe == pytest.approx(expected, rel=1e-12 if horizon == 1 else 0.05)
    assert whole.net[-1] == pytest.approx(parts[0].net[-1] * parts[1].net[-1], rel=1e-12 if horizon == 1 else 1e-3)


def test_years_compound_to_the_whole_and_the_equity_ends_there() -> None:
    forecast, price = noise(1)
    found = book(forecast, price, BookConfig(), horizon=3)
    assert [one.year for one in found.years] == [2020, 2021]
    assert sum(one.num_dates for one in found.years) == len(found.dates)
    for series, name in ((found.net, "net_return"), (found.gross, "gross_return")):
        whole = np.prod([1.0 + getattr(one, name) for one in found.years])
        assert whole == pytest.approx(series[-1], rel=1e-12)
    growth = (1.0 + found.scores.net_return) ** (found.scores.book_dates / found.periods_per_year)
    assert growth == pytest.approx(found.net[-1], rel=1e-9)
    assert found.periods_per_year == 365.0, "there are weekends in it"
    assert found.scores.gross_sharpe > found.scores.net_sharpe
    deepest = found.drawdowns[0]
    assert deepest.depth == pytest.approx(found.scores.net_drawdown, abs=1e-12)
    assert deepest.trough in {str(date)[:10] for date in DATES}


def test_given_dates_a_year_and_no_volume_are_taken_and_told() -> None:
    forecast, price = noise(2)
    found = judge_book(forecast, price, None, DATES, np.zeros(60), BookConfig(periods_per_year=252.0))
    assert (found.periods_per_year, found.year_rule) == (252.0, "given in the settings")
    assert not found.impact_priced
    assert found.scores.impact_costs == 0.0
    assert math.isnan(found.scores.capacity)
    returns = found.net / np.concatenate([[1.0], found.net[:-1]]) - 1.0
    assert found.scores.net_sharpe == pytest.approx(sharpe_ratio(returns, periods_per_year=252.0), rel=1e-9)


def test_ruin_ends_the_book_and_is_reported() -> None:
    forecast, price = noise(3)
    price[30, :5] *= 2.0
    forecast[:, :5] -= 100.0  # short of what doubles
    found = book(forecast, price, BookConfig(gross=8.0))
    assert found.net[-1] == 0.0
    assert found.scores.net_return == -1.0
    assert found.scores.net_drawdown == -1.0
    assert found.drawdowns[0].recovered == ""


def test_no_decision_at_all_is_a_book_without_numbers() -> None:
    _, price = noise(4)
    found = book(np.ones_like(price), price, BookConfig())
    assert found.scores.book_dates == len(found.dates) == len(found.years) == 0
    assert math.isnan(found.scores.net_sharpe)


def test_more_money_costs_more_and_halves_the_ratio_at_the_capacity() -> None:
    _, price = noise(5)
    forecast = np.zeros_like(price)
    forecast[:-2] = price[2:] / price[1:-1] - 1.0
    forecast += np.random.default_rng(6).normal(0.0, 0.08, size=price.shape)
    costs = CostSchedule(commission=0.5, half_spread=0.5)
    ratios = {}
    small = book(forecast, price, BookConfig(money=1.0, costs=costs))
    room = small.scores.capacity
    for money in (1.0, room):
        ratios[money] = book(forecast, price, BookConfig(money=money, costs=costs)).scores.net_sharpe
    assert ratios[1.0] > 0.0
    assert ratios[room] == pytest.approx(ratios[1.0] / 2.0, rel=0.02)
