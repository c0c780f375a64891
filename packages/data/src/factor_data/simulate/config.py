"""Settings of the simulated market."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

BARS_PER_DAY = {"day": 1, "5min": 48, "30min": 8, "hour": 24}
KINDS = (
    *("reversal", "momentum", "volume", "news"),
    *("slow", "seasonal", "delayed", "xor", "timed", "regime", "sector", "lead_lag"),
)
"""The planted signals (docs/simulated_market.md)."""
GROUP_KINDS = ("sector", "lead_lag")
"""Signals of groups: a market that has one tells the group of a symbol in the column `sector` of its bars."""
MIXES: dict[str, dict[str, float]] = {
    "mix": {"reversal": 0.03, "momentum": 0.015, "news": 0.03, "slow": 0.04, "xor": 0.085},
    "impulses": {"reversal": 0.065, "momentum": 0.03, "volume": 0.065, "news": 0.06},
}
"""Signals by name: `mix` tells models apart; of `impulses` the last bar shows nearly all."""


@dataclass(frozen=True, kw_only=True)
class MarketConfig:
    """Settings of a simulated market. The same config gives the same bytes."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    symbols: int = 300
    """Number of symbols that are listed at some time."""
    bars: int = 1500
    """Length of the calendar, in bars."""
    frequency: Literal["day", "5min", "30min", "hour"] = "day"
    """Business days; 48 five-minute or 8 half-hour bars of each; or 24 hours of every day."""
    signal: float = 1.0
    """Strength of the planted signals; 0 is a market with nothing to find."""
    seed: int = 7
    """Seed of every random number."""
    horizons: tuple[int, ...] = (1, 5, 20)
    """Horizons whose attainable IC is reported."""
    signals: str | Mapping[str, float] = "mix"
    """What is planted: a name of `MIXES`, or a table that gives the spread of the expected returns of each signal, in
    units of a symbol's own volatility a bar."""
    news_per_bar: float = 0.15
    """Chance that a symbol is in the news at a bar."""
    changing_share: float = 0.2
    """Share of symbols that list late or delist early."""
    missing_share: float = 0.003
    """Share of bars that are missing."""
    zero_open_share: float = 0.001
    """Share of bars whose open is 0."""

    def __post_init__(self) -> None:
        for name, lowest in (("symbols", 10), ("bars", 100), ("seed", 0)):
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {getattr(self, name)}")
        if self.frequency not in BARS_PER_DAY:
            raise ValueError(f"frequency must be one of {list(BARS_PER_DAY)}, got {self.frequency!r}")
        self._check_signals()
        for name in ("news_per_bar", "changing_share", "missing_share", "zero_open_share"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ValueError(f"{name} must lie in [0, 0.5], got {getattr(self, name)}")
        if not self.horizons or min(self.horizons) < 1 or max(self.horizons) > self.bars // 3:
            raise ValueError(f"horizons must lie in [1, bars / 3 = {self.bars // 3}], got {self.horizons}")

    def _check_signals(self) -> None:
        if not 0 <= self.signal <= 5:
            raise ValueError(f"signal must lie in [0, 5], got {self.signal}")
        if isinstance(self.signals, str) and self.signals not in MIXES:
            raise ValueError(
                f"signals must be one of {list(MIXES)} or a table of signals and spreads, got {self.signals!r}"
            )
        if not self.spreads:
            raise ValueError(
                "signals must name at least one signal; signal: 0 makes a market in which none can be found"
            )
        for kind, spread in self.spreads.items():
            if kind not in KINDS:
                raise ValueError(f"signals: {kind!r} is unknown; known are {', '.join(KINDS)}")
            if isinstance(spread, bool) or not isinstance(spread, int | float) or not 0 <= spread <= 5:
                raise ValueError(f"signals.{kind} must be a number in [0, 5], got {spread!r}")

    @property
    def spreads(self) -> dict[str, float]:
        """Return the spread of each signal of the market, in the order of `KINDS`; unknown ones last."""
        table = MIXES[self.signals] if isinstance(self.signals, str) else self.signals
        return {kind: table[kind] for kind in sorted(table, key=(*KINDS, *table).index)}

    @property
    def has_groups(self) -> bool:
        """Return whether a signal of groups is planted: the bars have a column `sector` then."""
        return any(self.spreads.get(kind, 0.0) > 0 for kind in GROUP_KINDS)
