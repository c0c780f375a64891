"""Arrays whose rows lie symbol by symbol in time, and rows of a later date that go behind those of their symbols."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import Panel


def behind(symbol_code: NDArray[np.integer], new: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the order in which rows, and new ones behind them, lie symbol by symbol; places of the two in a row."""
    return np.argsort(np.concatenate([symbol_code, new]), kind="stable")


def put_behind(values: NDArray[Any], new: NDArray[Any] | None, order: NDArray[np.int64]) -> NDArray[Any]:
    """Return the rows of an array and of a new one in the order of `behind`, or those of them that it still names."""
    both = values if new is None else np.concatenate([values, new])
    return both.take(order, axis=0)


def from_end(symbol_code: NDArray[np.integer], counted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(num_rows,) how many counted rows its symbol has from each row to its last, the row included, at least 1."""
    if not len(symbol_code):
        return np.zeros(0, dtype=np.int64)
    total = np.cumsum(counted)
    last = np.r_[symbol_code[1:] != symbol_code[:-1], True]
    end = total[last][np.cumsum(last) - last]
    return np.maximum(end - total + counted, 1)


def with_names(names: NDArray[np.str_], more: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return sorted names with those that are new; the same array where none is."""
    place = np.minimum(np.searchsorted(names, more), len(names) - 1)
    known = names[place] == more if len(names) else np.zeros(len(more), dtype=bool)
    return names if known.all() else np.union1d(names, more)


def coded(names: NDArray[np.str_], old: NDArray[np.str_], code: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return codes of a table of names as codes of another one that has them all."""
    found: NDArray[np.int32] = np.asarray(code, dtype=np.int32)
    return found if names is old else np.searchsorted(names, old).astype(np.int32)[found]


def tail_of(panel: Panel, symbols: NDArray[np.integer], bars: int | None) -> tuple[Panel, NDArray[np.int64]]:
    """Return the last bars of some symbols, ascending, each of which has one, and where the last one of each is."""
    starts = panel.starts
    first, end = starts[symbols], starts[symbols + 1]
    rows, last = _runs(first if bars is None else np.maximum(first, end - bars), end)
    tail = replace(
        panel,
        symbol_code=panel.symbol_code.take(rows),
        date_code=panel.date_code.take(rows),
        columns={name: column.take(rows) for name, column in panel.columns.items()},
    )
    return tail, last


def _runs(begin: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the runs `begin[i]:end[i]` one after the other, and where in them the last one of each is."""
    lengths = end - begin
    after = np.cumsum(lengths)
    return np.arange(after[-1]) + np.repeat(begin - (after - lengths), lengths), after - 1
