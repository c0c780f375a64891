"""Sort bars on disk: files in any order become panels of whole symbols, in symbol order, within bounded memory.

Rows arrive once. As many as fit are sorted by symbol and written as one run; the bars of a range of symbols are then
one stretch of every run. Input that is sorted already, or small, takes the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.chunks.saved_panel import whole_groups
from factor_data.chunks.workers import COPIES, Workers
from factor_data.cleaning.bars import NOTHING_SEEN, ColumnFacts, Seen, column_facts, seen_values
from factor_data.panel.array_file import ArrayFile
from factor_data.panel.markets import Rows
from factor_data.panel.panel import Panel
from factor_data.reading.table import Table

KEYS = ("time", "position")
NUM_NAMED = 3
RULES = (
    "{} duplicate (symbol, timestamp): ",
    "unsorted: {} bars are earlier than the bar of their symbol before them (sort: true, --sort, reads rows in any "
    "order): ",
)


@dataclass(frozen=True, eq=False)
class _Run:
    """Rows sorted by symbol name, in order of arrival within a symbol."""

    files: dict[str, ArrayFile]
    codes: NDArray[np.int64]  # (num_symbols,) symbols of the run, by name: numbers in order of first arrival
    starts: NDArray[np.int64]  # (num_symbols + 1,) their rows


@dataclass(frozen=True, eq=False)
class _Arrivals:
    """Source file and row of the n-th row of the whole input."""

    paths: list[str] = field(default_factory=list)
    first_rows: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)  # number of the table's first row in the input

    def file(self, position: NDArray[np.int64]) -> NDArray[np.int64]:
        """The table, and by its path the file, of each position."""
        names = pd.factorize(np.array(self.paths, dtype=object))[0]
        return names[np.searchsorted(self.positions, position, side="right") - 1]

    def place(self, position: int) -> str:
        """File and row of one position."""
        table = int(np.searchsorted(self.positions, position, side="right")) - 1
        return f"{self.paths[table]} row {self.first_rows[table] + position - self.positions[table]}"


class SortedBars:
    """Bars sorted on disk; made by `sort_bars`, readable as long as its scratch folder is there.

    Attributes
    ----------
    symbols, dates : as in `Panel`, over all rows
    counts : (num_symbols,) int64, rows of each symbol
    column_names : of the numbers, in the order of the first file
    facts : columns without a value, and of volume and amount those without one above 0, in the whole
    """

    def __init__(
        self,
        runs: list[_Run],
        names: list[str],
        dates: NDArray[np.datetime64],
        column_names: tuple[str, ...],
        arrivals: _Arrivals,
        facts: ColumnFacts,
    ) -> None:
        unsorted = np.array(names, dtype=np.str_)
        order = np.argsort(unsorted)
        self.symbols: NDArray[np.str_] = unsorted[order]
        self.dates, self.column_names, self.facts = dates, column_names, facts
        self._rank = np.empty(len(names), dtype=np.int32)
        self._rank[order] = np.arange(len(names), dtype=np.int32)
        self._runs, self._arrivals = runs, arrivals
        self.counts = np.zeros(len(names), dtype=np.int64)
        for run in runs:
            self.counts[self._rank[run.codes]] += np.diff(run.starts)

    @property
    def num_rows(self) -> int:
        """Return the number of bars."""
        return int(self.counts.sum())

    @property
    def row_bytes(self) -> int:
        """Bytes of a row as it is read."""
        return 8 * (len(self.column_names) + len(KEYS))

    @property
    def rows(self) -> Rows:
        """When each symbol has bars, read symbol by symbol."""
        starts = np.r_[0, np.cumsum(self.counts)]
        return Rows(symbols=self.symbols, dates=self.dates, starts=starts, read=partial(self._dates, starts))

    def _dates(self, starts: NDArray[np.int64], first: int, last: int) -> NDArray[np.int64]:
        """Date codes of the rows `first` up to `last`, which are of one symbol."""
        symbol = int(np.searchsorted(starts, first, side="right")) - 1
        time = np.sort(self._column("time", (symbol, symbol + 1))).view("datetime64[ns]")
        return np.searchsorted(self.dates, time[first - starts[symbol] : last - starts[symbol]])

    def parts(self, max_rows: int) -> list[tuple[int, int]]:
        """Ranges of symbols with at most `max_rows` rows together; a longer symbol is a part alone."""
        return whole_groups(self.counts, max_rows)

    def read(self, symbols: tuple[int, int]) -> Panel:
        """The bars of a range of symbols as a panel that has all the symbols and dates of the input.

        ValueError for a repeated (symbol, timestamp), or a bar earlier than the bar of its symbol before it in the
        same file, with the files and rows; it counts and names those of the whole input.
        """
        rank, time = self._keys(symbols)
        first_seen, different = pd.factorize(time)
        date = np.searchsorted(self.dates, different.view("datetime64[ns]")).astype(np.int32)[first_seen]
        order = None
        if not _increases(rank, date):
            order = np.argsort(rank, kind="stable")  # runs are in order of arrival, so this is the order of each file
            if not _increases(rank[order], date[order]):
                self._check(symbols)
                order = np.lexsort((date, rank))
            rank, date = rank[order], date[order]
        columns = {name: self._column(name, symbols) for name in self.column_names}
        return Panel(
            symbols=self.symbols,
            dates=self.dates,
            symbol_code=rank,
            date_code=date,
            columns=columns if order is None else {name: v[order] for name, v in columns.items()},
        )

    def _stretches(self, symbols: tuple[int, int]) -> list[tuple[_Run, int, int]]:
        """For each run: which of its symbols fall into the range `symbols` of all."""
        found = [(run, np.searchsorted(self._rank[run.codes], symbols).tolist()) for run in self._runs]
        return [(run, low, high) for run, (low, high) in found if high > low]

    def _column(self, name: str, symbols: tuple[int, int]) -> NDArray:
        return np.concatenate(
            [
                run.files[name].read(int(run.starts[low]), int(run.starts[high]))
                for run, low, high in self._stretches(symbols)
            ]
        )

    def _keys(self, symbols: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Symbol and time of the rows of a part, run after run."""
        rank = [
            np.repeat(self._rank[run.codes[low:high]], np.diff(run.starts[low : high + 1]))
            for run, low, high in self._stretches(symbols)
        ]
        return np.concatenate(rank), self._column("time", symbols)

    def _check(self, symbols: tuple[int, int]) -> None:
        """Refuse what a part has wrong, counted over the whole input: the message does not depend on the parts."""
        if all(count == 0 for count, _ in self._offenders(symbols)):
            return
        found = [self._offenders(part) for part in self.parts(int(self.counts[slice(*symbols)].sum()))]
        for which, rule in enumerate(RULES):
            if count := sum(offenders[which][0] for offenders in found):
                first = [text for offenders in found for text in offenders[which][1]][:NUM_NAMED]
                raise ValueError(rule.format(count) + "; ".join(first))

    def _offenders(self, symbols: tuple[int, int]) -> list[tuple[int, list[str]]]:
        """For each of `RULES` how many pairs of rows break it, and the first in (symbol, time) order as text."""
        rank, time = self._keys(symbols)
        position = self._column("position", symbols)
        by_time = np.lexsort((position, time, rank))
        repeated = (np.diff(rank[by_time]) == 0) & (np.diff(time[by_time]) == 0)
        arrived = np.lexsort((position, rank))
        back = (np.diff(rank[arrived]) == 0) & (np.diff(time[arrived]) < 0)
        back &= np.diff(self._arrivals.file(position[arrived])) == 0
        result = []
        for order, hit in ((by_time, repeated), (arrived, back)):
            pairs = [order[at : at + 2].tolist() for at in np.flatnonzero(hit)[:NUM_NAMED]]
            texts = [
                f"{self.symbols[rank[second]]} at {pd.Timestamp(time[second])} "
                f"({self._arrivals.place(position[first])} and {self._arrivals.place(position[second])})"
                for first, second in pairs
            ]
            result.append((int(hit.sum()), texts))
        return result


def sort_bars(tables: Iterable[Table], scratch: Path, workers: Workers) -> SortedBars:
    """Take in tables of bars, once, and leave them sorted in the folder `scratch`.

    Parameters
    ----------
    tables : as a reader yields them, checked each for itself; they must share columns and time zone
    scratch : an existing folder; it takes about as many bytes as the numbers do in memory
    workers : how much memory there is; a table that needs more is a run of its own
    """
    sorter = _Sorter(scratch, workers.max_bytes // COPIES)
    for table in tables:
        sorter.add(table)
    return sorter.finish()


class _Sorter:
    """Collects tables until a run is full."""

    def __init__(self, scratch: Path, run_bytes: int) -> None:
        self.scratch, self.run_bytes = scratch, run_bytes
        self.number: dict[str, int] = {}  # symbol -> number in order of first arrival
        self.dates = np.empty(0, dtype="datetime64[ns]")
        self.arrivals = _Arrivals()
        self.runs: list[_Run] = []
        self.waiting: list[dict[str, NDArray]] = []
        self.waiting_bytes = self.num_rows = 0
        self.first: Table | None = None
        self.seen: dict[str, Seen] = {}

    def add(self, table: Table) -> None:
        if self.first is None:
            self.first = table
        columns = [str(name) for name in self.first.frame.columns if name not in ("timestamp", "symbol")]
        codes, names = pd.factorize(table.frame["symbol"])
        numbers = np.array([self.number.setdefault(str(name), len(self.number)) for name in names])
        rows = len(table.frame)
        arrays = {
            "code": numbers[codes],
            "time": table.frame["timestamp"].to_numpy().astype("datetime64[ns]").view(np.int64),
            "position": np.arange(self.num_rows, self.num_rows + rows),
            **{name: table.frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in columns},
        }
        for name in columns:
            self.seen[name] = seen_values(arrays[name], self.seen.get(name, NOTHING_SEEN))
        self.arrivals.paths.append(table.path)
        self.arrivals.first_rows.append(table.first_row)
        self.arrivals.positions.append(self.num_rows)
        self.num_rows += rows
        size = 8 * rows * len(arrays)
        if self.waiting and self.waiting_bytes + size > self.run_bytes:
            self.write_run()
        self.waiting.append(arrays)
        self.waiting_bytes += size

    def write_run(self) -> None:
        arrays = {name: np.concatenate([part[name] for part in self.waiting]) for name in self.waiting[0]}
        self.waiting, self.waiting_bytes = [], 0
        names = np.array(list(self.number), dtype=np.str_)
        present, code = np.unique(arrays.pop("code"), return_inverse=True)
        by_name = np.argsort(names[present])
        rank = np.empty(len(present), dtype=np.int64)
        rank[by_name] = np.arange(len(present))
        code = rank[code]
        order = None if np.all(code[1:] >= code[:-1]) else np.argsort(code, kind="stable")
        self.dates = np.union1d(self.dates, pd.unique(arrays["time"]).view("datetime64[ns]"))
        files = {}
        for number, (name, values) in enumerate(arrays.items()):
            path = self.scratch / f"run_{len(self.runs)}_{number}.npy"
            files[name] = ArrayFile.create(path, values.shape, values.dtype)
            files[name].write(0, values if order is None else values[order])
        starts = np.r_[0, np.cumsum(np.bincount(code, minlength=len(present)))]
        self.runs.append(_Run(files, present[by_name], starts))

    def finish(self) -> SortedBars:
        if self.first is None:
            raise ValueError("no table of bars was given")
        if self.waiting:
            self.write_run()
        columns = tuple(name for name in self.runs[0].files if name not in KEYS)
        return SortedBars(self.runs, list(self.number), self.dates, columns, self.arrivals, column_facts(self.seen))


def _increases(rank: NDArray[np.int32], date: NDArray[np.int32]) -> bool:
    """Return True if the rows are sorted by (symbol, date), no pair twice."""
    same = rank[1:] == rank[:-1]
    return bool(np.all((rank[1:] > rank[:-1]) | (same & (date[1:] > date[:-1]))))
