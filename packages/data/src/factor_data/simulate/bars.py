"""From paths to the bars a vendor would deliver: prices in cents, splits, ranges, and a few defects."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.simulate.config import BARS_PER_DAY, MarketConfig
from factor_data.simulate.returns import Paths

FIRST_DAY = "2015-01-02"
LOW_PRICE, HIGH_PRICE = 2.0, 250.0  # a symbol that leaves this range splits


def calendar(config: MarketConfig) -> NDArray[np.datetime64]:
    """(num_bars,) datetime64[ns]: business days at midnight, the end of each bar of a 4-hour session, or every hour."""
    per_day = BARS_PER_DAY[config.frequency]
    num_days = -(-config.bars // per_day)
    if config.frequency == "hour":
        return np.datetime64(FIRST_DAY, "ns") + np.arange(config.bars) * np.timedelta64(1, "h")
    days = np.busday_offset(np.datetime64(FIRST_DAY), np.arange(num_days)).astype("datetime64[ns]")
    if per_day == 1:
        return days
    half = np.arange(1, per_day // 2 + 1) * np.timedelta64(240 // per_day, "m")
    session = np.r_[np.timedelta64(570, "m") + half, np.timedelta64(780, "m") + half]
    return (days[:, None] + session.astype("timedelta64[ns]")).reshape(-1)[: config.bars]


def symbol_names(config: MarketConfig) -> NDArray[np.str_]:
    """(num_symbols,) sorted names S0000, S0001, ..."""
    return np.array([f"S{number:04d}" for number in range(config.symbols)])


def build_bars(config: MarketConfig, paths: Paths, generator: np.random.Generator) -> dict[str, NDArray]:
    """Return open, high, low, close, adj_close (cents, 1/100 cents) and volume, each (num_bars, num_symbols).

    Values where a symbol is not listed have no meaning.
    """
    start = np.exp(np.log(40.0) + 0.6 * generator.standard_normal(config.symbols))
    value = np.clip(start, 10.0, 200.0) * np.cumprod(1.0 + paths.returns, axis=0)
    split = _split_factors(value, paths.listed, generator)
    before = np.vstack([value[:1] / (1.0 + paths.returns[:1]), value[:-1]])
    spread = paths.volatility * 0.35
    shape = value.shape
    gap = 0.3 * paths.returns + spread * generator.standard_normal(shape) * 0.7
    opened = before * (1.0 + np.clip(gap, -0.5, 0.5))
    high = np.maximum(opened, value) * (1.0 + spread * np.abs(generator.standard_normal(shape)))
    low = np.minimum(opened, value) * (1.0 - spread * np.abs(generator.standard_normal(shape)))
    level = np.log(4e7 / BARS_PER_DAY[config.frequency]) + 1.1 * generator.standard_normal(config.symbols)
    traded = np.exp(level - np.log(start) + paths.log_volume)
    last = split[-1]
    prices = {"open": opened, "high": high, "low": low, "close": value}
    bars = {name: np.maximum(np.round(price / split, 2), 0.01) for name, price in prices.items()}
    bars["adj_close"] = np.maximum(np.round(value / last, 4), 0.0001)
    bars["volume"] = np.round(traded * split)
    return bars


def _split_factors(value: NDArray, listed: NDArray[np.bool_], generator: np.random.Generator) -> NDArray:
    """(num_bars, num_symbols) shares one first share has become by each bar.

    A symbol splits 2:1 to 4:1 some bars after its price passed HIGH_PRICE and consolidates 1:5 below
    LOW_PRICE; and about one in twelve splits 2:1 on an arbitrary bar. A split moves no value.
    """
    num_bars, num_symbols = value.shape
    arbitrary = np.where(
        generator.random(num_symbols) < 1 / 12,
        generator.integers(num_bars // 5, num_bars * 4 // 5, num_symbols),
        -1,
    )
    ratio = generator.integers(2, 5, num_symbols).astype(float)
    factor = np.ones(num_symbols)
    factors = np.empty_like(value)
    for t in range(num_bars):
        if t:
            price = value[t - 1] / factor
            factor = np.where(listed[t] & (price > HIGH_PRICE), factor * ratio, factor)
            factor = np.where(listed[t] & (price < LOW_PRICE), factor / 5.0, factor)
            factor = np.where(listed[t] & (arbitrary == t) & (price > 10.0), factor * 2.0, factor)
        factors[t] = factor
    return factors


def to_frame(
    config: MarketConfig, bars: dict[str, NDArray], paths: Paths, generator: np.random.Generator
) -> pd.DataFrame:
    """Return the long frame sorted by (symbol, timestamp), with missing bars left out and some opens 0.

    Where a signal of groups is planted, the column `sector` has the group of each symbol, 0 to 9.
    """
    shape = paths.listed.shape
    present = paths.listed & (generator.random(shape) >= config.missing_share)
    opened = np.where(generator.random(shape) < config.zero_open_share, 0.0, bars["open"])
    symbol, bar = np.nonzero(present.T)
    columns = {name: (opened if name == "open" else values)[bar, symbol] for name, values in bars.items()}
    columns["volume"] = columns["volume"].astype(np.int64)
    order = ["open", "high", "low", "close", "adj_close", "volume"]
    if config.has_groups:
        columns["sector"] = paths.sector[symbol].astype(np.float64)
        order.append("sector")
    return pd.DataFrame(
        {
            "timestamp": calendar(config)[bar],
            "symbol": symbol_names(config)[symbol],
            **{n: columns[n] for n in order},
        }
    )
