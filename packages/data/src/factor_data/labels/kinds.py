"""What models may be fitted to, by name, and when a return counts as up or down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

Price = Literal["close", "open"]

TargetKind = Literal["rank", "zscore", "raw", "rank_gauss", "demeaned", "direction"]
# Transforms within a date; a direction needs a `DirectionRule` besides.
CROSS_SECTIONAL_KINDS = tuple(kind for kind in get_args(TargetKind) if kind != "direction")


@dataclass(frozen=True, kw_only=True)
class DirectionRule:
    """Which returns are up (1) and down (0); between them a row has no target."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    up: float = 0.0
    """A label of at least this is an up; where `down` equals it, one above it."""
    down: float = 0.0
    """A label of at most this is a down."""

    def __post_init__(self) -> None:
        if not self.down <= self.up:
            raise ValueError(f"down: {self.down} must not lie above up: {self.up}")
