"""Section `refit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stages.params.rules import check_at_least


@dataclass(frozen=True, kw_only=True)
class RefitParams:
    """Section `refit`: the members of the stack trained once more, up to the last date; run by `make refit`."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    until: str | None = None
    """The last date that may be known, such as 2024-01-31; null: the last one of the bars."""
    train: int | None = None
    """Training dates; null: as many as the last fold spans or, where folds grow, all from its first one on."""
    valid: int | None = None
    """Dates that training stops by and that both are compared on; null: as many as in the last fold."""
    min_agreement: float = 0.5
    """Least rank correlation, the mean over the valid dates, between the refitted stack and the one that was judged,
    for each label."""
    unpromoted: bool = False
    """true: also where the stack has not passed its gates; its bundle says so."""

    def __post_init__(self) -> None:
        check_at_least(self, **{name: 1 for name in ("train", "valid") if getattr(self, name) is not None})
        if not -1.0 <= self.min_agreement <= 1.0:
            raise ValueError(f"min_agreement: {self.min_agreement} must be a rank correlation, from -1 to 1")
        if self.until is not None:
            try:
                np.datetime64(self.until, "ns")
            except ValueError:
                raise ValueError(f"until: {self.until!r} must be a date such as 2024-01-31") from None
