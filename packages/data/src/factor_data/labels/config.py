"""What is forecast, as parameters: a label is made of prices, or is a column of the bars that looks ahead already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from factor_data.bar_columns import OF_BARS
from factor_data.labels.kinds import DirectionRule, Price

Measure = Literal["return", "volatility"]

NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
MOST_LETTERS = 64


@dataclass(frozen=True, kw_only=True)
class Label:
    """One label. With `horizon` it is made of prices, with `column` it is a column, taken as it is."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    horizon: int | None = None
    """Bars from entry to exit."""
    measure: Measure = "return"
    """horizon: the return from entry to exit, or the volatility of the bars in between, per bar."""
    delay: int = 1
    """horizon: bars from the close of t to entry."""
    price: Price = "close"
    """horizon: entry and exit at this price of their bars."""
    delisting: str | float = "drop"
    """horizon: what a symbol is worth that stops between entry and exit. drop: there is no label, so scores are
    conditional on survival; last: its last close; a number above -1, such as -0.3: that return on top of its last
    close; any other word: a column whose value beside its last bar is that return."""
    column: str | None = None
    """A column of the bars whose value beside the bar of t looks ahead of t already."""
    reach: int | None = None
    """column: dates after t that its value looks at; the purge has to cover them."""
    neutral: str | None = None
    """A column of the bars that numbers groups, such as sector: the label is less its mean over the symbols of the
    universe that share its date and group; 0 in a group of one, unknown without a group."""
    direction: DirectionRule = field(default_factory=DirectionRule)
    """Which values are up and which are down where a model is fitted to the direction (target: direction)."""

    def __post_init__(self) -> None:
        if (self.horizon is None) == (self.column is None):
            raise ValueError(
                f"horizon: {self.horizon} beside column: {self.column}: a label needs either a horizon, in bars, or a "
                "column that looks ahead already"
            )
        if self.horizon is None:
            self._check_column()
        else:
            self._check_prices(self.horizon)

    def _check_column(self) -> None:
        if not self.column or self.column in OF_BARS:
            raise ValueError(f"column: {self.column!r} must be a column that looks ahead, no part of the bar of t")
        if self.reach is None or self.reach < 1:
            raise ValueError(f"reach: {self.reach} must be >= 1, the dates after t that column {self.column} looks at")
        taken = {name: getattr(Label, name) for name in ("measure", "delay", "price", "delisting")}
        if given := [name for name, default in taken.items() if getattr(self, name) != default]:
            raise ValueError(f"{given[0]}: column {self.column} is taken as it is; {given[0]} goes with horizon")

    def _check_prices(self, horizon: int) -> None:
        if self.reach is not None:
            raise ValueError(f"reach: {self.reach} goes with column; with horizon it is delay + horizon")
        if horizon < 1:
            raise ValueError(f"horizon: {horizon} must be >= 1")
        if self.delay < 0:
            raise ValueError(f"delay: {self.delay} must be >= 0")
        if self.price == "open" and self.delay == 0:
            raise ValueError("delay: 0 must be >= 1 for price: open, since the open of t is over when t closes")
        for key, value, known in (("measure", self.measure, Measure), ("price", self.price, Price)):
            if value not in get_args(known):
                raise ValueError(f"{key}: {value!r} must be one of {', '.join(get_args(known))}")
        if isinstance(self.delisting, str) and not re.search(r"[^\W\d]", self.delisting):
            raise ValueError(f"delisting: {self.delisting!r} must be drop, last, a number or a column's name")
        if not isinstance(self.delisting, str) and not self.delisting >= -1.0:
            raise ValueError(f"delisting: {self.delisting} is less than a total loss, -1")
        if self.measure == "volatility" and self.delisting == -1.0:
            raise ValueError("delisting: the volatility of a total loss is infinite")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the bars that the label is made of besides prices."""
        delisted = (
            self.delisting if isinstance(self.delisting, str) and self.delisting not in ("drop", "last") else None
        )
        return tuple(name for name in (self.column, delisted, self.neutral) if name is not None)

    @property
    def ahead(self) -> int:
        """Dates after t that the label of t is made of."""
        return self.delay + self.horizon if self.horizon is not None else self.reach or 1

    @property
    def overlap(self) -> int:
        """Dates over which the labels of neighbouring dates overlap."""
        return self.horizon or self.ahead

    def describe(self) -> str:
        """Return in words what the label is."""
        if self.horizon is None:
            what = f"column {self.column}, which looks {_counted(self.ahead, 'date')} ahead"
        else:
            what = f"{self.measure} over {_counted(self.horizon, 'bar')}"
            what += f" from the {self.price} {_counted(self.delay, 'bar')} after t; {self.delisting_words()}"
        return what if self.neutral is None else f"{what}; less its mean over the same {self.neutral} on the date"

    def delisting_words(self) -> str:
        """Return in words what is made of a symbol that stops before the exit."""
        match self.delisting:
            case "drop":
                return "a symbol that stops before the exit has none"
            case "last":
                return "a symbol that stops before the exit counts with its last close"
            case str(column):
                return f"a symbol that stops before the exit counts with its last close and the return in {column}"
            case share:
                return f"a symbol that stops before the exit counts with its last close and a return of {share:+g}"


Labels = Mapping[str, Label]
"""Labels by name."""


def check_label_names(labels: Labels) -> None:
    """Refuse a table without a label, and names that are no words: they name columns, keys and files."""
    if not labels:
        raise ValueError("at least one label is needed")
    if wrong := [name for name in labels if not NAME.fullmatch(name) or len(name) > MOST_LETTERS]:
        raise ValueError(
            f"{wrong[0][:MOST_LETTERS]!r}: a label's name starts with a letter, has letters, digits and _ only, and at "
            f"most {MOST_LETTERS} of them"
        )


def in_head_order(labels: Labels) -> dict[str, Label]:
    """Return the labels in the order of columns and heads: by how far they overlap, then by name.

    It does not depend on the order in which they are listed, and so nothing that is computed does.
    """
    return dict(sorted(labels.items(), key=lambda item: (item[1].overlap, item[0])))


def longest_reach(labels: Labels) -> int:
    """Return how many dates after t the farthest label of t is made of: the least purge."""
    return max(label.ahead for label in labels.values())


def read_label(document: Mapping[str, Any]) -> Label:
    """Return the label that `dataclasses.asdict` has written."""
    return Label(**{**document, "direction": DirectionRule(**document["direction"])})


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
