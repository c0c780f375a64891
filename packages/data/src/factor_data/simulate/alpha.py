"""The planted signals: impulses known at the close of a bar and the way they are earned later.

The expected return of bar s in excess of the market's, in units of the symbol's volatility, is
`signal * sum over kinds, lags j of weight[j] * impulse[s - 2 - j]`: the newest impulse that moves bar s is
two bars old. Who acts on it at the close of t enters at t + 1 (delay 1) and earns it in full.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_data.simulate.config import MarketConfig

REACTION = 2  # bars from an impulse to the first bar it moves
VOLUME_SCALE = 0.73  # standard deviation of the volume impulse, which makes it comparable to a z-score


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Weights `0.5 ** ((j - skip) / half_life)` for lags j >= skip, 0 before."""

    half_life: float
    skip: int = 0

    @property
    def decay(self) -> float:
        """Return the share of an impulse that is left after one bar."""
        return 0.5 ** (1.0 / self.half_life)

    def weights(self, length: int) -> NDArray[np.float64]:
        """(length,) weight of each lag."""
        lags = np.arange(length) - self.skip
        return np.where(lags >= 0, self.decay ** np.maximum(lags, 0), 0.0)


KERNELS = {
    "reversal": Kernel(half_life=2.0),
    "momentum": Kernel(half_life=40.0, skip=5),
    "volume": Kernel(half_life=3.0),
    "news": Kernel(half_life=5.0),
}


def amplitudes(config: MarketConfig) -> dict[str, float]:
    """Return by kind the factor that gives its expected returns the spread asked for, were impulses independent."""
    spread_of_impulse = {
        "reversal": 1.0,
        "momentum": 1.0,
        "volume": 1.0,
        "news": np.sqrt(0.7 * config.news_per_bar),
    }
    return {
        kind: config.signal
        * getattr(config, kind)
        * np.sqrt(1.0 - kernel.decay**2)
        / max(spread_of_impulse[kind], 1e-9)
        for kind, kernel in KERNELS.items()
    }


def impulses(
    standardised: NDArray, volume_surprise: NDArray, tone: NDArray, listed: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Impulses of one bar, each (num_symbols,), 0 for symbols that are not listed.

    `standardised` is the return over the symbol's own volatility. With z its cross-sectional z-score,
    within 3: reversal is -z, momentum is +z, volume is z times the surprise in log volume, within 1.5
        (continuation on high volume, reversal on low); news is the tone in -1, 0, 1.
    """
    z = np.zeros(len(standardised))
    if listed.sum() > 1:
        known = standardised[listed]
        z[listed] = np.clip((known - known.mean()) / known.std(), -3.0, 3.0)
    surprise = np.clip(volume_surprise, -1.5, 1.5) / VOLUME_SCALE
    return {
        "reversal": -z,
        "momentum": z,
        "volume": np.where(listed, z * surprise, 0.0),
        "news": np.where(listed, tone, 0.0),
    }


class AlphaState:
    """Runs the kernels forward, bar by bar."""

    def __init__(self, config: MarketConfig) -> None:
        self._amplitudes = amplitudes(config)
        self._sums = {kind: np.zeros(config.symbols) for kind in KERNELS}
        self.history: dict[str, list[NDArray]] = {kind: [] for kind in KERNELS}

    def expected(self) -> NDArray[np.float64]:
        """(num_symbols,) expected return, in volatilities, of the bar REACTION bars after the last one added."""
        total = np.zeros(len(next(iter(self._sums.values()))))
        for kind, weighted in self._sums.items():
            total += self._amplitudes[kind] * weighted
        return total

    def add(self, new: dict[str, NDArray]) -> None:
        """Take in the impulses of the next bar."""
        for kind, kernel in KERNELS.items():
            past = self.history[kind]
            past.append(new[kind])
            arriving = past[-1 - kernel.skip] if len(past) > kernel.skip else 0.0
            self._sums[kind] = kernel.decay * self._sums[kind] + arriving


def expected_return(
    history: dict[str, NDArray], config: MarketConfig, horizon: int, longest_lag: int = 400
) -> NDArray[np.float64]:
    """Expected return, in volatilities, over the `horizon` bars after entry at t + 1, from impulses up to t.

    history : kind -> (num_dates, num_symbols) impulses. Returns (num_dates, num_symbols).

    Impulses after t are unknown at t and count as 0, their mean. An impulse at t - l moves the bars t + 2 +
    m, m = 0..horizon - 1, by weight[l + m].
    """
    factors = amplitudes(config)
    total = np.zeros_like(next(iter(history.values())))
    for kind, kernel in KERNELS.items():
        length = min(longest_lag, len(total))
        weights = kernel.weights(length + horizon)
        summed = np.convolve(weights, np.ones(horizon))[horizon - 1 : horizon - 1 + length]
        for lag in range(length):
            if summed[lag] * factors[kind] > 1e-12:
                total[lag:] += (factors[kind] * summed[lag]) * history[kind][: len(total) - lag]
    return total
