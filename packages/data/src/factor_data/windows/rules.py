"""Settings of windows: which time they may span, how much may be missing, and whether a network is told what is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

CLOCK = r"([01]\d|2[0-3]):[0-5]\d"


@dataclass(frozen=True, kw_only=True)
class WindowRules:
    """Which windows are samples. A window that a rule refuses is neither trained on nor predicted from."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    max_gap: int | None = None
    """Most calendar dates that may be missing between two neighbouring bars of a window; null: any number."""
    session_starts: tuple[str, ...] = ()
    """Times of day, such as ["09:00", "13:00"], at which a session begins: no window spans two; empty: it may."""
    max_missing: float = 1.0
    """Largest share of missing values in a window."""
    missing_mask: bool = False
    """Whether each input has another one beside it that is 1 where it is missing, else 0: missing is not zero."""

    def __post_init__(self) -> None:
        if self.max_gap is not None and self.max_gap < 0:
            raise ValueError(f"max_gap: {self.max_gap} must be >= 0")
        if not 0 <= self.max_missing <= 1:
            raise ValueError(f"max_missing: {self.max_missing} must be in [0, 1]")
        if wrong := [one for one in self.session_starts if not re.fullmatch(CLOCK, one)]:
            raise ValueError(f"session_starts: {wrong[0]!r} must be a time of day such as 09:30")
        if sorted(set(self.session_starts)) != list(self.session_starts):
            raise ValueError(f"session_starts: {list(self.session_starts)} must rise, each once")
