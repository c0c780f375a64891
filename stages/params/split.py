"""Section `split`."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    calendars: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Markets that trade on dates of their own, on which delay and horizons count: name -> symbols, or patterns of
    them such as *.DE. Empty: they are told apart by the times of the week at which they trade; {all: ["*"]}: one."""

    def __post_init__(self) -> None:
        if self.folds.scheme == "cpcv":
            self._check_cpcv()
        elif not self.folds.has_valid:
            raise ValueError(
                f"folds: scheme {self.folds.scheme} is given no valid dates: a run needs some in every fold, by which "
                "a model chooses its epoch (factor_data.make_folds cuts folds without)"
            )
        if empty := [name for name, patterns in self.calendars.items() if not patterns]:
            raise ValueError(f"calendars.{empty[0]}: must name at least one symbol, or a pattern such as *.DE")
        test, step = self.folds.test, self.folds.step
        if test is not None and step is not None and step < test:
            raise ValueError(f"folds.step: {step} must be >= test = {test}, or a date is tested in two folds")

    def _check_cpcv(self) -> None:
        """A model is trained once a fold, with valid dates, and every date is tested by one fold."""
        for name in ("num_test_groups", "valid_groups"):
            value = getattr(self.folds, name)
            if value not in (1, None):
                raise ValueError(
                    f"folds.{name}: {value} must be 1 in a run: each date is tested once, by one fold "
                    "with valid dates (factor_data.make_folds cuts the others)"
                )
