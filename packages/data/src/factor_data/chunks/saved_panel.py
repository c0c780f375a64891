"""A saved panel that is read in parts: whole symbols, whole dates, or the rows of some dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from factor_data.bar_columns import UNIVERSE
from factor_data.panel.array_file import ArrayFile, Spans, merge_adjacent
from factor_data.panel.header import HEADER, read_header
from factor_data.panel.markets import Markets, Rows, find_markets
from factor_data.panel.panel import Panel
from factor_data.panel.saved_markets import read_markets

SCAN_ROWS = 1 << 14
ROWS_AT_ONCE = 1 << 20
"""Rows of a part where nothing says how much memory there is for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedPanel:
    """Header of a saved panel, known without reading its rows; made by `open_panel`.

    Attributes
    ----------
    symbols, dates : as in `Panel`
    starts : (num_symbols + 1,) int64 row offsets: the bars of symbol `s` are rows `starts[s]:starts[s + 1]`
    date_counts : (num_dates,) int64, bars of each date
    symbol_code, date_code, columns : the files of the arrays over rows
    known_markets : as in `Panel`
    """

    symbols: NDArray[np.str_]
    dates: NDArray[np.datetime64]
    starts: NDArray[np.int64]
    date_counts: NDArray[np.int64]
    symbol_code: ArrayFile
    date_code: ArrayFile
    columns: dict[str, ArrayFile]
    known_markets: Markets | None = None

    @property
    def num_rows(self) -> int:
        """Return the number of bars."""
        return self.symbol_code.num_rows

    @property
    def row_bytes(self) -> int:
        """Bytes of a row as a panel holds it."""
        return 8 * (len(self.columns) + 1)

    @property
    def rows(self) -> Rows:
        """Where the bars lie."""
        return Rows(symbols=self.symbols, dates=self.dates, starts=self.starts, read=self.date_code.read)

    @cached_property
    def markets(self) -> Markets:
        """Which symbols count bars on which dates."""
        return self.known_markets or find_markets(self.rows)

    def read(self, first: int, last: int) -> Panel:
        """Rows `first:last` as a panel with all the symbols and dates; checked as every panel is."""
        return Panel(
            symbols=self.symbols,
            dates=self.dates,
            symbol_code=self.symbol_code.read(first, last),
            date_code=self.date_code.read(first, last),
            columns={name: file.read(first, last) for name, file in self.columns.items()},
            known_markets=self.markets,
        )

    def sample(self, num_symbols: int, num_dates: int, always: Sequence[str] = ()) -> Panel:
        """The last dates of some symbols as a panel with all the symbols and no other date: a bounded piece of it.

        Parameters
        ----------
        num_symbols : taken at equal distances among those that have a bar on the dates
        num_dates : most dates of the calendar, the last ones
        always : symbols that are taken besides
        """
        first = max(len(self.dates) - num_dates, 0)
        borders = self.bounds([first, len(self.dates)])
        traded = np.flatnonzero(borders[:, 1] > borders[:, 0])
        spaced = traded[np.linspace(0, len(traded) - 1, min(num_symbols, len(traded))).astype(np.int64)]
        chosen = borders[np.union1d(spaced, np.flatnonzero(np.isin(self.symbols, always)))]
        return Panel(
            symbols=self.symbols,
            dates=self.dates[first:],
            symbol_code=self.symbol_code.gather(chosen),
            date_code=self.date_code.gather(chosen) - np.int32(first),
            columns={name: file.gather(chosen) for name, file in self.columns.items()},
            known_markets=self.markets,
        )

    def in_universe(self, spans: Spans) -> NDArray[np.bool_]:
        """True where cleaning left the bar in the universe, for the rows of the spans."""
        if UNIVERSE not in self.columns:
            raise ValueError(f"the panel has no column {UNIVERSE!r}: clean it first (clean_bars)")
        return self.columns[UNIVERSE].gather(spans) > 0

    def symbol_parts(self, max_rows: int = ROWS_AT_ONCE) -> list[Spans]:
        """Row ranges of whole symbols, each of at most `max_rows` rows; a longer symbol is a part alone."""
        groups = whole_groups(np.diff(self.starts), max_rows)
        return [np.array([[self.starts[first], self.starts[last]]]) for first, last in groups]

    def date_parts(self, max_rows: int) -> list[Spans]:
        """Row ranges of whole dates, each part of at most `max_rows` rows; a longer date is a part alone.

        The rows of a part are one range per symbol, in symbol order.
        """
        groups = whole_groups(self.date_counts, max_rows)
        bounds = self.bounds([first for first, _ in groups] + [len(self.dates)])
        return [merge_adjacent(bounds[:, part : part + 2]) for part in range(len(groups))]

    def parts_of_dates(self, dates: NDArray[np.datetime64], max_rows: int) -> list[Spans]:
        """Row ranges of the bars on some dates of the calendar, in row order, at most `max_rows` a part."""
        chosen = np.isin(self.dates, dates)
        edges = np.flatnonzero(np.diff(np.r_[False, chosen, False]))
        bounds = self.bounds(edges)
        spans = bounds.reshape(-1, 2)
        groups = whole_groups(spans[:, 1] - spans[:, 0], max_rows)
        return [merge_adjacent(spans[first:last]) for first, last in groups]

    def bounds(self, edges: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
        """(num_symbols, num_edges) first row of each symbol whose date code is not below the edge."""
        borders = np.asarray(edges, dtype=np.int64)
        below = np.zeros((len(self.symbols), len(borders) + 1), dtype=np.int64)
        for (first, last), (low, high) in zip(
            whole_groups(np.diff(self.starts), SCAN_ROWS), self._row_ranges(SCAN_ROWS), strict=True
        ):
            interval = np.searchsorted(borders, self.date_code.read(low, high), side="right")
            symbol = np.repeat(np.arange(last - first), np.diff(self.starts[first : last + 1]))
            width = below.shape[1]
            counts = np.bincount(symbol * width + interval, minlength=(last - first) * width)
            below[first:last] = counts.reshape(-1, width)
        return self.starts[:-1, None] + np.cumsum(below, axis=1)[:, :-1]

    def _row_ranges(self, max_rows: int) -> list[tuple[int, int]]:
        return [(int(part[0, 0]), int(part[0, 1])) for part in self.symbol_parts(max_rows)]


def open_panel(directory: str | Path) -> SavedPanel:
    """Open a saved panel for reading in parts; the two code columns are read once, to know where rows lie."""
    directory = Path(directory)
    header = read_header(directory)
    symbols = np.load(directory / "symbols.npy", allow_pickle=False)
    dates = np.load(directory / "dates.npy", allow_pickle=False)
    codes = {name: ArrayFile.open(directory / f"{name}.npy") for name in ("symbol_code", "date_code")}
    columns = {name: ArrayFile.open(directory / file) for name, file in header["columns"].items()}
    short = [file.path for file in (*codes.values(), *columns.values()) if file.shape != (header["num_rows"],)]
    if short:
        raise ValueError(f"{short[0]}: must have the {header['num_rows']} rows that {directory / HEADER} names")
    return SavedPanel(
        symbols=symbols,
        dates=dates,
        starts=np.r_[0, np.cumsum(_count(codes["symbol_code"], len(symbols)))],
        date_counts=_count(codes["date_code"], len(dates)),
        columns=columns,
        known_markets=read_markets(directory, header),
        **codes,
    )


def whole_groups(counts: NDArray[np.integer], max_rows: int) -> list[tuple[int, int]]:
    """Cut groups of so many rows into ranges of groups with at most `max_rows` rows; a larger group stands alone.

    >>> whole_groups(np.array([3, 3, 9, 1]), 6)
    [(0, 2), (2, 3), (3, 4)]
    """
    ends = np.cumsum(counts)
    ranges: list[tuple[int, int]] = []
    first, done = 0, 0
    while first < len(counts):
        last = max(int(np.searchsorted(ends, done + max_rows, side="right")), first + 1)
        ranges.append((first, last))
        first, done = last, int(ends[last - 1])
    return ranges


def _count(file: ArrayFile, num_codes: int) -> NDArray[np.int64]:
    """Return the number of rows of each code."""
    counts = np.zeros(num_codes, dtype=np.int64)
    for first in range(0, file.num_rows, SCAN_ROWS):
        counts += np.bincount(file.read(first, min(first + SCAN_ROWS, file.num_rows)), minlength=num_codes)
    return counts
