"""Accounting through time: a known price path by hand, a ledger of shares, and what may not be known or made up."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_metrics import (
    PositionLimits,
    TradingRules,
    apply_limits,
    backtest,
    long_short_weights,
    proportional_weights,
    rebalance_every,
    top_k_weights,
)
from forecast_samples import market

NAN = np.nan


def test_a_known_price_path_gives_the_hand_computed_equity() -> None:
    """Decided on date 0, traded on date 1 at 20 and 50, turned round on date 3 at 22 and 45; 1 % a side."""
    price = [[10.0, 40.0], [20.0, 50.0], [21.0, 50.0], [22.0, 45.0], [11.0, 45.0]]
    weights = [[0.6, -0.4], [NAN, NAN], [-0.5, 0.0], [NAN, NAN], [1.0, 1.0]]
    result = backtest(weights, price, range(5), TradingRules(buy_cost=0.01, sell_cost=0.01))
    # Date 1: buy 0.6, short 0.4, cost 0.01. Cash 1 - 0.6 + 0.4 - 0.01 = 0.79.
    # Date 2: 0.63 - 0.40 + 0.79 = 1.02. Date 3: 0.66 - 0.36 + 0.79 = 1.09 before trading.
    # To -0.545 and 0: sell 1.205, buy 0.36, cost 0.01565: equity 1.07435. Date 4: the short halves: + 0.2725.
    np.testing.assert_allclose(result.equity, [1.0, 0.99, 1.02, 1.07435, 1.34685])
    np.testing.assert_allclose(result.returns[1:], [-0.01, 1.02 / 0.99 - 1, 1.07435 / 1.02 - 1, 0.2725 / 1.07435])
    assert math.isnan(result.returns[0])
    np.testing.assert_allclose(result.turnover, [0.0, 1.0, 0.0, 1.565 / 1.09, 0.0])
    np.testing.assert_allclose(result.cost, [0.0, 0.01, 0.0, 0.01565 / 1.09, 0.0])
    np.testing.assert_allclose(result.weights[2], [0.63 / 1.02, -0.4 / 1.02])
    np.testing.assert_allclose(result.net[2], 0.23 / 1.02)
    np.testing.assert_allclose(result.gross[2], 1.03 / 1.02)


def ledger(weights: np.ndarray, price: np.ndarray, delay: int, buy_cost: float, sell_cost: float) -> np.ndarray:
    """Shares and cash, one symbol at a time: another way to keep the same books (no missing prices)."""
    shares, cash, equity = np.zeros(price.shape[1]), 1.0, []
    for date, quote in enumerate(price):
        worth = cash + shares @ quote
        if date >= delay and not np.isnan(weights[date - delay]).any():
            for symbol, weight in enumerate(weights[date - delay]):
                bought = weight * worth / quote[symbol] - shares[symbol]
                cash -= bought * quote[symbol]
                cash -= abs(bought) * quote[symbol] * (buy_cost if bought > 0.0 else sell_cost)
                shares[symbol] += bought
        equity.append(cash + shares @ quote)
    return np.array(equity)


@given(st.integers(0, 10_000), st.integers(0, 4), st.floats(0.0, 0.01), st.floats(0.0, 0.01), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_equity_equals_a_ledger_of_shares(seed: int, delay: int, buy_cost: float, sell_cost: float, every: int) -> None:
    prediction, price, dates = market(seed)
    weights = rebalance_every(proportional_weights(prediction, gross=1.2), every)
    rules = TradingRules(delay=delay, buy_cost=buy_cost, sell_cost=sell_cost)
    result = backtest(weights, price, dates, rules)
    np.testing.assert_allclose(result.equity, ledger(weights, price, delay, buy_cost, sell_cost), rtol=1e-12)


def test_returns_are_one_per_date_and_not_one_per_row() -> None:
    """Defect of a superseded system: every (date, symbol) row counted as a day."""
    _, price, dates = market(6)
    result = backtest(np.full(price.shape, 1.0 / 12.0), price, dates)
    assert result.returns.shape == (40,)
    expected = (price[2:] / price[1:-1] - 1.0).mean(axis=1)
    np.testing.assert_allclose(result.returns[2:], expected, rtol=1e-12)
    assert result.performance(periods_per_year=252).num_dates == 39


def test_entry_is_delay_dates_after_the_decision_and_earns_nothing_before() -> None:
    price = np.array([[1.0], [2.0], [4.0], [8.0]])
    weights = np.array([[1.0], [NAN], [NAN], [NAN]])
    final = [backtest(weights, price, range(4), TradingRules(delay=delay)).equity[-1] for delay in range(4)]
    assert final == [8.0, 4.0, 2.0, 1.0]
    assert TradingRules().delay == 1


def test_same_close_execution_has_to_be_asked_for() -> None:
    """A signal that is the return of its own close earns it only with delay 0."""
    _, price, dates = market(7, num_dates=300)
    known = np.vstack([np.zeros((1, 12)), price[1:] / price[:-1] - 1.0])
    peek = np.vstack([known[1:], np.zeros((1, 12))])  # tomorrow's return: the leak that delay 1 takes away
    weights = proportional_weights(peek)[:-1]
    leaky, honest = (
        backtest(weights, price[:-1], dates[:-1], TradingRules(delay=delay)).equity[-1] for delay in (0, 1)
    )
    assert leaky > 2.0
    assert honest < 1.5
    assert backtest(weights, price[:-1], dates[:-1]).equity[-1] == honest


def test_history_does_not_depend_on_the_future() -> None:
    prediction, price, dates = market(8, missing=0.05)
    weights, rules = top_k_weights(prediction, 4, 1), TradingRules(buy_cost=0.001, sell_cost=0.002)
    whole = backtest(weights, price, dates, rules)
    part = backtest(weights[:25], price[:25], dates[:25], rules)
    np.testing.assert_array_equal(part.equity, whole.equity[:25])
    np.testing.assert_array_equal(part.weights, whole.weights[:25])


@pytest.mark.parametrize("side", ["buy_cost", "sell_cost"])
def test_costs_lower_the_equity(side: str) -> None:
    prediction, price, dates = market(9)
    weights = long_short_weights(prediction, 3)
    equity = [backtest(weights, price, dates, TradingRules(**{side: cost})).equity for cost in (0.0, 0.001, 0.01)]
    assert (equity[0][1:] > equity[1][1:]).all()
    assert (equity[1][1:] > equity[2][1:]).all()


def test_a_shuffled_history_is_refused() -> None:
    prediction, price, dates = market(10)
    shuffled = np.random.default_rng(0).permutation(40)
    weights = long_short_weights(prediction, 3)
    with pytest.raises(ValueError, match=r"dates must increase strictly, \d+ row\(s\) do not, first row"):
        backtest(weights[shuffled], price[shuffled], dates[shuffled])
    days = np.array(["2024-01-02", "2024-01-03", "2024-01-03"], dtype="datetime64[D]")
    with pytest.raises(ValueError, match="first row 2: 2024-01-03 after 2024-01-03"):
        backtest(weights[:3], price[:3], days)
    with pytest.raises(ValueError, match="first row 1: NaT"):
        backtest(weights[:2], price[:2], np.array(["2024-01-02", "NaT"], dtype="datetime64[D]"))


@pytest.mark.parametrize(
    "dates",
    [
        ["2024-01-02", "2024-01-03", "2024-01-04"],
        pd.date_range("2024-01-02", periods=3),
        list(pd.date_range("2024-01-02", periods=3)),
        [20240102, 20240103, 20240104],
    ],
)
def test_dates_may_be_times_numbers_or_iso_strings(dates: Any) -> None:
    assert backtest(np.full((3, 1), 0.5), np.ones((3, 1)), dates).equity.tolist() == [1.0, 1.0, 1.0]


def test_a_symbol_without_a_price_keeps_its_shares_and_is_counted() -> None:
    price = [[10.0, 10.0], [10.0, NAN], [NAN, 10.0], [20.0, 10.0]]
    weights = [[0.5, 0.5], [0.0, 0.5], [NAN, NAN], [NAN, NAN]]
    result = backtest(weights, price, range(4))
    assert result.num_blocked.tolist() == [0, 1, 1, 0]  # B could not be bought, then A could not be sold
    assert result.num_stale.tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(result.equity, [1.0, 1.0, 1.0, 1.5])
    np.testing.assert_allclose(result.weights[3], [1.0 / 1.5, 0.5 / 1.5])


@pytest.mark.parametrize(("recovery", "final"), [(1.0, 1.0), (0.7, 0.85), (0.0, 0.5)])
def test_a_price_that_stays_away_is_written_off(recovery: float, final: float) -> None:
    price = np.array([[10.0], [10.0], [NAN], [NAN], [NAN], [10.0]])
    weights = np.array([[0.5]] + [[NAN]] * 5)
    result = backtest(weights, price, range(6), TradingRules(max_stale=2, recovery=recovery))
    np.testing.assert_allclose(result.equity, [1.0, 1.0, 1.0, 1.0, final, final])
    assert result.num_stale.tolist() == [0, 0, 1, 1, 0, 0]
    assert result.num_written_off.tolist() == [0, 0, 0, 0, 1, 0]
    assert result.gross[-1] == 0.0


def test_a_short_of_a_lost_symbol_gains_nothing_from_the_loss() -> None:
    price = np.array([[10.0], [10.0], [NAN], [NAN]])
    result = backtest([[-0.5], [NAN], [NAN], [NAN]], price, range(4), TradingRules(max_stale=0, recovery=0.0))
    np.testing.assert_allclose(result.equity, 1.0)


def test_ruin_ends_the_account() -> None:
    price = np.array([[1.0], [1.0], [3.0], [1.0]])
    result = backtest(np.full((4, 1), -1.0), price, range(4))
    np.testing.assert_array_equal(result.equity, [1.0, 1.0, 0.0, 0.0])
    np.testing.assert_array_equal(result.returns, [NAN, 0.0, -1.0, NAN])
    assert result.performance(periods_per_year=252).annual_return == -1.0


def test_a_turnover_limit_goes_part_of_the_way() -> None:
    price = np.ones((4, 2))
    result = backtest(np.tile([0.6, -0.4], (4, 1)), price, range(4), TradingRules(max_turnover=0.4))
    np.testing.assert_allclose(result.turnover, [0.0, 0.4, 0.4, 0.2])
    np.testing.assert_allclose(result.weights[1], [0.24, -0.16])
    np.testing.assert_allclose(result.weights[3], [0.6, -0.4])


def test_limited_weights_are_the_weights_after_the_trade() -> None:
    prediction, price, dates = market(11)
    limits = PositionLimits(max_weight=0.08, max_gross=0.9, min_net=0.0, max_net=0.0)
    wanted = apply_limits(proportional_weights(prediction), limits)
    result = backtest(wanted, price, dates)
    np.testing.assert_allclose(result.weights[1:], wanted[:-1], atol=1e-12)
    assert np.abs(result.weights).max() <= 0.08 + 1e-12
    assert result.gross.max() <= 0.9 + 1e-12


def test_nothing_decided_is_nothing_traded() -> None:
    _, price, dates = market(12)
    result = backtest(np.full(price.shape, NAN), price, dates)
    assert (result.equity == 1.0).all()
    assert np.isnan(result.returns).all()
    assert result.performance(periods_per_year=252).num_dates == 0


def test_impossible_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"price must be above 0, got 2 value\(s\) that are not, first at \(0, 1\)"):
        backtest(np.zeros((2, 2)), [[1.0, 0.0], [-1.0, 1.0]], [1, 2])
    with pytest.raises(ValueError, match="weights and price must have the same shape"):
        backtest(np.zeros((2, 2)), np.ones((2, 3)), [1, 2])
    with pytest.raises(ValueError, match=r"1 date\(s\) are mixed"):
        backtest([[0.1, NAN]], [[1.0, 1.0]], [1])
    with pytest.raises(ValueError, match=r"dates must have shape \(1,\)"):
        backtest([[0.1]], [[1.0]], [1, 2])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"delay": -1}, "delay must be at least 0, got -1"),
        ({"buy_cost": 1.0}, "buy_cost must be from 0 to below 1, got 1.0"),
        ({"sell_cost": -0.1}, "sell_cost must be from 0 to below 1"),
        ({"max_turnover": 0.0}, "max_turnover must be above 0"),
        ({"recovery": 1.5}, "recovery must be from 0 to 1, got 1.5"),
    ],
)
def test_impossible_rules_are_refused(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TradingRules(**rules)


def test_the_example_of_the_readme_earns_its_spread(capsys: pytest.CaptureFixture[str]) -> None:
    """The block of the backtest goes on where the first one ends."""
    readme = Path(__file__).parents[2] / "packages" / "metrics" / "README.md"
    blocks = [part.split("```")[0] for part in readme.read_text(encoding="utf-8").split("```python\n")[1:]]
    told = [blocks[0], *(block for block in blocks[1:] if "backtest(" in block)]
    exec(compile("\n".join(told), str(readme), "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("Sharpe 8.")
