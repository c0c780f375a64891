"""The panel: one row per (symbol, timestamp), sorted so that the bars of a symbol lie side by side.

Two small tables (`symbols`, `dates`) and two code columns say which row is which; every other column is
a plain float64 array. Windows, features and labels are arrays over the rows of a panel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.bar_columns import REQUIRED_COLUMNS, UNIVERSE
from factor_data.history import bar_age
from factor_data.inline import inline_html, inline_table
from factor_data.panel.frames import (
    SYMBOL,
    TIMESTAMP,
    arrow_columns,
    check_adjusted,
    check_columns,
    long_frame,
    numbers_of,
)
from factor_data.panel.header import read_header
from factor_data.panel.markets import Markets, Rows, find_markets
from factor_data.panel.panel_writer import PanelWriter
from factor_data.panel.saved_markets import read_markets
from factor_data.panel.stamps import as_stamps


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """Bars of many symbols on one calendar; rows sorted by (symbol, timestamp), no pair twice.

    Attributes
    ----------
    symbols : (num_symbols,) str, sorted and unique
    dates : (num_dates,) datetime64[ns], sorted and unique: the calendar. Days or intraday stamps alike
    symbol_code : (num_rows,) int32, index into `symbols`
    date_code : (num_rows,) int32, index into `dates`
    columns : name -> (num_rows,) float64, NaN = missing; open, high, low, close, volume are always there
    known_markets : which symbols count bars on which dates; None: found when it is asked for (`markets`)
    """

    symbols: NDArray[np.str_]
    dates: NDArray[np.datetime64]
    symbol_code: NDArray[np.int32]
    date_code: NDArray[np.int32]
    columns: dict[str, NDArray[np.float64]]
    known_markets: Markets | None = None

    def __post_init__(self) -> None:
        missing = [name for name in REQUIRED_COLUMNS if name not in self.columns]
        if missing:
            raise ValueError(f"columns lacks {missing}; a panel needs {list(REQUIRED_COLUMNS)}")
        wrong = [f"{name} {v.shape} {v.dtype}" for name, v in self.columns.items() if v.shape != (self.num_rows,)]
        wrong += [f"{name} {v.dtype}" for name, v in self.columns.items() if v.dtype != np.float64]
        if wrong or self.date_code.shape != self.symbol_code.shape:
            raise ValueError(f"every column must be float64 of shape ({self.num_rows},), got {wrong[:3]}")
        if len(self.dates) > 1 and not np.all(self.dates[1:] > self.dates[:-1]):
            raise ValueError("dates must be sorted and unique")
        if self.num_rows and not np.all(np.diff(self.row_key) > 0):
            raise ValueError("rows must be sorted by (symbol_code, date_code) and unique")

    @classmethod
    def from_frame(cls, frame: Any, dates: NDArray[np.datetime64] | None = None) -> Panel:
        """Build a panel from a frame of bars, its rows in any order.

        Parameters
        ----------
        frame : a frame of pandas, polars, pyarrow or another library that speaks Arrow's C stream interface, with
            `timestamp`, `symbol` and columns of numbers; in pandas these two may be the index, and it may be wide, with
            columns (field, symbol), or a mapping of fields to frames of dates by symbols (`long_frame`)
        dates : the calendar; by default every timestamp that occurs

        Raises
        ------
        ValueError where a column is missing (with those that may be meant) or holds text, a symbol is missing, a pair
        comes twice, and on stamps that the readers would refuse: numbers, or of several zones
        """
        table = long_frame(frame)
        check_columns(table, REQUIRED_COLUMNS, "frame")
        check_adjusted(table, "frame")
        timestamp = as_stamps(table[TIMESTAMP], TIMESTAMP)
        raw_code, raw_symbols = pd.factorize(table[SYMBOL].to_numpy(dtype=object))
        if (raw_code < 0).any():
            raise ValueError(f"symbol is missing in row {int(np.flatnonzero(raw_code < 0)[0]) + 1}")
        symbols = np.array([str(s) for s in raw_symbols], dtype=np.str_)
        order_of_symbols = np.argsort(symbols)
        if (twice := symbols[order_of_symbols[1:]] == symbols[order_of_symbols[:-1]]).any():
            name = str(symbols[order_of_symbols[1:]][twice][0])
            raise ValueError(f"two symbols are {name!r} when written as text, such as 1 and '1': make them one")
        rank_of_symbol = np.empty(len(symbols), dtype=np.int32)
        rank_of_symbol[order_of_symbols] = np.arange(len(symbols), dtype=np.int32)
        symbol_code = rank_of_symbol[raw_code]
        calendar = np.unique(timestamp) if dates is None else as_stamps(dates, "dates")
        date_code = np.searchsorted(calendar, timestamp).astype(np.int32)
        inside = date_code < len(calendar)
        inside[inside] = calendar[date_code[inside]] == timestamp[inside]
        if not inside.all():
            raise ValueError(f"{(~inside).sum()} rows lie outside dates, first {timestamp[~inside][:3]}")
        order = np.lexsort((date_code, symbol_code))
        columns = [name for name in table.columns if name not in (TIMESTAMP, SYMBOL)]
        return cls(
            symbols=symbols[order_of_symbols],
            dates=calendar,
            symbol_code=symbol_code[order],
            date_code=date_code[order],
            columns={str(name): numbers_of(table, name, "frame")[order] for name in columns},
        )

    def __repr__(self) -> str:
        names = list(self.columns)
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        return (
            f"Panel({self.num_rows:,} bars, {self.num_symbols:,} symbols, {self.num_dates:,} dates {self._span}, "
            f"columns {shown})"
        )

    @property
    def _span(self) -> str:
        return f"{self.dates[0]!s:.16} .. {self.dates[-1]!s:.16}" if self.num_dates else "none"

    def _repr_html_(self) -> str:
        facts = {"bars": self.num_rows, "symbols": self.num_symbols, "dates": self.num_dates, "": self._span}
        columns = inline_table(
            ["column", "missing", "lowest", "median", "highest"],
            [[name, *_described(values)] for name, values in self.columns.items()],
        )
        return inline_html("Panel", facts, columns)

    @property
    def row_key(self) -> NDArray[np.int64]:
        """(num_rows,) int64, ascending: the symbol's code times the length of the calendar, plus the date's."""
        return self.symbol_code.astype(np.int64) * max(len(self.dates), 1) + self.date_code

    @property
    def num_rows(self) -> int:
        """Return the number of bars."""
        return len(self.symbol_code)

    @property
    def num_dates(self) -> int:
        """Return the length of the calendar."""
        return len(self.dates)

    @property
    def num_symbols(self) -> int:
        """Return the number of symbols."""
        return len(self.symbols)

    @property
    def timestamp(self) -> NDArray[np.datetime64]:
        """(num_rows,) datetime64[ns] of each row."""
        return self.dates[self.date_code]

    @property
    def symbol(self) -> NDArray[np.str_]:
        """(num_rows,) symbol name of each row."""
        return self.symbols[self.symbol_code]

    @property
    def starts(self) -> NDArray[np.int64]:
        """(num_symbols + 1,) row offsets: the bars of symbol `s` are rows `starts[s]:starts[s + 1]`."""
        return np.searchsorted(self.symbol_code, np.arange(self.num_symbols + 1)).astype(np.int64)

    @cached_property
    def age(self) -> NDArray[np.int64]:
        """(num_rows,) how many earlier bars the symbol of each row has."""
        return bar_age(self.symbol_code)

    @property
    def in_universe(self) -> NDArray[np.bool_]:
        """(num_rows,) True where cleaning left the bar in the universe; a panel that was not cleaned is refused."""
        if UNIVERSE not in self.columns:
            raise ValueError(f"the panel has no column {UNIVERSE!r}: clean it first (clean_bars)")
        return self.columns[UNIVERSE] > 0

    @cached_property
    def markets(self) -> Markets:
        """Which symbols count bars on which dates: one calendar for all, but where some trade on dates of their own."""
        if self.known_markets is not None:
            return self.known_markets.of(self.symbols, self.dates)
        read = lambda first, last: self.date_code[first:last]  # noqa: E731
        return find_markets(Rows(symbols=self.symbols, dates=self.dates, starts=self.starts, read=read))

    def rows_at(self, shift: int) -> NDArray[np.int64]:
        """(num_rows,) row of the same symbol `shift` dates of its market later (earlier if negative), -1 if absent."""
        if not self.num_rows:
            return np.zeros(0, dtype=np.int64)
        ahead = self.markets.ahead(shift)[self.markets.code[self.symbol_code], self.date_code]
        key = self.row_key
        wanted = key + (ahead - self.date_code)
        found = np.minimum(np.searchsorted(key, wanted), self.num_rows - 1)
        return np.where((ahead >= 0) & (key[found] == wanted), found, -1)

    def select(self, mask: NDArray[np.bool_]) -> Panel:
        """Keep the rows of `mask`. Symbols, calendar and hence all codes stay as they are."""
        return replace(
            self,
            symbol_code=self.symbol_code[mask],
            date_code=self.date_code[mask],
            columns={name: values[mask] for name, values in self.columns.items()},
        )

    def compact(self) -> Panel:
        """Drop symbols and calendar dates that have no row left (codes change)."""
        symbols, symbol_code = np.unique(self.symbol_code, return_inverse=True)
        dates, date_code = np.unique(self.date_code, return_inverse=True)
        return replace(
            self,
            symbols=self.symbols[symbols],
            dates=self.dates[dates],
            symbol_code=symbol_code.astype(np.int32),
            date_code=date_code.astype(np.int32),
        )

    def with_columns(self, **columns: NDArray[np.float64]) -> Panel:
        """Return the panel with columns added or replaced."""
        return replace(self, columns={**self.columns, **columns})

    def adjusted(self, name: str) -> NDArray[np.float64]:
        """Return a column in split- and dividend-adjusted units, as it is where there is no `adj_close`.

        Prices are multiplied by `adj_close / close`, volume is divided by it, so that neither jumps at a
        split.
        """
        values = self.columns[name]
        if "adj_close" not in self.columns:
            return values
        factor = self.columns["adj_close"] / self.columns["close"]
        if name == "close":  # as it stands: a product would round a constant price to several
            return np.where(np.isfinite(factor), self.columns["adj_close"], np.nan)
        return values / factor if name == "volume" else values * factor

    def to_matrix(self, values: NDArray) -> NDArray:
        """Spread (num_rows,) values over (num_dates, num_symbols), NaN where there is no bar."""
        dtype = np.result_type(values.dtype, np.float32)
        matrix = np.full((self.num_dates, self.num_symbols), np.nan, dtype=dtype)
        matrix[self.date_code, self.symbol_code] = values
        return matrix

    def to_pandas(self) -> pd.DataFrame:
        """Return the long frame: timestamp, symbol, then the columns."""
        return pd.DataFrame({"timestamp": self.timestamp, "symbol": self.symbol, **self.columns})

    def to_arrow(self) -> Any:
        """Return the long table as pyarrow's: timestamp, symbol (a dictionary), then the columns, NaN as null."""
        return arrow_columns(self.columns, self.symbol_code, self.symbols, self.timestamp)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def save(self, directory: str | Path) -> None:
        """Write one `.npy` per array, the header `panel.json` and then the digests; the folder is made if needed."""
        with PanelWriter(directory) as writer:
            writer.append(self)

    @classmethod
    def load(cls, directory: str | Path, mmap: bool = True) -> Panel:
        """Read a saved panel, after its files were held against their digests; with `mmap` the columns stay on disk."""
        directory = Path(directory)
        header = read_header(directory)

        def read(file: str) -> NDArray:
            return np.load(directory / file, mmap_mode="r" if mmap else None, allow_pickle=False)

        return cls(
            symbols=np.asarray(read("symbols.npy")),
            dates=np.asarray(read("dates.npy")),
            symbol_code=read("symbol_code.npy"),
            date_code=read("date_code.npy"),
            columns={name: read(file) for name, file in header["columns"].items()},
            known_markets=read_markets(directory, header),
        )


def _described(values: NDArray[np.float64]) -> tuple[str, float, float, float]:
    """Return the share that is missing, and three numbers of what is there; NaN where nothing is."""
    known = values[~np.isnan(values)]
    share = f"{1 - len(known) / len(values):.2%}" if len(values) else "-"
    if not len(known):
        return share, float("nan"), float("nan"), float("nan")
    return share, float(known.min()), float(np.median(known)), float(known.max())
