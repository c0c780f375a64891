"""Tables gathered into one panel: rows sorted by (symbol, time), no pair twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.panel import Panel
from factor_data.reading.table import Table


@dataclass
class _Rows:
    """All rows in the order they were read, column by column, and where they came from."""

    names: dict[str, int] = field(default_factory=dict)  # symbol -> code, in order of appearance
    symbol: list[NDArray[np.int32]] = field(default_factory=list)
    time: list[NDArray[np.int64]] = field(default_factory=list)
    columns: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)  # of each table
    first_rows: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])

    def add(self, table: Table) -> None:
        code, names = pd.factorize(table.frame["symbol"].to_numpy())
        known = np.array(
            [self.names.setdefault(str(name), len(self.names)) for name in names], dtype=np.int32
        )
        self.symbol.append(known[code])
        self.time.append(table.frame["timestamp"].to_numpy().astype(np.int64))
        for name in table.frame.columns[2:]:
            self.columns.setdefault(str(name), []).append(table.frame[name].to_numpy())
        self.paths.append(table.path)
        self.first_rows.append(table.first_row)
        self.starts.append(self.starts[-1] + len(table.frame))

    def place(self, row: int) -> tuple[str, int]:
        """File and row in the file of a row."""
        table = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.paths[table], row - self.starts[table] + self.first_rows[table]


def gather_panel(tables: Iterable[Table]) -> Panel:
    """Return the panel of all rows. Duplicate pairs are refused, and bars of a symbol that go back in time
    within a file; files may come in any order."""
    rows = _Rows()
    for table in tables:
        rows.add(table)
    order_of_names = np.argsort(np.array(list(rows.names), dtype=np.str_), kind="stable")
    rank = np.empty(len(order_of_names), dtype=np.int32)
    rank[order_of_names] = np.arange(len(rank), dtype=np.int32)
    symbol_code = rank[np.concatenate(rows.symbol)]
    time = np.concatenate(rows.time)
    first_seen, different = pd.factorize(time)
    dates = np.sort(different)
    date_code = np.searchsorted(dates, different).astype(np.int32)[first_seen]
    key = symbol_code.astype(np.int64) * len(dates) + date_code
    order = None if np.all(key[1:] > key[:-1]) else np.argsort(key, kind="stable")
    if order is not None:
        _check_order(rows, symbol_code, time, key, order)
        symbol_code, date_code = symbol_code[order], date_code[order]
    columns: dict[str, NDArray[np.float64]] = {}
    for name in list(rows.columns):
        values = np.concatenate(rows.columns.pop(name))
        columns[name] = values if order is None else values[order]
    return Panel(
        symbols=np.array(list(rows.names), dtype=np.str_)[order_of_names],
        dates=dates.view("datetime64[ns]"),
        symbol_code=symbol_code,
        date_code=date_code,
        columns=columns,
    )


def _check_order(
    rows: _Rows, symbol: NDArray[np.int32], time: NDArray[np.int64], key: NDArray[np.int64], order: NDArray
) -> None:
    """Refuse repeated pairs, then bars that step back in time within a file; ``order`` sorts by ``key``."""
    sorted_key = key[order]
    repeated = np.flatnonzero(sorted_key[1:] == sorted_key[:-1])
    if len(repeated):
        pairs = [_describe_pair(rows, symbol, time, order[at], order[at + 1]) for at in repeated[:3]]
        raise ValueError(f"{len(repeated)} duplicate (symbol, timestamp): " + "; ".join(pairs))
    file = pd.factorize(np.array(rows.paths, dtype=object))[0]
    of_row = np.repeat(file, np.diff(rows.starts))
    by_file = np.lexsort((symbol, of_row))  # stable: rows of a symbol stay in the order of the file
    same = (np.diff(symbol[by_file]) == 0) & (np.diff(of_row[by_file]) == 0)
    back = np.flatnonzero(same & (np.diff(time[by_file]) < 0))
    if len(back):
        pairs = [_describe_pair(rows, symbol, time, by_file[at], by_file[at + 1]) for at in back[:3]]
        raise ValueError(
            f"unsorted: {len(back)} bars are earlier than the bar of their symbol before them: "
            + "; ".join(pairs)
        )


def _describe_pair(
    rows: _Rows, symbol: NDArray[np.int32], time: NDArray[np.int64], first: int, second: int
) -> str:
    (one, row), (other, other_row) = rows.place(first), rows.place(second)
    name = sorted(rows.names)[symbol[second]]
    return f"{name} at {pd.Timestamp(time[second])} ({one} row {row} and {other} row {other_row})"
