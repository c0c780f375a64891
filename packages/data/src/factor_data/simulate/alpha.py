"""The planted signals: impulses known at the close of a bar and the way they are earned later.

The expected return of bar s in excess of the market's, in units of the symbol's volatility, is
`signal * sum over kinds, lags j of weight[j] * impulse[s - 2 - j]`: the newest impulse that moves bar s is
two bars old. Who acts on it at the close of t enters at t + 1 (delay 1) and earns it in full.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_data.simulate.config import BARS_PER_DAY, MarketConfig

REACTION = 2  # bars from an impulse to the first bar it moves
DAYS_PER_WEEK = 5
NEWS_DELAY = 10  # bars after which late news begin to move a price


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Weights `0.5 ** ((j - skip) / half_life)` for lags j = skip, skip + period, ..., 0 for all others."""

    half_life: float
    skip: int = 0
    period: int = 1

    @property
    def decay(self) -> float:
        """Return the share of an impulse that is left after one bar."""
        return 0.5 ** (1.0 / self.half_life)

    @property
    def energy(self) -> float:
        """Return the sum of the squared weights."""
        return 1.0 / (1.0 - self.decay ** (2 * self.period))

    def sums(self, impulses: NDArray) -> NDArray[np.float64]:
        """Sum of decayed impulses every `period` bars back from each bar on, the newest with weight 1: no lag skipped.

        impulses : (num_bars, num_symbols). One pass: the weighted sums for any lag follow from it exactly.
        """
        sums = np.array(impulses, dtype=np.float64)
        left = self.decay**self.period
        for t in range(self.period, len(sums)):
            sums[t] += left * sums[t - self.period]
        return sums

    def ahead(self, sums: NDArray, bars: int) -> NDArray[np.float64]:
        """What impulses up to t add to the bar `bars` after the first one that those of t can move.

        `sums` : result of `sums`. Returns (num_bars, num_symbols).
        """
        rounds = max(0, -((self.skip - bars) // self.period))  # periods that the nearest lag is behind the first
        lag = self.skip - bars + rounds * self.period
        moved = np.zeros_like(sums)
        if lag < len(sums):
            moved[lag:] = self.decay ** (rounds * self.period) * sums[: len(sums) - lag]
        return moved


def kernels(config: MarketConfig) -> dict[str, Kernel]:
    """How each kind of signal is earned; a season is a week of daily bars, else a day."""
    per_day = BARS_PER_DAY[config.frequency]
    season = DAYS_PER_WEEK if per_day == 1 else per_day
    every_kind = {
        "reversal": Kernel(half_life=2.0),
        "momentum": Kernel(half_life=40.0, skip=5),
        "volume": Kernel(half_life=3.0),
        "news": Kernel(half_life=5.0),
        "slow": Kernel(half_life=50.0),
        "seasonal": Kernel(half_life=8.0 * season, skip=-REACTION % season, period=season),
        "delayed": Kernel(half_life=5.0, skip=NEWS_DELAY),
        "xor": Kernel(half_life=0.5),
        "timed": Kernel(half_life=1.0),
        "regime": Kernel(half_life=1.0),
        "sector": Kernel(half_life=3.0),
        "lead_lag": Kernel(half_life=2.0),
    }
    return {kind: every_kind[kind] for kind in config.spreads}


def amplitudes(config: MarketConfig) -> dict[str, float]:
    """Return by kind the factor that gives its expected returns the spread asked for, were impulses independent."""
    spread_of_tone = max(np.sqrt(0.7 * config.news_per_bar), 1e-9)
    return {
        kind: config.signal
        * config.spreads[kind]
        * np.sqrt(1.0 / kernel.energy)
        / (spread_of_tone if kind in ("news", "delayed") else 1.0)
        for kind, kernel in kernels(config).items()
    }


class AlphaState:
    """Runs the kernels forward, bar by bar."""

    def __init__(self, config: MarketConfig) -> None:
        self._kernels, self._amplitudes, self._symbols = kernels(config), amplitudes(config), config.symbols
        self._sums: dict[str, list[NDArray]] = {kind: [] for kind in self._kernels}
        self.history: dict[str, list[NDArray]] = {kind: [] for kind in self._kernels}

    def expected(self) -> NDArray[np.float64]:
        """(num_symbols,) expected return, in volatilities, of the bar REACTION bars after the last one added."""
        total = np.zeros(self._symbols)
        for kind, sums in self._sums.items():
            if sums:
                total += self._amplitudes[kind] * sums[-1]
        return total

    def add(self, new: dict[str, NDArray]) -> None:
        """Take in the impulses of the next bar."""
        for kind, kernel in self._kernels.items():
            past, sums = self.history[kind], self._sums[kind]
            past.append(new[kind])
            arriving = past[-1 - kernel.skip] if len(past) > kernel.skip else np.zeros(self._symbols)
            left = kernel.decay**kernel.period
            sums.append(left * sums[-kernel.period] + arriving if len(sums) >= kernel.period else arriving)


def expected_return(history: dict[str, NDArray], config: MarketConfig, horizon: int) -> NDArray[np.float64]:
    """Expected return, in volatilities, over the `horizon` bars after entry at t + 1, from impulses up to t.

    history : kind -> (num_dates, num_symbols) impulses. Returns (num_dates, num_symbols).

    Impulses after t are unknown at t and count as 0, their mean. An impulse at t - l moves the bars t + 2 +
    m, m = 0..horizon - 1, by weight[l + m].
    """
    factors = amplitudes(config)
    total = np.zeros_like(next(iter(history.values())))
    for kind, kernel in kernels(config).items():
        if factors[kind] == 0.0:
            continue
        sums = kernel.sums(history[kind])
        for bars in range(horizon):
            total += factors[kind] * kernel.ahead(sums, bars)
    return total
