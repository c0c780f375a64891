"""A Parquet or CSV file of which a layout has said what its columns mean, read as checked tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factor_data.panel.panel import REQUIRED_COLUMNS
from factor_data.reading.place import Place
from factor_data.reading.raw import Raw, read_batches
from factor_data.reading.sources import File
from factor_data.reading.stamps import Stamps
from factor_data.reading.table import Table, frame_of, to_numbers
from factor_data.reading.zones import OneZone


@dataclass(frozen=True)
class Header:
    """A file and the names of its columns."""

    file: File
    names: list[str]

    def require(self, *needed: str) -> None:
        """Refuse the file for the first column it lacks."""
        missing = [name for name in needed if name not in self.names]
        if missing:
            raise ValueError(
                f"{self.file}: column {missing[0]!r} is missing; needed are {list(needed)}, found {self.names}"
            )


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
        """Yield checked tables of `batch_rows` rows, the last one of fewer; none if empty files may be."""
        is_empty = True
        needed = list(dict.fromkeys([*self.key_columns, *self.numbers.values()]))
        for raw in read_batches(self.file, needed, batch_rows):
            is_empty = False
            yield self._table(raw, zone)
        if is_empty and not self.may_be_empty:
            raise ValueError(f"{self.path}: holds no row")

    def _table(self, raw: Raw, zone: OneZone) -> Table:
        place = Place(self.path, raw.first_row)
        stamps = self.stamps(place, raw.rows)
        columns = {"timestamp": stamps.values, "symbol": self.symbols(place, raw.rows)}
        for name, column in self.numbers.items():
            columns[name] = to_numbers(place, raw.rows[column], name, self.file.suffix == ".csv")
        for name in self.absent:
            columns[name] = np.full(raw.rows.num_rows, np.nan)
        return Table(self.path, frame_of(columns), zone.add(place, stamps), raw.first_row, raw.share)


def absent_prices(numbers: Mapping[str, str]) -> tuple[str, ...]:
    """The columns every panel has and these numbers lack."""
    return tuple(name for name in REQUIRED_COLUMNS if name not in numbers)
