"""A Parquet or CSV file of which a layout has said what its columns mean, read as checked tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from factor_data.bar_columns import REQUIRED_COLUMNS
from factor_data.reading.clock import ISO_CLOCK, Clock
from factor_data.reading.config import ReadConfig
from factor_data.reading.dialect import Dialect
from factor_data.reading.header import Header
from factor_data.reading.place import Place
from factor_data.reading.raw import PLAIN, Raw, read_batches
from factor_data.reading.sources import File
from factor_data.reading.stamps import Stamps
from factor_data.reading.table import Table, frame_of, to_numbers
from factor_data.reading.zones import OneZone


class BarSource(Protocol):
    """Bars of one file, or of a folder that stands for a symbol, as its layout reads them."""

    @property
    def path(self) -> str:
        """Return the path that messages name."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the number columns of its tables, in their order."""

    def size(self) -> int:
        """Bytes to read, for progress bars."""

    def tables(self, zone: OneZone, batch_rows: int) -> Iterator[Table]:
        """Yield the bars in tables of at most `batch_rows` rows."""

    def keys_only(self) -> BarSource:
        """The same without number columns."""


@dataclass(frozen=True, kw_only=True)
class BarFile(ABC):
    """A file with bars; its layout defines where stamps and symbols come from."""

    file: File
    numbers: Mapping[str, str]
    """Our name of each number column -> its name in the file."""
    absent: tuple[str, ...] = ()
    """Price columns that the layout may lack: all NaN."""
    dialect: Dialect | None = None
    """How CSV is written; None: Parquet."""
    clock: Clock = ISO_CLOCK
    """How stamps are written."""
    sort: bool = False
    """True if rows may be in any order of time."""
    may_be_empty: bool = False
    """True if a file with a header and no row is a symbol without bars rather than a mistake."""

    @abstractmethod
    def stamps(self, place: Place, rows: pa.Table) -> Stamps:
        """The timestamps of some rows."""

    @abstractmethod
    def symbols(self, place: Place, rows: pa.Table) -> NDArray[np.object_]:
        """The symbols of some rows."""

    @property
    @abstractmethod
    def key_columns(self) -> tuple[str, ...]:
        """The columns that `stamps` and `symbols` look at."""

    @property
    def path(self) -> str:
        """Return the path that messages name."""
        return self.file.path

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the numbers, those that the file lacks at the end."""
        return (*self.numbers, *self.absent)

    def size(self) -> int:
        """Return the size in bytes."""
        return self.file.size()

    def keys_only(self) -> BarFile:
        """Return the same source, of which only keys are read."""
        return replace(self, numbers={}, absent=())

    def tables(self, zone: OneZone, batch_rows: int) -> Iterator[Table]:
        """Yield checked tables of `batch_rows` rows, the last one of fewer; none if empty files may be.

        A file that begins newest first, or is to be sorted, is read whole and comes out oldest first.
        """
        tables = (self._table(raw, zone) for raw in self.batches(batch_rows))
        first = next(tables, None)
        if first is None:
            if not self.may_be_empty:
                raise ValueError(f"{self.path}: holds no row")
        elif self.sort or _is_newest_first(first.frame):
            yield from _sorted([first, *tables], batch_rows, must_descend=not self.sort)
        else:
            yield first
            yield from tables

    def batches(self, batch_rows: int) -> Iterator[Raw]:
        """Yield the columns that are needed as they are written."""
        needed = list(dict.fromkeys([*self.key_columns, *self.numbers.values()]))
        yield from read_batches(self.file, needed, batch_rows, self.dialect or PLAIN)

    def _table(self, raw: Raw, zone: OneZone) -> Table:
        place = Place(self.path, raw.first_row)
        stamps = self.stamps(place, raw.rows)
        columns = {"timestamp": stamps.values, "symbol": self.symbols(place, raw.rows)}
        for name, column in self.numbers.items():
            columns[name] = to_numbers(place, raw.rows[column], name, self.dialect)
        for name in self.absent:
            columns[name] = np.full(raw.rows.num_rows, np.nan)
        return Table(self.path, frame_of(columns), zone.add(place, stamps), raw.first_row, raw.share)


def format_of(header: Header, config: ReadConfig) -> dict[str, Any]:
    """The fields of a `BarFile` that say how the file is written."""
    return {"file": header.file, "dialect": header.dialect, "clock": config.clock, "sort": config.sort}


def _is_newest_first(frame: pd.DataFrame) -> bool:
    """Return True if each symbol's bars go back in time without exception, three bars or more."""
    steps = _steps(frame)
    return bool(len(steps) > 1 and (steps < 0).all())


def _steps(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Nanoseconds from each bar to the next bar of its symbol, in order of the rows."""
    code = pd.factorize(frame["symbol"].to_numpy())[0]
    order = np.argsort(code, kind="stable")
    time = frame["timestamp"].to_numpy().astype(np.int64)[order]
    return np.diff(time)[np.diff(code[order]) == 0]


def _sorted(tables: list[Table], batch_rows: int, *, must_descend: bool) -> Iterator[Table]:
    """The rows of a file oldest first, symbol after symbol; each keeps the number of its row in the file."""
    whole = pd.concat([table.frame for table in tables], ignore_index=True)
    last = tables[-1]
    if must_descend and (_steps(whole) > 0).any():
        raise ValueError(
            f"{last.path}: unsorted: it begins newest first and does not go on so; "
            "sort: true (--sort) reads rows in any order of time"
        )
    whole = whole.sort_values(["symbol", "timestamp"], kind="stable")
    for start in range(0, len(whole), batch_rows):
        part = whole.iloc[start : start + batch_rows]
        yield Table(last.path, part, last.zone, 1, min((start + len(part)) / len(whole), 1.0), was_sorted=True)


def absent_prices(numbers: Mapping[str, str]) -> tuple[str, ...]:
    """The columns every panel has and these numbers lack."""
    return tuple(name for name in REQUIRED_COLUMNS if name not in numbers)
