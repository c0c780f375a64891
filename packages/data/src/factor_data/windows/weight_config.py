"""Settings of sample weights alone, which load nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class WeightParams:
    """How much windows and dates of training count: by money traded or a column, by age, or by both."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    dollar_volume_bars: int | None = None
    """Bars over which money traded (close * volume, or amount) is averaged; None: every window of a date counts alike.

    The weight of a window within its date is that mean over the date's median, to the power below; 1 where it is not
    known or not positive.
    """
    column: str | None = None
    """Instead: a column of the bars, known at t, that is used as money traded is, such as ADV50 or market value."""
    power: float = 1.0
    """1: in proportion to money traded, or to the column; 0.5: to its root."""
    half_life: float | None = None
    """Dates after which a training date counts half; None: all alike. The weights of a fold's dates average 1."""

    def __post_init__(self) -> None:
        if self.dollar_volume_bars is None and self.column is None and self.half_life is None:
            raise ValueError("weights: needs dollar_volume_bars, column or half_life; without weights it is null")
        if self.dollar_volume_bars is not None and self.column is not None:
            raise ValueError(f"column: {self.column} takes the place of dollar_volume_bars; give one of them")
        for name in ("dollar_volume_bars", "power", "half_life"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: {value} must be > 0")
