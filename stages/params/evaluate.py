"""Section `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from factor_metrics import BookConfig, EvaluationConfig
from stages.params.rules import check_at_least, check_at_most

MOST_RESAMPLES = 1_000_000
"""The bounds of an interval are then known to a hundredth of its width; each resample is a number in memory."""


@dataclass(frozen=True, kw_only=True)
class ImportanceParams:
    """What forecasts lose when inputs are shuffled among the symbols of a date."""

    dates: int = 40
    """Test dates of each fold that are looked at, evenly spaced; at least 5."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Inputs that are shuffled together, by patterns of their names, such as {trend: ["momentum_*"]}; {}: the sets."""

    def __post_init__(self) -> None:
        check_at_least(self, dates=5)
        for name, patterns in self.groups.items():
            if not patterns:
                raise ValueError(f"groups.{name}: needs at least one pattern")


@dataclass(frozen=True, kw_only=True)
class EvaluateParams(EvaluationConfig):
    """Section `evaluate`: how predictions are judged. Every key is given; bounds are stricter than the package's."""

    quantiles: int
    """Groups of symbols by prediction, lowest to highest; at least 2."""
    min_symbols: int
    """Symbols that a date needs to have an IC; at least 3."""
    confidence: float
    """Level of the intervals, in [0.5, 1)."""
    bootstrap: int
    """Resamples of the block bootstrap; 100 to 1,000,000."""
    seed: int
    """Seed of the resamples; at least 0."""
    portfolio: BookConfig = field(default_factory=BookConfig)
    """The book that each forecast of a return is turned into, and what trading costs."""
    sector: str | None = None
    """Column of the bars that numbers the sector of a symbol; null: there is none."""
    importance: ImportanceParams | None = None
    """Importance of inputs and their sets by permutation, on each model's page; null: not measured."""
    scoring: Literal["cross_section", "time_series"] = "cross_section"
    """cross_section: a date is scored by how its symbols are ordered; time_series: a block of dates by how its cells
    (date, symbol) are, for universes too small to have a cross-section."""
    block_dates: int = 168
    """time_series: dates of a block; at least 10."""

    def __post_init__(self) -> None:
        check_at_least(self, quantiles=2, min_symbols=3, bootstrap=100, seed=0, block_dates=10)
        check_at_most(self, bootstrap=MOST_RESAMPLES)
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence: {self.confidence} must be in [0.5, 1)")
        if self.portfolio.sector_neutral and self.sector is None:
            raise ValueError("portfolio.sector_neutral: needs sector, the column that says the sector of a symbol")
        if self.importance is not None and self.scoring == "time_series":
            raise ValueError("importance: shuffles the symbols of a date, so it needs scoring: cross_section")
