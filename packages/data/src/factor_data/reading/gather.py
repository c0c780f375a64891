"""Tables gathered into one panel: rows sorted by (symbol, time), no pair twice."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.panel.panel import Panel
from factor_data.reading.table import Table


@dataclass
class _Rows:
    """All rows in the order they were read, column by column, and where they came from."""

    names: dict[str, int] = field(default_factory=dict)  # symbol -> code, in order of appearance
    symbol: list[NDArray[np.int32]] = field(default_factory=list)
    time: list[NDArray[np.int64]] = field(default_factory=list)
    row: list[NDArray[np.int64]] = field(default_factory=list)  # in its file
    columns: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)  # of each table
    starts: list[int] = field(default_factory=lambda: [0])

    def add(self, table: Table) -> None:
        code, names = pd.factorize(table.frame["symbol"].to_numpy())
        known = np.array([self.names.setdefault(str(name), len(self.names)) for name in names], dtype=np.int32)
        self.symbol.append(known[code])
        self.time.append(table.frame["timestamp"].to_numpy().astype(np.int64))
        self.row.append(table.frame.index.to_numpy() + table.first_row)
        for name in table.frame.columns[2:]:
            self.columns.setdefault(str(name), []).append(table.frame[name].to_numpy())
        self.paths.append(table.path)
        self.starts.append(self.starts[-1] + len(table.frame))


@dataclass(frozen=True)
class _Keys:
    """The (symbol, date) of every row as codes, and the order that sorts them; None if they are sorted."""

    symbols: NDArray[np.str_]
    dates: NDArray[np.int64]
    symbol_code: NDArray[np.int32]
    date_code: NDArray[np.int32]
    order: NDArray[np.int64] | None


def gather_panel(tables: Iterable[Table]) -> Panel:
    """Return the panel of all rows; files may come in any order.

    ValueError on a (symbol, timestamp) that comes twice, and on bars of a symbol that go back in time within a file.
    """
    rows = _Rows()
    for table in tables:
        rows.add(table)
    keys = _checked_keys(rows)
    sort = slice(None) if keys.order is None else keys.order
    columns: dict[str, NDArray[np.float64]] = {}
    for name in list(rows.columns):  # one at a time: what is gathered is let go
        columns[name] = np.concatenate(rows.columns.pop(name))[sort]
    return Panel(
        symbols=keys.symbols,
        dates=keys.dates.view("datetime64[ns]"),
        symbol_code=keys.symbol_code[sort],
        date_code=keys.date_code[sort],
        columns=columns,
    )


def check_keys(tables: Iterable[Table], symbols: Container[str]) -> None:
    """Raise what `gather_panel` raises for the rows of some symbols, holding nothing but their keys."""
    rows = _Rows()
    for table in tables:
        frame = table.frame[["timestamp", "symbol"]]
        code, names = pd.factorize(frame["symbol"].to_numpy())
        kept = np.array([name in symbols for name in names], dtype=bool)[code]
        rows.add(Table(table.path, frame[kept], table.zone, table.first_row))
    _checked_keys(rows)


def _checked_keys(rows: _Rows) -> _Keys:
    names = np.array(list(rows.names), dtype=np.str_)
    order_of_names = np.argsort(names, kind="stable")
    rank = np.empty(len(names), dtype=np.int32)
    rank[order_of_names] = np.arange(len(names), dtype=np.int32)
    symbol_code = rank[np.concatenate(rows.symbol)]
    time = np.concatenate(rows.time)
    different_code, different = pd.factorize(time)
    dates = np.sort(different)
    date_code = np.searchsorted(dates, different).astype(np.int32)[different_code]
    key = symbol_code.astype(np.int64) * len(dates) + date_code
    order = None if np.all(key[1:] > key[:-1]) else np.argsort(key, kind="stable")
    if order is not None:
        _refuse_repeated(rows, key, order)
        _refuse_backward(rows, symbol_code, time)
    return _Keys(names[order_of_names], dates, symbol_code, date_code, order)


def _refuse_repeated(rows: _Rows, key: NDArray[np.int64], order: NDArray[np.int64]) -> None:
    repeated = np.flatnonzero(key[order][1:] == key[order][:-1])
    if len(repeated):
        pairs = [_describe_pair(rows, order[at], order[at + 1]) for at in repeated[:3]]
        raise ValueError(f"{len(repeated)} duplicate (symbol, timestamp): " + "; ".join(pairs))


def _refuse_backward(rows: _Rows, symbol: NDArray[np.int32], time: NDArray[np.int64]) -> None:
    file = np.repeat(pd.factorize(np.array(rows.paths, dtype=object))[0], np.diff(rows.starts))
    order = np.lexsort((symbol, file))  # stable: the rows of a symbol stay in the order of the file
    same = (np.diff(symbol[order]) == 0) & (np.diff(file[order]) == 0)
    back = np.flatnonzero(same & (np.diff(time[order]) < 0))
    if len(back):
        pairs = [_describe_pair(rows, order[at], order[at + 1]) for at in back[:3]]
        raise ValueError(
            f"unsorted: {len(back)} bars are earlier than the bar of their symbol before them "
            "(sort: true, --sort, reads rows in any order): " + "; ".join(pairs)
        )


def _describe_pair(rows: _Rows, first: int, second: int) -> str:
    (one, row, _, _), (other, other_row, symbol, time) = _describe(rows, first), _describe(rows, second)
    return f"{symbol} at {time} ({one} row {row} and {other} row {other_row})"


def _describe(rows: _Rows, at: int) -> tuple[str, int, str, pd.Timestamp]:
    table = int(np.searchsorted(rows.starts, at, side="right")) - 1
    inside = at - rows.starts[table]
    symbol = list(rows.names)[rows.symbol[table][inside]]
    return rows.paths[table], int(rows.row[table][inside]), symbol, pd.Timestamp(rows.time[table][inside])
