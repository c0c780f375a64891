"""A Parquet or CSV file of which a layout has said what its columns mean, read as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from factor_data.reading.place import Place
from factor_data.reading.raw import Raw, read_batches
from factor_data.reading.sources import File
from factor_data.reading.stamps import parse_stamps
from factor_data.reading.table import Table, to_numbers, to_symbols
from factor_data.reading.zones import OneZone


@dataclass(frozen=True, kw_only=True)
class BarFile:
    """How one file holds bars."""

    file: File
    time: str
    # column with the timestamps
    symbol: str
    # column with the symbols
    numbers: Mapping[str, str]
    # our name of each number column -> its name in the file

    @property
    def path(self) -> str:
        return self.file.path

    def tables(self, zone: OneZone, batch_rows: int) -> Iterator[Table]:
        """Yield checked tables of ``batch_rows`` rows, the last one of fewer; a file without rows is refused."""
        num_rows = 0
        for raw in read_batches(self.file, self._columns, batch_rows):
            num_rows += raw.rows.num_rows
            yield self._table(raw, zone)
        if not num_rows:
            raise ValueError(f"{self.path}: holds no row")

    @property
    def _columns(self) -> list[str]:
        return list(dict.fromkeys([self.time, self.symbol, *self.numbers.values()]))

    def _table(self, raw: Raw, zone: OneZone) -> Table:
        place = Place(self.path, raw.first_row)
        stamps = parse_stamps(place, raw.rows[self.time], "timestamp")
        columns = {"timestamp": stamps.values, "symbol": to_symbols(place, raw.rows[self.symbol], "symbol")}
        from_csv = self.file.suffix == ".csv"
        for name, column in self.numbers.items():
            columns[name] = to_numbers(place, raw.rows[column], name, from_csv)
        frame = pd.DataFrame({name: _series(values) for name, values in columns.items()}, copy=False)
        return Table(self.path, frame, zone.add(place, stamps), raw.first_row)


def _series(values: np.ndarray) -> pd.Series:
    return pd.Series(values, dtype=values.dtype, copy=False)
