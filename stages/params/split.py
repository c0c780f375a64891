"""Section `split`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from factor_data import CleanRules, FoldConfig


@dataclass(frozen=True, kw_only=True)
class SplitParams:
    """Section `split`: cleaning and folds."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    clean: CleanRules
    """Thresholds and actions of the cleaning rules."""
    folds: FoldConfig
    """How dates are cut into training, validation and test."""

    def __post_init__(self) -> None:
        test, step = self.folds.test, self.folds.step
        if test is not None and step is not None and step < test:
            raise ValueError(f"folds.step: {step} must be >= test = {test}, or a date is tested in two folds")
