"""Settings of a book: how forecasts become positions, and what trading costs. They load nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from factor_metrics.checks import check_at_least

BookKind = Literal["quantiles", "rank", "long_only", "top_k"]


@dataclass(frozen=True, kw_only=True)
class CostSchedule:
    """What trading costs. Basis points are hundredths of a percent of the traded value, a side."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    commission: float = 1.0
    """Fees and taxes, in basis points a side."""
    half_spread: float = 2.0
    """Half of the spread between bid and ask, in basis points a side."""
    impact: float = 1.0
    """Price impact: a trade costs impact x volatility of a bar x sqrt(traded money / money traded in a bar). About 1:
    Toth et al. (2011), "Anomalous price impact and the critical nature of liquidity in financial markets". 0: none."""
    borrow: float = 50.0
    """Fee for what is sold short, in basis points a year."""
    volume_bars: int = 20
    """Bars, up to the one of the trade, whose mean money and volatility the impact goes by."""

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        for name in ("commission", "half_spread", "borrow"):
            if not 0.0 <= getattr(self, name) < 10_000.0:
                raise ValueError(f"{name} must be from 0 to below 10000 basis points, got {getattr(self, name)!r}")
        if not self.commission + self.half_spread < 10_000.0:
            raise ValueError(f"half_spread must be below 10000 with the commission, got {self.half_spread!r}")
        if not (math.isfinite(self.impact) and self.impact >= 0.0):
            raise ValueError(f"impact must be finite and at least 0, got {self.impact!r}")
        check_at_least("volume_bars", self.volume_bars, 2)

    @property
    def side(self) -> float:
        """Cost of a side without impact, as a share of the traded value."""
        return (self.commission + self.half_spread) / 1e4


@dataclass(frozen=True, kw_only=True)
class BookLimits:
    """Limits of each decision, as shares of equity, which hold at once (`apply_limits`); None = no limit."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    max_weight: float | None = None
    """|weight| of one symbol, at most."""
    max_gross: float | None = None
    """Sum of |weight|, at most."""
    min_net: float | None = None
    """Sum of weights, at least."""
    max_net: float | None = None
    """Sum of weights, at most."""

    def __post_init__(self) -> None:
        """Refuse limits out of their range."""
        for name in ("max_weight", "max_gross"):
            value = getattr(self, name)
            if value is not None and not value > 0.0:
                raise ValueError(f"{name} must be above 0, got {value!r}")
        if self.min_net is not None and self.max_net is not None and self.min_net > self.max_net:
            raise ValueError(f"min_net must be at most max_net, got {self.min_net!r} and {self.max_net!r}")

    @property
    def given(self) -> dict[str, float]:
        """Limits that are set, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class BookConfig:
    """The book that a forecast is turned into, what it costs, and what it is held against."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    kind: BookKind = "quantiles"
    """quantiles: the top quantile long, the bottom one short, equal weights; rank: long and short in proportion to the
    rank; long_only: the top quantile; top_k: the `held` best, of which few are replaced a date."""
    held: int = 50
    """top_k: symbols held."""
    max_replaced: int | None = None
    """top_k: symbols replaced on a date of decision, at most; null: no limit."""
    gross: float = 1.0
    """Sum of |weight|, as a share of equity, before limits."""
    delay: int | None = None
    """Dates from forecast to trade; null: that of the label. 0: at the very close that the forecast is made of."""
    sector_neutral: bool = False
    """Whether forecasts are ranked inside the sectors, so that the book has as much of each long as short."""
    limits: BookLimits = BookLimits()
    """Limits of each decision."""
    costs: CostSchedule = CostSchedule()
    """What trading costs."""
    money: float = 1_000_000.0
    """Size of the book in the currency of the prices, which decides its impact; it stays that size throughout."""
    benchmark: str = "universe"
    """universe: all symbols of the universe in equal weights, daily rebalanced, free of costs; or a symbol."""
    periods_per_year: float | None = None
    """Dates a year; null: found from the calendar (`trading_year`)."""

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        check_at_least("held", self.held, 1)
        if self.max_replaced is not None:
            check_at_least("max_replaced", self.max_replaced, 1)
        if self.delay is not None:
            check_at_least("delay", self.delay, 0)
        for name in ("gross", "money"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise ValueError(f"{name} must be finite and above 0, got {getattr(self, name)!r}")
        if not self.benchmark:
            raise ValueError("benchmark must be universe or a symbol, got an empty text")
        year = self.periods_per_year
        if year is not None and not (math.isfinite(year) and year > 0.0):
            raise ValueError(f"periods_per_year must be finite and above 0, got {year!r}")
