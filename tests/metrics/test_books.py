"""Books after costs: by hand, against a ledger of shares and other libraries' formulas, capacity in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from factor_metrics import (
    BookConfig,
    BookLimits,
    CostSchedule,
    TradingRules,
    backtest,
    book_weights,
    break_even_cost,
    capacity,
    drawdown_table,
    holding_time,
    impact_rates,
    judge_book,
    long_only_weights,
    long_short_weights,
    overlapping_backtest,
    performance,
    probabilistic_sharpe_ratio,
    proportional_weights,
    rank_rows,
    rebalance_every,
    sharpe_interval,
    sharpe_ratio,
    top_k_weights,
    trading_year,
)
from forecast_samples import market

NAN = np.nan
EXACT = {"rtol": 0.0, "atol": 1e-12}


def test_costs_impact_and_borrowing_by_hand() -> None:
    """Decided on date 0, traded on date 1 at 20 and 50; 10 % a side, impact 0.5 x^1.5, 1 % a date for shorts."""
    price = [[10.0, 40.0], [20.0, 50.0], [22.0, 55.0]]
    rules = TradingRules(buy_cost=0.1, sell_cost=0.1, borrow=0.01)
    result = backtest([[0.36, -0.25], [NAN] * 2, [NAN] * 2], price, range(3), rules, impact=np.full((3, 2), 0.5))
    # Date 1: traded 0.61, 0.061 in fees; impact 0.5 (0.216 + 0.125) = 0.1705. Equity 0.7685.
    # Date 2: the long gains 0.036, the short loses 0.025, and costs 0.01 x 0.25.
    after = 1.0 - 0.061 - 0.1705
    np.testing.assert_allclose(result.equity, [1.0, after, after + 0.036 - 0.025 - 0.0025], **EXACT)
    np.testing.assert_allclose(result.cost, [0.0, 0.2315, 0.0], **EXACT)
    np.testing.assert_allclose(result.impact, [0.0, 0.1705, 0.0], **EXACT)
    np.testing.assert_allclose(result.borrow, [0.0, 0.0, 0.0025 / after], **EXACT)
    np.testing.assert_allclose(result.turnover, [0.0, 0.61, 0.0], **EXACT)
    np.testing.assert_allclose(result.gross_returns, [NAN, 0.0, 0.011 / after], **EXACT)


def test_overlapping_books_by_hand() -> None:
    """Two books, each decides on every other date and is traded on the next one; 1 % a side."""
    price = [[10.0], [10.0], [12.0], [15.0], [15.0]]
    weights = [[1.0], [0.5], [0.0], [0.0], [0.0]]
    result = overlapping_backtest(weights, price, range(5), 2, TradingRules(buy_cost=0.01, sell_cost=0.01))
    # The first buys 1 at 10 for 0.01 and sells at 15, decided on date 2: 1.5 less 0.015. Cash is then -0.01.
    # The second buys 0.5 at 12 for 0.005 and sells at 15, decided on date 3, on date 4: 0.625 less 0.00625.
    first = np.array([1.0, 0.99, 1.19, 1.49 - 0.015, 1.475])
    second = np.array([1.0, 1.0, 0.995, 1.12, 1.12 - 0.00625])
    together = (first + second) / 2.0
    np.testing.assert_allclose(result.equity, together, **EXACT)
    np.testing.assert_allclose(result.returns[1:], together[1:] / together[:-1] - 1.0, **EXACT)
    np.testing.assert_allclose(result.turnover[1:3], [0.5, 0.25 / ((1.19 + 1.0) / 2.0)], **EXACT)
    np.testing.assert_allclose(result.weights[2], [0.5 * (1.2 + 0.5) / together[2]], **EXACT)
    assert math.isnan(result.returns[0])


def ledger(
    weights: np.ndarray, price: np.ndarray, every: int, rules: TradingRules, impact: np.ndarray | None
) -> np.ndarray:
    """Shares and cash of each book, one symbol at a time (no missing prices); the mean of their equities."""
    equities = []
    for offset in range(every):
        shares, cash, equity = np.zeros(price.shape[1]), 1.0, []
        for date, quote in enumerate(price):
            if date:
                cash -= rules.borrow * -np.minimum(shares * price[date - 1], 0.0).sum()
            worth = cash + shares @ quote
            decision = date - rules.delay
            if decision >= offset and (decision - offset) % every == 0 and not np.isnan(weights[decision]).any():
                for symbol, weight in enumerate(weights[decision]):
                    change = weight * worth - shares[symbol] * quote[symbol]
                    cash -= change + abs(change) * (rules.buy_cost if change > 0.0 else rules.sell_cost)
                    if impact is not None:
                        # Of one book the money is 1 / every, and so the impact of the same share of it is smaller.
                        cash -= impact[date, symbol] * math.sqrt(abs(change / worth) / every) * abs(change)
                    shares[symbol] += change / quote[symbol]
            equity.append(cash + shares @ quote)
        equities.append(equity)
    return np.mean(equities, axis=0)


@given(st.integers(0, 10_000), st.integers(0, 3), st.integers(1, 6), st.floats(0.0, 0.01), st.booleans())
@settings(max_examples=60, deadline=None)
def test_books_equal_ledgers_of_shares(seed: int, delay: int, every: int, cost: float, with_impact: bool) -> None:
    prediction, price, dates = market(seed)
    rules = TradingRules(delay=delay, buy_cost=cost, sell_cost=cost / 2.0, borrow=cost / 20.0)
    impact = np.random.default_rng(seed).uniform(0.0, 0.02, size=price.shape) if with_impact else None
    weights = proportional_weights(prediction, gross=1.2)
    result = overlapping_backtest(weights, price, dates, every, rules, impact=impact)
    np.testing.assert_allclose(result.equity, ledger(weights, price, every, rules, impact), rtol=1e-12)
    np.testing.assert_allclose(
        (1.0 + result.gross_returns - result.borrow) * (1.0 - result.cost), 1.0 + result.returns, **EXACT
    )


def test_without_costs_and_drift_the_mean_of_h_books_earns_the_mean_of_their_decisions() -> None:
    """Jegadeesh and Titman: on a date the last h decisions hold, each with 1 / h."""
    prediction, price, dates = market(3, num_dates=30)
    price = 50.0 * (1.0 + (price - 50.0) * 1e-9)  # so small moves that nothing drifts
    weights = proportional_weights(prediction)
    result = overlapping_backtest(weights, price, dates, 4, TradingRules(delay=0))
    held = np.mean([weights[3 - back : 29 - back] for back in range(4)], axis=0)
    moves = price[4:] / price[3:-1] - 1.0
    np.testing.assert_allclose(result.returns[4:] * 1e9, (held * moves).sum(axis=1) * 1e9, atol=1e-5)


def test_one_book_is_the_plain_backtest_and_history_knows_no_future() -> None:
    prediction, price, dates = market(4, missing=0.05)
    rules, weights = TradingRules(buy_cost=0.001, borrow=0.0001), long_short_weights(prediction, 3)
    one = overlapping_backtest(weights, price, dates, 1, rules)
    np.testing.assert_array_equal(one.equity, backtest(weights, price, dates, rules).equity)
    impact = impact_rates(price, price, coefficient=1.0, money=10.0)
    whole = overlapping_backtest(weights, price, dates, 5, rules, impact=impact)
    early = impact_rates(price[:25], price[:25], coefficient=1.0, money=10.0)
    np.testing.assert_array_equal(early, impact[:25])
    part = overlapping_backtest(weights[:25], price[:25], dates[:25], 5, rules, impact=early)
    np.testing.assert_array_equal(part.equity, whole.equity[:25])


def test_impact_rates_by_hand_and_of_what_is_not_known() -> None:
    price = np.array([[10.0, 10.0, 10.0], [11.0, 10.0, NAN], [11.0, 9.0, 12.0], [12.1, 9.0, NAN]])
    traded = np.array([[4e6, 1e6, NAN], [4e6, 1e6, NAN], [8e6, 0.0, NAN], [2e6, 3e6, NAN]])
    rates = impact_rates(price, traded, coefficient=2.0, money=1e6, num_bars=2)
    assert rates[0].tolist() == [0.0, 0.0, 0.0]  # no return is known yet
    first = 2.0 * math.sqrt((0.1**2 + 0.0**2) / 2.0 * 1e6 / 6e6)
    second = 2.0 * math.sqrt((0.0**2 + 0.1**2) / 2.0 * 1e6 / 1e6)
    np.testing.assert_allclose(rates[2], [first, second, (first + second) / 2.0], **EXACT)
    assert (rates >= 0.0).all()


@pytest.mark.parametrize("wrong", [-0.1, NAN])
def test_a_wrong_impact_is_refused_with_its_place(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"impact must be known and at least 0 wherever .* first at \(1, 0\)"):
        backtest(np.zeros((2, 1)), np.ones((2, 1)), [1, 2], impact=[[0.0], [wrong]])


def test_break_even_is_the_cost_at_which_nothing_is_left() -> None:
    prediction, price, dates = market(5, num_dates=400, num_symbols=20)
    moves = np.zeros(price.shape)
    moves[:-2] = np.log(price[2:] / price[1:-1])
    weights = long_short_weights(prediction + 10.0 * moves, 4)
    free = overlapping_backtest(weights, price, dates, 2)
    side = break_even_cost(free.returns, free.turnover)
    rules = TradingRules(buy_cost=side, sell_cost=side)
    left = np.nanmean(overlapping_backtest(weights, price, dates, 2, rules).returns)
    assert abs(left) < 0.005 * np.nanmean(free.returns), "up to the product of cost and return of a date"
    assert np.nanmean(free.returns) > 1e-3
    assert math.isnan(break_even_cost([0.1, 0.2], [0.0, 0.0]))
    assert break_even_cost([-0.02, 0.0, NAN], [1.0, 1.0, 5.0]) == pytest.approx(-0.01)


def test_capacity_of_a_constant_impact_has_a_closed_form() -> None:
    returns = np.random.default_rng(6).normal(0.001, 0.01, size=500)
    impact = np.full(500, 2e-4)
    expected = 1e6 * (returns.mean() / (2.0 * 2e-4)) ** 2
    assert capacity(returns, impact, 1e6) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 10_000), st.floats(0.1, 3.0))
@settings(max_examples=60, deadline=None)
def test_at_its_capacity_a_series_has_half_the_sharpe_ratio(seed: int, size: float) -> None:
    generator = np.random.default_rng(seed)
    returns = generator.normal(0.002, 0.01, size=250)
    impact = size * 1e-3 * generator.exponential(size=250)
    if returns.mean() <= 0.0:
        assert math.isnan(capacity(returns, impact, 3.0))
        return
    found = capacity(returns, impact, 3.0)
    left = returns - math.sqrt(found / 3.0) * impact
    assert left.mean() / left.std(ddof=1) == pytest.approx(returns.mean() / returns.std(ddof=1) / 2.0, rel=1e-9)


def test_a_book_of_its_capacity_that_is_simulated_again_has_half_the_sharpe_ratio() -> None:
    prediction, price, dates = market(7, num_dates=500, num_symbols=20)
    moves = np.zeros(price.shape)
    moves[:-2] = np.log(price[2:] / price[1:-1])
    weights, traded = long_short_weights(prediction + 15.0 * moves, 4), np.full(price.shape, 1e7)
    rules = TradingRules(buy_cost=1e-4, sell_cost=1e-4)

    def book(money: float) -> Any:
        impact = impact_rates(price, traded, coefficient=1.0, money=money)
        return overlapping_backtest(weights, price, dates, 3, rules, impact=impact)

    some = book(1e6)
    before = (1.0 + some.returns) / (1.0 - some.cost) * (1.0 - some.cost + some.impact) - 1.0
    most = capacity(before, some.impact * (1.0 + some.returns) / (1.0 - some.cost), 1e6)
    nothing, full = (sharpe_ratio(book(money).returns, periods_per_year=252) for money in (1e-9, most))
    assert full == pytest.approx(nothing / 2.0, rel=0.01)


def test_capacity_without_impact_has_no_end_and_without_a_gain_does_not_exist() -> None:
    returns = [0.01, -0.005, 0.01]
    assert capacity(returns, [0.0, 0.0, 0.0], 1e6) == math.inf
    assert math.isnan(capacity([-0.01, 0.005], [0.1, 0.1], 1e6))


def test_holding_time_is_two_exposures_over_what_is_traded() -> None:
    """All is sold and bought anew every fourth date: it is held for four."""
    traded = np.tile([2.0, 0.0, 0.0, 0.0], 50)
    assert holding_time(np.ones(200), traded) == 4.0
    assert holding_time(np.ones(3), np.zeros(3)) == math.inf
    assert math.isnan(holding_time(np.zeros(3), np.zeros(3)))


def test_kinds_of_books() -> None:
    prediction, _, _ = market(8)
    prediction[1, 2] = NAN
    config = BookConfig(gross=2.0)
    np.testing.assert_array_equal(book_weights(prediction, config, 4), long_short_weights(prediction, 4, 2.0))
    ranked = book_weights(prediction, BookConfig(kind="rank"), 4)
    np.testing.assert_array_equal(ranked, proportional_weights(rank_rows(prediction)))
    long = book_weights(prediction, BookConfig(kind="long_only"), 4)
    np.testing.assert_array_equal(long, long_only_weights(prediction, 4))
    np.testing.assert_allclose(long.sum(axis=1), 1.0)
    np.testing.assert_array_equal(long > 0.0, long_short_weights(prediction, 4) > 0.0)
    top = book_weights(prediction, BookConfig(kind="top_k", held=3, max_replaced=1), num_books=2)
    np.testing.assert_array_equal(top[1::2], top_k_weights(prediction[1::2], 3, 1))
    limited = book_weights(prediction, BookConfig(kind="rank", limits=BookLimits(max_weight=0.1, max_gross=0.9)))
    assert np.abs(limited).max() <= 0.1 + 1e-12
    assert np.abs(limited).sum(axis=1).max() <= 0.9 + 1e-12


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CostSchedule(half_spread=-1.0), "half_spread must be from 0 to below 10000"),
        (lambda: CostSchedule(impact=math.inf), "impact must be finite and at least 0"),
        (lambda: BookLimits(max_weight=0.0), "max_weight must be above 0"),
        (lambda: BookLimits(min_net=0.5, max_net=0.1), "min_net must be at most max_net"),
        (lambda: BookConfig(held=0), "held must be at least 1"),
        (lambda: BookConfig(money=0.0), "money must be finite and above 0"),
        (lambda: BookConfig(periods_per_year=-1.0), "periods_per_year must be finite and above 0"),
    ],
)
def test_wrong_settings_are_refused_by_name(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("start", "step", "length", "year"),
    [
        ("2024-01-01T00", "h", 24 * 60, 8760.0),
        ("2024-01-01", "D", 100, 365.0),
        ("2024-01-01", "2D", 100, 183.0),
        ("2024-01-01", "3D", 100, 122.0),
        ("2024-01-01", "W", 100, 52.0),
        ("2014-01", "M", 60, 12.0),
    ],
)
def test_the_year_of_calendars_without_sessions(start: str, step: str, length: int, year: float) -> None:
    count, unit = np.datetime_data(np.dtype(f"datetime64[{step}]"))[::-1]
    stamps = np.datetime64(start, unit) + count * np.arange(length)
    assert trading_year(stamps.astype("datetime64[ns]"))[0] == year


def test_the_year_of_an_exchange_has_252_days_of_so_many_bars() -> None:
    days = np.datetime64("2024-01-01") + np.arange(200)
    days = days[np.is_busday(days)]
    assert trading_year(days) == (252.0, "252 days of 1 bar")
    bars = (days[:, None] + np.timedelta64(570, "m") + 5 * np.arange(48) * np.timedelta64(1, "m")).ravel()
    assert trading_year(bars) == (252.0 * 48, "252 days of 48 bars")
    assert trading_year(np.arange(10))[0] == 252.0


def test_days_that_are_some_days_apart_are_counted_and_those_of_an_exchange_stay_252() -> None:
    days = np.arange("2022-01-01", "2024-01-01", dtype="datetime64[D]")
    twice, thrice = (days[np.is_busday(days, weekmask=names)] for names in ("Tue Fri", "Mon Wed Fri"))
    assert trading_year(twice) == (104.0, "104 days, 3 days apart, of 1 bar")
    assert trading_year(thrice)[0] == pytest.approx(156.5, abs=0.6)


def test_one_day_of_a_weekend_makes_no_market_that_never_closes() -> None:
    """Tadawul trades from Sunday to Thursday; currencies from Sunday to Friday evening, 6,242 hours in 2023."""
    hours = np.arange("2023-01-01", "2024-01-01", dtype="datetime64[h]")
    days = np.arange("2023-01-01", "2024-01-01", dtype="datetime64[D]")
    assert trading_year(days[np.is_busday(days, weekmask="Sun Mon Tue Wed Thu")])[0] == 252.0
    hour_of_week = (hours.astype(int) + 3 * 24) % (7 * 24)  # from Monday, 0:00
    open_hours = (hour_of_week < 4 * 24 + 22) | (hour_of_week >= 6 * 24 + 22)
    assert trading_year(hours[open_hours])[0] == 252.0 * 24
    for start in range(7):
        assert trading_year(days[start : start + 13])[0] == 365.0


def test_drawdowns_have_their_dates() -> None:
    returns = np.array([NAN, 0.1, -0.1, NAN, -0.1, 0.5, -0.5, 0.2])
    table = drawdown_table(returns)
    assert [(one.peak, one.trough, one.recovered, one.num_dates) for one in table] == [(5, 6, None, 2), (1, 4, 5, 4)]
    np.testing.assert_allclose([one.depth for one in table], [-0.5, -0.19], **EXACT)
    first = drawdown_table([-0.2, 0.5])[0]
    assert (first.peak, first.trough, first.recovered) == (-1, 0, 1)
    assert drawdown_table([0.1, 0.0, 0.2]) == drawdown_table([NAN]) == []
    assert len(drawdown_table(np.tile([0.2, -0.1], 9), 3)) == 3


def test_the_deepest_of_drawdowns_is_the_one_of_quantstats() -> None:
    """quantstats.stats.max_drawdown and drawdown_details: price / expanding maximum - 1, spells where it is below 0."""
    returns = np.random.default_rng(9).normal(0.0005, 0.01, size=700)
    curve = np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    under = curve / np.maximum.accumulate(curve) - 1.0
    table = drawdown_table(returns, 1000)
    assert table[0].depth == pytest.approx(under.min(), abs=1e-12)
    spells, depths = np.split(under, np.flatnonzero(under == 0.0)), []
    for spell in spells:
        if (spell < 0.0).any():
            depths.append(spell.min())
    np.testing.assert_allclose([one.depth for one in table], np.sort(depths), **EXACT)


def test_performance_is_that_of_empyrical_and_quantstats() -> None:
    """Their formulas, written out: empyrical 0.5 stats.py, quantstats 0.0 stats.py."""
    values = np.random.default_rng(10).standard_t(5, size=900) * 0.01 + 0.0004
    found, year = performance(values, periods_per_year=252), 252.0
    total = np.cumprod(1.0 + values)[-1]
    assert found.annual_return == pytest.approx(total ** (1.0 / (len(values) / year)) - 1.0, abs=1e-12)
    assert found.annual_volatility == pytest.approx(np.std(values, ddof=1) * year**0.5, abs=1e-12)
    assert found.sharpe == pytest.approx(values.mean() / np.std(values, ddof=1) * np.sqrt(year), abs=1e-12)
    downside = np.sqrt(np.mean(np.clip(values, -np.inf, 0.0) ** 2)) * np.sqrt(year)
    assert found.sortino == pytest.approx(values.mean() * year / downside, abs=1e-12)
    assert found.calmar == pytest.approx(found.annual_return / abs(found.max_drawdown), abs=1e-12)
    assert found.hit_rate == (values > 0.0).mean()
    worst = np.sort(values)[:45]  # empyrical.conditional_value_at_risk: the mean of the worst int(n cutoff)
    assert found.conditional_value_at_risk == pytest.approx(-worst.mean(), abs=1e-12)
    assert found.value_at_risk == -worst[-1]


def test_the_sharpe_interval_belongs_to_the_probabilistic_ratio() -> None:
    """Where the lower bound is 0, the ratio is above 0 with the probability of one side."""
    values = np.random.default_rng(11).gamma(2.0, 0.01, size=400) - 0.0185
    sharpe = values.mean() / values.std(ddof=1)
    skewness, kurtosis = stats.skew(values), stats.kurtosis(values, fisher=False)
    error = math.sqrt((1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2) / 399)
    low, high = sharpe_interval(values, periods_per_year=252, confidence=0.9)
    z = stats.norm.ppf(0.95)
    np.testing.assert_allclose([low, high], np.sqrt(252) * np.array([sharpe - z * error, sharpe + z * error]), **EXACT)
    above = probabilistic_sharpe_ratio(sharpe, 400, low / np.sqrt(252), skewness, kurtosis)
    assert above == pytest.approx(0.95, abs=1e-12)
    assert math.isnan(sharpe_interval([0.01] * 50, periods_per_year=252)[0])


def test_the_sharpe_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    generator, held = np.random.default_rng(12), 0
    for _ in range(400):
        low, high = sharpe_interval(generator.normal(0.001, 0.01, size=250), periods_per_year=252)
        held += low <= 0.1 * math.sqrt(252) <= high
    assert 0.92 <= held / 400 <= 0.975


def test_decisions_of_a_book_between_its_dates_are_not_looked_at() -> None:
    prediction, price, dates = market(13)
    weights = long_short_weights(prediction, 3)
    only = [rebalance_every(weights, 3, offset) for offset in range(3)]
    equity = np.mean([backtest(one, price, dates).equity for one in only], axis=0)
    np.testing.assert_allclose(overlapping_backtest(weights, price, dates, 3).equity, equity, **EXACT)


@pytest.mark.parametrize("kind", ["quantiles", "rank", "long_only"])
def test_an_order_of_rounding_is_no_decision(kind: Any) -> None:
    """A collapsed network says the same of all symbols but for the last bits of float32."""
    prediction, price, _ = market(3)
    dates = np.datetime64("2024-01-01") + np.arange(40)
    rounding = np.random.default_rng(0).integers(-1, 2, size=prediction.shape) * np.float32(7e-9)
    constant = np.float32(0.1) + rounding.astype(np.float32)
    book = judge_book(constant, price, None, dates, np.zeros(40), BookConfig(kind=kind))
    assert (np.unique(constant).size, book.scores.book_dates) == (3, 0)
    mixed = np.where(np.arange(40)[:, None] < 20, prediction.astype(np.float32), constant)
    kept = judge_book(mixed, price, None, dates, np.zeros(40), BookConfig(kind=kind))
    whole = judge_book(mixed * (np.arange(40)[:, None] < 20), price, None, dates, np.zeros(40), BookConfig(kind=kind))
    np.testing.assert_array_equal(kept.net, whole.net)


@pytest.mark.parametrize("num_books", [1, 2])
def test_top_k_buys_the_best_again_after_its_book_was_closed(num_books: int) -> None:
    """What it held before a date without forecasts is sold: at most one replaced is no reason to buy it again."""
    rows = np.repeat([[3.0, 2.0, 1.0, 0.0], [NAN] * 4, [0.0, 1.0, 2.0, 3.0]], num_books, axis=0)
    config = BookConfig(kind="top_k", held=2, max_replaced=1)
    weights = book_weights(rows, config, num_books=num_books)
    np.testing.assert_array_equal(weights[0], [0.5, 0.5, 0.0, 0.0])
    np.testing.assert_array_equal(weights[-1], [0.0, 0.0, 0.5, 0.5])
    assert np.isnan(weights[num_books]).all()


def test_ruin_by_prices_is_ruin_before_costs() -> None:
    price = np.column_stack([[100.0, 100.0, 100.0, 300.0, 300.0], np.full(5, 100.0)])
    result = backtest([[-0.9, 0.1], *[[NAN] * 2] * 4], price, range(5), TradingRules(buy_cost=0.001, borrow=0.0001))
    np.testing.assert_array_equal(result.returns[2:] == -1.0, [False, True, False])
    np.testing.assert_array_equal(result.gross_returns[3:], [-1.0, NAN])
    by_costs = backtest([[9.0, 9.0], *[[NAN] * 2] * 4], price, range(5), TradingRules(buy_cost=0.1))
    assert (by_costs.returns[1], math.isnan(by_costs.gross_returns[1])) == (-1.0, True)


def test_a_book_that_is_its_benchmark_has_its_return_and_a_beta_of_one() -> None:
    price = np.column_stack([100.0 * np.cumprod(1.0 + np.tile([0.02, -0.01, 0.03], 10)), np.full(30, 50.0)])
    moves = np.r_[NAN, price[1:, 0] / price[:-1, 0] - 1.0]
    config = BookConfig(kind="top_k", held=1, costs=CostSchedule(commission=0, half_spread=0, impact=0, borrow=0))
    dates = np.datetime64("2024-01-01") + np.arange(30)
    book = judge_book(np.tile([2.0, 1.0], (30, 1)), price, None, dates, moves, config, delay=2)
    np.testing.assert_allclose(book.benchmark, book.net, **EXACT)
    assert (book.scores.beta, book.scores.benchmark_return) == pytest.approx((1.0, book.scores.net_return))
