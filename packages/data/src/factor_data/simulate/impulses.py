"""Impulses of the planted signals: what a bar tells of later returns, and from when on it is known.

All are made of what the bars and news of the market show up to their close, have no mean across symbols that the next
ones could be guessed from, and are 0 for symbols that are not listed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_data.simulate.config import MarketConfig

VOLUME_SCALE = 0.73  # standard deviation of the volume impulse, which makes it comparable to a z-score
STATE_BARS = 20
LEADING = 5  # of each so many symbols of a sector one leads


@dataclass(frozen=True, kw_only=True, eq=False)
class Bar:
    """A bar of all symbols, each (num_symbols,), and the states before and at it."""

    listed: NDArray[np.bool_]
    z: NDArray
    """Cross-sectional z-score of the return over the symbol's own volatility, within 3."""
    surprise: NDArray
    """Log volume less its mean over the bars before, within 1.5, in units of its deviation."""
    tone: NDArray
    side: NDArray
    """1 above the median return of the bar, -1 below."""
    trend_side: NDArray
    """1 above the median return of the last 20 bars, -1 below; 0 while there are fewer."""
    roughness: NDArray
    """Mean absolute return of the last 20 bars; 0 while there are fewer."""
    market: float
    """Sum of the mean returns of the last 20 bars; 0 while there are fewer."""
    sector: NDArray[np.int64]
    leads: NDArray[np.bool_]


def score(values: NDArray, listed: NDArray[np.bool_], most: float = 3.0) -> NDArray[np.float64]:
    """(num_symbols,) values less their mean over their deviation among listed symbols, within `most`; 0 elsewhere."""
    scores = np.zeros(len(values))
    if listed.sum() > 1:
        known = values[listed]
        deviation = known.std()
        if deviation > 0:
            scores[listed] = np.clip((known - known.mean()) / deviation, -most, most)
    return scores


def side(values: NDArray, listed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(num_symbols,) 1 above the median of the listed symbols, -1 below, 0 at it and elsewhere."""
    return np.where(listed, np.sign(values - np.median(values[listed])), 0.0) if listed.any() else np.zeros(len(values))


def group_mean(values: NDArray, groups: NDArray[np.int64], among: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(num_symbols,) mean of the symbols `among` the symbol's own group; 0 where there are none."""
    size = int(groups.max()) + 1
    total = np.bincount(groups[among], values[among], size)
    return (total / np.maximum(np.bincount(groups[among], minlength=size), 1))[groups]


def _followers(bar: Bar) -> NDArray[np.float64]:
    followers = bar.listed & ~bar.leads
    return score(group_mean(bar.z, bar.sector, bar.listed & bar.leads), followers)


IMPULSES: dict[str, Callable[[Bar], NDArray[np.float64]]] = {
    "reversal": lambda bar: -bar.z,
    "momentum": lambda bar: bar.z,
    "volume": lambda bar: np.where(bar.listed, bar.z * bar.surprise, 0.0),
    "news": lambda bar: np.where(bar.listed, bar.tone, 0.0),
    "slow": lambda bar: np.where(bar.listed, bar.z * bar.surprise, 0.0),
    "seasonal": lambda bar: bar.z,
    "delayed": lambda bar: np.where(bar.listed, bar.tone, 0.0),
    "xor": lambda bar: score(bar.side * bar.trend_side, bar.listed),
    "timed": lambda bar: score(bar.z * score(bar.roughness, bar.listed, 1.5), bar.listed),
    "regime": lambda bar: bar.z * np.sign(bar.market),
    "sector": lambda bar: -score(bar.z - group_mean(bar.z, bar.sector, bar.listed), bar.listed),
    "lead_lag": _followers,
}


class ImpulseMaker:
    """Makes the impulses of each bar and keeps what they need of the bars before."""

    def __init__(self, config: MarketConfig, sector: NDArray[np.int64]) -> None:
        self._kinds = tuple(config.spreads)
        self._sector = sector
        self._leads = np.zeros(config.symbols, dtype=bool)
        for group in np.unique(sector):
            self._leads[np.flatnonzero(sector == group)[::LEADING]] = True
        self._moves: deque[NDArray] = deque(maxlen=STATE_BARS)
        self._means: deque[float] = deque(maxlen=STATE_BARS)

    def of_bar(
        self,
        returns: NDArray,
        volatility: NDArray,
        volume_surprise: NDArray,
        tone: NDArray,
        listed: NDArray[np.bool_],
    ) -> dict[str, NDArray[np.float64]]:
        """Impulses of the next bar by kind, each (num_symbols,); call it once a bar, in order."""
        nothing = np.zeros(len(returns))
        self._moves.append(returns)
        self._means.append(float(returns[listed].mean()) if listed.any() else 0.0)
        is_full = len(self._moves) == STATE_BARS
        bar = Bar(
            listed=listed,
            z=score(returns / volatility, listed),
            surprise=np.clip(volume_surprise, -1.5, 1.5) / VOLUME_SCALE,
            tone=tone,
            side=side(returns, listed),
            trend_side=side(_growth(self._moves), listed) if is_full else nothing,
            roughness=_size(self._moves) if is_full else nothing,
            market=sum(self._means) if is_full else 0.0,
            sector=self._sector,
            leads=self._leads,
        )
        return {kind: IMPULSES[kind](bar) for kind in self._kinds}


def _growth(returns: deque[NDArray]) -> NDArray[np.float64]:
    """(num_symbols,) return over all bars; bar after bar: the same bits on every CPU."""
    growth = np.ones(len(returns[0]))
    for row in returns:
        growth *= 1.0 + row
    return growth - 1.0


def _size(returns: deque[NDArray]) -> NDArray[np.float64]:
    """(num_symbols,) mean absolute return."""
    total = np.zeros(len(returns[0]))
    for row in returns:
        total += np.abs(row)
    return total / len(returns)
