"""Ready-made factors: columns of the bars as features, by name or pattern.

A value of a column belongs to the bar beside it: whoever made the column vouches that it was known at the close of t,
for nothing in the bars can show it (`factor_data.lookahead` tests functions, not numbers).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

import numpy as np

from factor_data.bar_columns import OF_BARS, UNIVERSE
from factor_data.history import Floats
from factor_data.panel.panel import Panel


@dataclass(frozen=True, kw_only=True)
class ColumnFeatures:
    """Columns that are features, and what their missing values become."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    names: tuple[str, ...]
    """Columns of the bars, or patterns such as f_*. A pattern never stands for prices, volume, amount or vwap."""
    missing: Literal["keep", "zero", "last"] = "keep"
    """keep: missing stays missing; zero: 0; last: the symbol's last known value, up to `max_age` bars later."""
    max_age: int | None = None
    """Bars that missing: last looks back."""
    values: tuple[float, ...] = ()
    """For categories and flags: one feature a value, named sector=10, that is 1 where the column has it, 0 where it has
    another and missing where it has none; empty: the column is a number."""

    neutral: str | None = None
    """Column of groups, such as sector: the feature f_1~sector is the value minus the mean of its group on the date."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("names: must name at least one column")
        if (self.missing == "last") != (self.max_age is not None):
            raise ValueError(f"max_age: {self.max_age} goes with missing: last, and with no other")
        if self.max_age is not None and self.max_age < 1:
            raise ValueError(f"max_age: {self.max_age} must be >= 1")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"values: {list(self.values)} must be different")
        if self.values and self.neutral is not None:
            raise ValueError(f"neutral: {self.neutral} goes with numbers, not with values")

    def features(self, available: Sequence[str]) -> dict[str, ColumnFeature]:
        """The features by name, in the order of `names`; a pattern's in the order of the bars' columns."""
        found: dict[str, ColumnFeature] = {}
        for column in dict.fromkeys(one for name in self.names for one in matching_columns(name, available)):
            for value in self.values or (None,):
                name = column if value is None else f"{column}={value:g}"
                found[name] = ColumnFeature(column, self.missing, self.max_age, value)
        return found


@dataclass(frozen=True)
class ColumnFeature:
    """One column as a feature: a function of the panel, as those of `FEATURES` are."""

    column: str
    missing: str = "keep"
    max_age: int | None = None
    value: float | None = None

    def __call__(self, panel: Panel) -> Floats:
        """Return (num_rows,) float64."""
        values = np.asarray(panel.columns[self.column])
        values = np.where(np.isfinite(values), values, np.nan)
        if self.missing == "zero":
            values = np.where(np.isnan(values), 0.0, values)
        elif self.max_age is not None:
            values = last_known(panel, values, self.max_age)
        if self.value is None:
            return values
        return np.where(np.isnan(values), np.nan, values == self.value)


def last_known(panel: Panel, values: Floats, max_age: int) -> Floats:
    """Return each value, or the symbol's last one before it that is known and at most `max_age` bars old."""
    rows = np.arange(panel.num_rows)
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, rows))
    age = rows - last
    usable = (last >= 0) & (age <= np.minimum(panel.age, max_age))
    return np.where(usable, values[np.maximum(last, 0)], np.nan)


def matching_columns(pattern: str, available: Iterable[str]) -> list[str]:
    """Return the column of that name, or the columns that the pattern fits; ValueError if there is none."""
    names = [name for name in available if name != UNIVERSE]
    if pattern in names:
        return [pattern]
    factors = [name for name in names if name not in OF_BARS]
    if found := [name for name in factors if fnmatchcase(name, pattern)]:
        return found
    near = get_close_matches(pattern, names, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"besides prices and volume they have {factors}"
    raise ValueError(f"the bars have no column {pattern!r}; {hint}")
