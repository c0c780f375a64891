"""Forecasts and books as optimisers, back-testers and tear sheets take them; held against each in `make interop`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factor_metrics import (
    TradingRules,
    backtest,
    expected_returns,
    from_signals,
    long_short_weights,
    to_orders,
    to_returns,
    to_signals,
    top_k_weights,
)

DATES = pd.bdate_range("2024-01-02", periods=60)
SYMBOLS = [f"S{number:02d}" for number in range(20)]


def market(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    prediction = generator.normal(size=(len(DATES), len(SYMBOLS)))
    price = 50.0 * np.exp(np.cumsum(generator.normal(scale=0.02, size=prediction.shape), axis=0))
    return prediction, price


def test_returns_begin_with_the_first_trade_and_carry_dates() -> None:
    prediction, price = market()
    book = backtest(long_short_weights(prediction), price, DATES, TradingRules(delay=2))
    series = to_returns(book, "net")
    assert series.name == "net"
    assert series.index.equals(DATES[2:])
    np.testing.assert_array_equal(series.to_numpy(), book.returns[2:])


def test_returns_of_a_book_without_dates_are_refused() -> None:
    prediction, price = market()
    with pytest.raises(ValueError, match="must be datetime64, got int64"):
        to_returns(backtest(long_short_weights(prediction), price, np.arange(len(DATES))))


def test_orders_stand_on_the_date_of_their_trade_and_nothing_where_the_book_is_kept() -> None:
    weights = top_k_weights(market()[0], 5)
    weights[7] = np.nan
    orders = to_orders(weights, DATES, SYMBOLS, delay=1)
    np.testing.assert_array_equal(orders.to_numpy()[1:], weights[:-1])
    assert orders.iloc[[0, 8]].isna().all(axis=None)
    assert list(orders.columns) == SYMBOLS


@pytest.mark.parametrize("delay", [0, 1, 3, 100])
def test_signals_tell_the_sides_of_a_book_again(delay: int) -> None:
    weights = long_short_weights(market(1)[0])
    weights[[4, 5, 20]] = np.nan  # the book is kept
    held = pd.DataFrame(np.sign(weights)).shift(delay).ffill().fillna(0.0)
    signals = to_signals(weights, DATES, SYMBOLS, delay)
    np.testing.assert_array_equal(from_signals(signals), held.to_numpy())
    assert not (signals.entries & signals.exits).any(axis=None)
    if delay < len(DATES):
        turned = signals.exits & signals.short_entries
        assert turned.any(axis=None)  # the market has symbols that turn from long to short at once


def test_a_symbol_on_both_sides_is_refused_by_name() -> None:
    signals = to_signals(long_short_weights(market()[0]), DATES, SYMBOLS)
    signals.short_entries.loc[signals.entries["S03"].idxmax(), "S03"] = True
    with pytest.raises(ValueError, match="S03 is long and short on 2024-01"):
        from_signals(signals)


def test_weights_of_which_some_are_unknown_are_refused() -> None:
    weights = long_short_weights(market()[0])
    weights[3, 2] = np.nan
    with pytest.raises(ValueError, match="first at rows 3"):
        to_orders(weights, DATES, SYMBOLS)


@pytest.mark.parametrize("delay", [-1, 1.5])
def test_a_delay_that_is_none_is_refused(delay: float) -> None:
    with pytest.raises(ValueError, match="delay must be"):
        to_orders(long_short_weights(market()[0]), DATES, SYMBOLS, delay)  # type: ignore[arg-type]


def test_expected_returns_are_ic_times_volatility_times_score() -> None:
    prediction, _ = market()
    prediction[2, 3], prediction[5] = np.nan, 0.25
    volatility = np.full(prediction.shape, 0.02)
    volatility[9, 1] = np.nan
    known = np.where(np.isnan(volatility), np.nan, prediction)
    score = pd.DataFrame(known).sub(np.nanmean(known, axis=1), axis=0).div(np.nanstd(known, axis=1, ddof=1), axis=0)
    score.iloc[5] = 0.0  # a constant forecast expects nothing
    found = expected_returns(prediction, volatility, 0.05)
    np.testing.assert_allclose(found, 0.05 * 0.02 * score.to_numpy(), rtol=1e-12)
    assert np.isnan(found).sum() == 2


def test_the_least_squares_forecast_of_a_label_with_that_ic_is_what_is_expected() -> None:
    generator = np.random.default_rng(3)
    signal, noise = generator.normal(size=(2, 400, 500))
    label = 0.02 * (0.1 * signal + np.sqrt(1 - 0.1**2) * noise)
    expected = expected_returns(signal, np.full(signal.shape, 0.02), 0.1)
    slope = float((expected * label).sum() / (expected**2).sum())
    assert slope == pytest.approx(1.0, abs=4 * 0.02 / np.sqrt((expected**2).sum()))


def test_an_ic_beyond_one_and_a_negative_volatility_are_refused() -> None:
    prediction, _ = market()
    with pytest.raises(ValueError, match="ic must be from -1 to 1, got 2"):
        expected_returns(prediction, np.ones(prediction.shape), 2)
    with pytest.raises(ValueError, match="volatility must be at least 0"):
        expected_returns(prediction, -np.ones(prediction.shape), 0.1)
