"""Returns and volumes of the simulated market, bar by bar.

return = common drift + leverage * (beta * market + sector loading * sector + own volatility * innovation) +
news jump + planted signal. Volatility has a common and an own clustering component, innovations are
Student-t. `leverage` (slow mean of the price over the price) makes volatility rise as prices fall, as it
does in equities, and keeps the distribution of returns over many bars symmetric: without a planted signal
neither the mean nor the median of a later return depends on volatility or beta, so there is nothing to find,
neither by Pearson nor by rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_data.simulate.alpha import AlphaState
from factor_data.simulate.config import BARS_PER_DAY, MarketConfig
from factor_data.simulate.impulses import ImpulseMaker

NUM_SECTORS = 10
DRIFT = 0.0004  # a day, the same for every symbol
MARKET_VOLATILITY, SECTOR_VOLATILITY = 0.0105, 0.005  # a day
FACTOR_TAIL, OWN_TAIL = 8.0, 4.5  # degrees of freedom of the innovations
LEVERAGE_BARS = 40.0  # memory of the slow price
LARGEST_MOVE = 0.6
NEWS_JUMP = 0.6  # move at the bar of the news, in own volatilities
SURPRISE_BARS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Paths:
    """Paths of a simulated market; matrices are (num_bars, num_symbols)."""

    volatility: NDArray  # (num_symbols,) own volatility a bar
    listed: NDArray[np.bool_]
    returns: NDArray
    log_volume: NDArray
    history: dict[str, NDArray]  # impulses by kind
    sector: NDArray[np.int64]  # (num_symbols,) 0 to 9


def seasonality(config: MarketConfig) -> tuple[NDArray, NDArray]:
    """(num_bars,) factors of volatility and log volume within the day: U-shaped intraday, flat for daily bars."""
    per_day = BARS_PER_DAY[config.frequency]
    if per_day == 1:
        return np.ones(config.bars), np.zeros(config.bars)
    place = np.linspace(-1.0, 1.0, per_day)
    shape = 0.75 + 0.75 * place**2
    volatility = shape / np.sqrt(np.mean(shape**2))
    repeats = -(-config.bars // per_day)
    return np.tile(volatility, repeats)[: config.bars], np.tile(np.log(shape), repeats)[: config.bars]


def listing_table(config: MarketConfig, generator: np.random.Generator) -> NDArray[np.bool_]:
    """(num_bars, num_symbols) True while listed; `changing_share` of the symbols list late or delist early."""
    first = np.zeros(config.symbols, dtype=int)
    last = np.full(config.symbols, config.bars)
    changing = generator.permutation(config.symbols)[: round(config.changing_share * config.symbols)]
    half = len(changing) // 2
    first[changing[:half]] = generator.integers(config.bars // 20, config.bars * 4 // 5, half)
    last[changing[half:]] = generator.integers(config.bars // 5, config.bars, len(changing) - half)
    bar = np.arange(config.bars)[:, None]
    return (bar >= first) & (bar < last)


def simulate_paths(config: MarketConfig, tone: NDArray, generator: np.random.Generator) -> Paths:
    """Simulate returns and log volumes; `tone` (num_bars, num_symbols) is the news tone of each bar."""
    bars, symbols = config.bars, config.symbols
    listed = listing_table(config, generator)
    scale = 1.0 / np.sqrt(BARS_PER_DAY[config.frequency])
    day_shape, volume_shape = seasonality(config)
    volatility = scale * np.clip(np.exp(np.log(0.018) + 0.35 * generator.standard_normal(symbols)), 0.01, 0.04)
    common, clustering = _volatility_factors(bars, symbols, generator)
    shocks, sector = _factor_returns(config, generator, common * day_shape * scale)
    shocks += volatility * clustering * (common * day_shape)[:, None] * _student(generator, OWN_TAIL, (bars, symbols))
    base_volume = _volume_noise(bars, symbols, generator) + volume_shape[:, None]
    usual = volatility * np.sqrt(1.0 + 0.4)

    alpha, maker = AlphaState(config), ImpulseMaker(config, sector)
    pending = [np.zeros(symbols), np.zeros(symbols)]
    price, slow_price = np.ones(symbols), np.ones(symbols)
    returns, log_volume = np.zeros((bars, symbols)), np.zeros((bars, symbols))
    for t in range(bars):
        on = listed[t]
        leverage = np.clip(slow_price / price, 0.5, 2.0)
        move = DRIFT * scale**2 + leverage * shocks[t] + volatility * (NEWS_JUMP * tone[t] + pending.pop(0))
        returns[t] = np.where(on, np.clip(move, -LARGEST_MOVE, LARGEST_MOVE), 0.0)
        price *= 1.0 + returns[t]
        slow_price += (price - slow_price) / LEVERAGE_BARS
        size = np.abs(returns[t]) / (usual * day_shape[t])
        log_volume[t] = base_volume[t] + 0.35 * np.minimum(size, 6.0)
        before = log_volume[max(0, t - SURPRISE_BARS) : t]
        surprise = log_volume[t] - before.mean(axis=0) if t else np.zeros(symbols)
        alpha.add(maker.of_bar(returns[t], volatility, surprise, tone[t], on))
        pending.append(alpha.expected())
    history = {kind: np.array(rows) for kind, rows in alpha.history.items()}
    return Paths(
        volatility=volatility, listed=listed, returns=returns, log_volume=log_volume, history=history, sector=sector
    )


def _student(generator: np.random.Generator, tail: float, shape: tuple[int, ...]) -> NDArray:
    """Student-t innovations of variance 1."""
    return generator.standard_t(tail, shape) / np.sqrt(tail / (tail - 2.0))


def _autoregression(noise: NDArray, persistence: float) -> NDArray:
    """AR(1) along the first axis with stationary variance 1 for unit noise."""
    result = np.empty_like(noise)
    state = noise[0]
    for t in range(len(noise)):
        state = persistence * state + np.sqrt(1.0 - persistence**2) * noise[t] if t else state
        result[t] = state
    return result


def _volatility_factors(bars: int, symbols: int, generator: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Common (bars,) and own (bars, symbols) volatility factors with mean square 1: log-normal AR(1)."""
    common = 0.42 * _autoregression(generator.standard_normal((bars, 1)), 0.985)[:, 0]
    own = 0.35 * _autoregression(generator.standard_normal((bars, symbols)), 0.96)
    common = np.exp(common)
    return common / np.sqrt(np.mean(common**2)), np.exp(own - 0.35**2)


def _factor_returns(
    config: MarketConfig, generator: np.random.Generator, scale: NDArray
) -> tuple[NDArray, NDArray[np.int64]]:
    """(bars, symbols) return from the market and sector factors, and the sector (symbols,) of each symbol.

    `scale` (bars,) is the common volatility.
    """
    bars, symbols = config.bars, config.symbols
    market = MARKET_VOLATILITY * _student(generator, FACTOR_TAIL, (bars, 1))
    sectors = SECTOR_VOLATILITY * _student(generator, FACTOR_TAIL, (bars, NUM_SECTORS))
    sector = generator.integers(0, NUM_SECTORS, symbols)
    beta = np.clip(1.0 + 0.25 * generator.standard_normal(symbols), 0.3, 2.0)
    loading = np.clip(1.0 + 0.3 * generator.standard_normal(symbols), 0.2, 2.0)
    return scale[:, None] * (market * beta + sectors[:, sector] * loading), sector


def _volume_noise(bars: int, symbols: int, generator: np.random.Generator) -> NDArray:
    """(bars, symbols) log volume around its level: a common and an own slow wave, and a daily own part."""
    slow = 0.35 * _autoregression(generator.standard_normal((bars, symbols)), 0.97)
    common = 0.2 * _autoregression(generator.standard_normal((bars, 1)), 0.9)
    quick = 0.6 * _autoregression(generator.standard_normal((bars, symbols)), 0.3)
    return slow + common + quick
