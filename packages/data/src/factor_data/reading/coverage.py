"""What an import saw: order, missing values and missing dates.

Counted in memory that grows with symbols and dates but not with bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.reading.bars import tables_of
from factor_data.reading.gather import check_keys
from factor_data.reading.table import Table
from factor_data.reading.tabular import BarSource

NEVER = np.iinfo(np.int64).min


@dataclass
class Coverage:
    """Counts over the bars of all tables; `add` them in the order they are read."""

    batch_rows: int
    num_bars: int = 0
    null_counts: dict[str, int] = field(default_factory=dict)
    zone: str | None = None
    paths: set[str] = field(default_factory=set)  # of the files with bars
    codes: dict[str, int] = field(default_factory=dict)  # symbol -> position in the arrays below
    count: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    first: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    last: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    last_in_file: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    doubtful: set[int] = field(default_factory=set)  # symbols whose files overlap in time
    dates: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, table: Table, source: BarSource) -> bool:
        """Count a table; bars of `source` that come twice or go back in time are refused.

        Returns whether every symbol goes on in time from the tables before, also those of other files.
        """
        frame = table.frame
        self.num_bars += len(frame)
        self.zone = table.zone
        for name in frame.columns[2:]:
            self.null_counts[name] = self.null_counts.get(name, 0) + int(np.isnan(frame[name].to_numpy()).sum())
        time = frame["timestamp"].to_numpy().astype(np.int64)
        self._meet_dates(pd.unique(time))
        local, names = pd.factorize(frame["symbol"].to_numpy())
        code = np.array([self.codes.setdefault(str(name), len(self.codes)) for name in names])[local]
        self._grow()
        if source.path not in self.paths:
            self.paths.add(source.path)
            self.last_in_file[:] = NEVER
        return self._follow(code, time, source)

    def _meet_dates(self, dates: NDArray[np.int64]) -> None:
        known = np.searchsorted(self.dates, dates)
        known[known == len(self.dates)] = 0
        if not len(self.dates) or (self.dates[known] != dates).any():
            self.dates = np.union1d(self.dates, dates)

    def _grow(self) -> None:
        new = len(self.codes) - len(self.count)
        self.count = np.append(self.count, np.zeros(new, np.int64))
        self.first = np.append(self.first, np.full(new, np.iinfo(np.int64).max))
        self.last = np.append(self.last, np.full(new, NEVER))
        self.last_in_file = np.append(self.last_in_file, np.full(new, NEVER))

    def _follow(self, code: NDArray[np.int64], time: NDArray[np.int64], source: BarSource) -> bool:
        order = slice(None) if np.all(code[1:] >= code[:-1]) else np.argsort(code, kind="stable")
        symbol, stamp = code[order], time[order]
        start = np.flatnonzero(np.append(True, symbol[1:] != symbol[:-1]))
        end = np.append(start[1:], len(symbol)) - 1
        here = symbol[start]
        forward = np.append(True, stamp[1:] > stamp[:-1])
        forward[start] = stamp[start] > self.last_in_file[here]
        if not forward.all():
            check_keys(tables_of([source.keys_only()], self.batch_rows), self.codes)
        begins = self.last_in_file[here] == NEVER
        steps_back = (stamp[start] <= self.last[here]) & (self.count[here] > 0)
        overlaps = begins & steps_back
        self.doubtful.update(here[overlaps].tolist())
        self.first[here] = np.minimum(self.first[here], stamp[start])
        self.last[here] = np.maximum(self.last[here], stamp[end])
        self.last_in_file[here] = stamp[end]
        self.count[here] += end - start + 1
        return not steps_back.any()

    def check_overlaps(self, sources: Sequence[BarSource]) -> None:
        """Refuse bars that come in two files. Only symbols whose files overlap in time are read again."""
        if self.doubtful:
            names = {name for name, code in self.codes.items() if code in self.doubtful}
            check_keys(tables_of([source.keys_only() for source in sources], self.batch_rows), names)

    def lost_share(self) -> float:
        """Share of the bars, about, whose entry or exit has no bar if all symbols count the same dates."""
        span = np.searchsorted(self.dates, self.last) - np.searchsorted(self.dates, self.first) + 1
        return float((self.count * (1 - (self.count / span) ** 2)).sum() / max(self.num_bars, 1))

    def missing_dates(self) -> dict[str, int]:
        """Symbol -> dates of the calendar between its first and last bar without a bar, most first."""
        span = np.searchsorted(self.dates, self.last) - np.searchsorted(self.dates, self.first) + 1
        missing = span - self.count
        names = list(self.codes)
        order = np.lexsort((np.array(names, dtype=np.str_), -missing))
        return {names[at]: int(missing[at]) for at in order if missing[at]}
