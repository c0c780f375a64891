"""Settings of the simulated market."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

BARS_PER_DAY = {"day": 1, "5min": 48, "30min": 8, "hour": 24}
KINDS = ("reversal", "momentum", "volume", "news")


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
    reversal: float = 0.065
    """Spread of expected returns from short-term reversal, in units of a symbol's own volatility."""
    momentum: float = 0.03
    """Spread of expected returns from momentum, in the same units."""
    volume: float = 0.065
    """Spread of expected returns from the interaction of return and volume, in the same units."""
    news: float = 0.06
    """Spread of expected returns from the tone of news, in the same units."""
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
        for name in ("signal", *KINDS):
            if not 0 <= getattr(self, name) <= 5:
                raise ValueError(f"{name} must lie in [0, 5], got {getattr(self, name)}")
        for name in ("news_per_bar", "changing_share", "missing_share", "zero_open_share"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ValueError(f"{name} must lie in [0, 0.5], got {getattr(self, name)}")
        if not self.horizons or min(self.horizons) < 1 or max(self.horizons) > self.bars // 3:
            raise ValueError(f"horizons must lie in [1, bars / 3 = {self.bars // 3}], got {self.horizons}")
