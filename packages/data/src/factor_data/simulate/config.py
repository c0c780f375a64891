"""Settings of the simulated market."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

BARS_PER_DAY = {"day": 1, "5min": 48}
KINDS = ("reversal", "momentum", "volume", "news")


@dataclass(frozen=True, kw_only=True)
class MarketConfig:
    """What kind of market to simulate. The same config gives the same bytes."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    symbols: int = 300
    # number of symbols that are listed at some time
    bars: int = 1500
    # length of the calendar, in bars
    frequency: Literal["day", "5min"] = "day"
    # business days, or 48 five-minute bars a day
    signal: float = 1.0
    # strength of the planted signals; 0 is a market with nothing to find
    seed: int = 7
    # of every random number
    horizons: tuple[int, ...] = (1, 5, 20)
    # horizons whose attainable IC is told
    reversal: float = 0.065
    # spread of expected returns from short-term reversal, in units of a symbol's own volatility
    momentum: float = 0.03
    # the same from momentum
    volume: float = 0.065
    # the same from the interaction of return and volume
    news: float = 0.06
    # the same from the tone of news
    news_per_bar: float = 0.15
    # chance that a symbol is in the news at a bar
    changing_share: float = 0.2
    # share of symbols that list late or delist early
    missing_share: float = 0.003
    # share of bars that are missing
    zero_open_share: float = 0.001
    # share of bars whose open is 0

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
