"""A table whose columns say when, and a column, its name or its folder whose bars they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factor_data.reading.place import Place
from factor_data.reading.stamps import Stamps, parse_stamps
from factor_data.reading.table import to_symbols
from factor_data.reading.tabular import BarFile
from factor_data.reading.time_of_day import time_of_day

APART = "bars of different lengths are imported apart"


@dataclass(frozen=True, kw_only=True)
class KeyedFile(BarFile):
    """Bars with a column of stamps."""

    time_column: str
    day_time_column: str | None = None
    """Time of day, where `time_column` holds days alone."""
    symbol_column: str | None = None
    symbol: str = ""
    """Whose all bars are, where no column says it, or the folder beside the column does."""
    interval_column: str | None = None
    """Where a table says how long its bars are; all have the one of `interval`."""
    interval: str = ""

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Return the columns that identify a bar within the file."""
        return tuple(
            c
            for c in (self.time_column, self.day_time_column, self.symbol_column, self.interval_column)
            if c is not None
        )

    def stamps(self, place: Place, rows: pa.Table) -> Stamps:
        """Return the times of the rows."""
        if self.interval_column is not None:
            self._check_interval(place, rows[self.interval_column])
        days = parse_stamps(place, rows[self.time_column], "timestamp", self.clock)
        if self.day_time_column is None:
            return days
        if (days.wall != days.wall.astype("datetime64[D]")).any() or days.zones != (None,):
            place.refuse(f"column {self.time_column!r} must hold days alone beside {self.day_time_column!r}")
        clock, code, _ = time_of_day(place, rows[self.day_time_column])
        wall, different = np.unique(days.values + clock[code], return_inverse=True)
        zero = np.zeros(len(wall), dtype=np.int64)
        return replace(days, wall=wall, zone=zero, code=different.astype(np.int64), written=wall)

    def symbols(self, place: Place, rows: pa.Table) -> NDArray[np.object_]:
        """Return the symbols of the rows."""
        if self.symbol_column is None:
            return np.full(rows.num_rows, self.symbol, dtype=object)
        symbols = to_symbols(place, rows[self.symbol_column], "symbol")
        if self.symbol and (other := symbols != self.symbol).any():
            place.refuse(f"the folder says that the symbol is {self.symbol!r}, its column does not in", other, symbols)
        return symbols

    def _check_interval(self, place: Place, column: pa.ChunkedArray) -> None:
        """Refuse bars of another length than the first has: they would be one symbol's bars side by side."""
        lengths = np.asarray(column.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=object)
        if (other := lengths != self.interval).any():
            name = f"column {self.interval_column!r}"
            place.refuse(f"{name} says that bars are of {self.interval!r}, not so in", other, lengths, rule=APART)
