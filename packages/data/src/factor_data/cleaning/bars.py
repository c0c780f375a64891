"""The bars that the rules look at: columns that masks write to, and what is derived from a symbol's past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from factor_data.bar_columns import PRICE_COLUMNS
from factor_data.features.columns import matching_columns
from factor_data.history import bar_age
from factor_data.panel.panel import Panel

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


TRADED = ("volume", "amount")
Seen = tuple[bool, bool]
"""Whether a column has a value of 0 or less, and one above."""
NOTHING_SEEN: Seen = (False, False)


class ColumnFacts(NamedTuple):
    """Facts about the data as a whole, of which a part of the symbols knows nothing by itself."""

    absent: frozenset[str] = frozenset()
    """Columns without a single value; they count as not there."""
    silent: frozenset[str] = frozenset()
    """Volume and amount where they are 0 or less in every bar: the market does not report them."""


NO_FACTS = ColumnFacts()


def column_facts(seen: Mapping[str, Seen]) -> ColumnFacts:
    """Return the facts that follow from what was seen of each column.

    A close without a value is absent only where open, high and low have none either: bars with other prices and no
    close are broken.
    """
    unknown = {name for name, values in seen.items() if values == NOTHING_SEEN}
    absent = unknown if unknown.issuperset(PRICE_COLUMNS) else unknown - {"close"}
    silent = (name for name in TRADED if seen.get(name) == (True, False))
    return ColumnFacts(absent=frozenset(absent), silent=frozenset(silent))


def seen_values(values: Floats, before: Seen = NOTHING_SEEN) -> Seen:
    """Return what is seen of a column after some more of its values."""
    return before[0] or bool((values <= 0.0).any()), before[1] or bool((values > 0.0).any())


def facts_of(panel: Panel) -> ColumnFacts:
    """Return the facts about the data of a whole panel."""
    return column_facts({name: seen_values(values) for name, values in panel.columns.items()})


class Bars:
    """Columns of a panel under cleaning. Columns are copied when they are first written to.

    A column that is absent by the `facts` counts as not there. `universe` is True where no rule has taken the bar out
    of the universe, `rows` are the rows of the bars in the panel that cleaning began with. Everything here is a
    function of the symbol's own bars, at t and before; `earlier` (num_symbols,) says how many each has before the panel
    begins, by default none.
    """

    def __init__(self, panel: Panel, facts: ColumnFacts = NO_FACTS, earlier: NDArray[np.integer] | None = None) -> None:
        self.panel, self.facts, self.earlier = panel, facts, earlier
        self.columns = dict(panel.columns)
        self.universe = np.ones(panel.num_rows, dtype=bool)
        self.rows = np.arange(panel.num_rows)
        self._copied: set[str] = set()

    def __getitem__(self, name: str) -> Floats:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns and name not in self.facts.absent

    def blank(self, name: str, hit: Mask) -> None:
        """Set a column to NaN where `hit`; the panel's own array stays as it is."""
        if name not in self._copied:
            self.columns[name] = np.array(self.columns[name])
            self._copied.add(name)
        self.columns[name][hit] = np.nan

    def factor_columns(self, patterns: tuple[str, ...]) -> list[str]:
        """Return the columns that any of the names or patterns fits; ValueError if one fits none."""
        try:
            return list(dict.fromkeys(name for one in patterns for name in matching_columns(one, self.columns)))
        except ValueError as error:
            raise ValueError(f"factor_columns: {error}") from None

    def select(self, keep: Mask) -> Bars:
        """Return the bars of `keep`; symbols, dates and codes stay as they are."""
        if keep.all():
            return self
        columns = {name: values[keep] for name, values in self.columns.items()}
        code, date = self.panel.symbol_code[keep], self.panel.date_code[keep]
        kept = Bars(replace(self.panel, symbol_code=code, date_code=date, columns=columns), self.facts, self.earlier)
        kept._copied = set(columns)
        kept.universe = self.universe[keep]
        kept.rows = self.rows[keep]
        return kept

    @cached_property
    def first(self) -> Mask:
        """(num_rows,) True on the first bar of each symbol that is here."""
        return self._place == 0

    @cached_property
    def age(self) -> NDArray[np.int64]:
        """(num_rows,) number of earlier bars of the symbol."""
        return self._place if self.earlier is None else self._place + self.earlier[self.panel.symbol_code]

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        return bar_age(self.panel.symbol_code)

    @cached_property
    def adjusted_close(self) -> Floats:
        """(num_rows,) the adjusted close where there is one, else the close."""
        return self.columns["adj_close" if "adj_close" in self.columns else "close"]

    def ratio(self, values: Floats) -> Floats:
        """(num_rows,) value over the value of the symbol's bar before; NaN on its first bar."""
        result = np.full(len(values), np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            np.divide(values[1:], values[:-1], out=result[1:], where=~self.first[1:])
        return result

    @cached_property
    def close_ratio(self) -> Floats:
        """Return (num_rows,) close over the close of the bar before."""
        return self.ratio(self.columns["close"])

    @cached_property
    def adjusted_ratio(self) -> Floats:
        """Return (num_rows,) adjusted close over that of the bar before; without `adj_close`, of the close."""
        return self.ratio(self.adjusted_close) if "adj_close" in self.columns else self.close_ratio

    def same_as_before(self, name: str) -> Mask:
        """(num_rows,) True where the value equals that of the symbol's bar before."""
        values = self.columns[name]
        return ~self.first & (values == np.r_[np.nan, values[:-1]]) if len(values) else self.first

    def run_length(self, name: str) -> NDArray[np.int64]:
        """(num_rows,) how many bars in a row, up to and with this one, have this value."""
        rows = np.arange(self.panel.num_rows)
        return rows - np.maximum.accumulate(np.where(self.same_as_before(name), 0, rows)) + 1
