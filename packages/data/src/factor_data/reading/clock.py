"""What a reader is told of stamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "ms", "us", "ns"]


@dataclass(frozen=True)
class Clock:
    """How stamps are written, and which zone's clock is kept."""

    format: str | None = None
    """Form of text stamps, in the signs of strftime; None: ISO 8601 or year/month/day."""
    unit: Unit | None = None
    """Unit of numbers since 1970 in UTC; None: by their digits."""
    zone: str | None = None
    """Zone that stamps are converted to; stamps without a zone are in it already."""


ISO_CLOCK = Clock()
