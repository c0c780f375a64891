"""A Parquet or CSV file of news documents, read as checked tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from factor_data.reading.clock import ISO_CLOCK, Clock
from factor_data.reading.config import ReadConfig
from factor_data.reading.dialect import Dialect
from factor_data.reading.header import Header
from factor_data.reading.place import Place
from factor_data.reading.raw import PLAIN, Raw, read_batches
from factor_data.reading.sources import File
from factor_data.reading.stamps import parse_stamps
from factor_data.reading.table import Table, frame_of, to_symbols, to_text
from factor_data.reading.zones import OneZone

NEWS_COLUMNS = ("timestamp", "symbol", "text")


@dataclass(frozen=True, kw_only=True)
class NewsFile:
    """How one file holds documents."""

    file: File
    time_column: str = "timestamp"
    symbol: str | None = None
    """Symbol of all documents; None: the column `symbol` has it."""
    day: np.datetime64 | None = None
    """Day in the file name, on which all documents must be."""
    dialect: Dialect | None = None
    """How CSV is written; None: Parquet."""
    clock: Clock = ISO_CLOCK
    """How stamps are written."""

    @property
    def path(self) -> str:
        """Return the path that messages name."""
        return self.file.path

    def size(self) -> int:
        """Return the size in bytes."""
        return self.file.size()

    def tables(self, zone: OneZone, batch_rows: int) -> Iterator[Table]:
        """Yield tables of timestamp, symbol, text; a file without rows is refused."""
        is_empty = True
        columns = [self.time_column, "text", *([] if self.symbol else ["symbol"])]
        for raw in read_batches(self.file, columns, batch_rows, self.dialect or PLAIN):
            is_empty = False
            yield self._table(raw, zone)
        if is_empty:
            raise ValueError(f"{self.path}: holds no row")

    def _table(self, raw: Raw, zone: OneZone) -> Table:
        place = Place(self.path, raw.first_row)
        stamps = parse_stamps(place, raw.rows[self.time_column], self.time_column, self.clock)
        if self.day is not None:
            wrong = stamps.values.astype("datetime64[D]") != self.day
            if wrong.any():
                place.refuse(
                    f"{self.time_column} must be on {self.day}, the day in the file name, is not in",
                    wrong,
                    stamps.written[stamps.code],
                )
        symbols = (
            np.full(raw.rows.num_rows, self.symbol, dtype=object)
            if self.symbol
            else to_symbols(place, raw.rows["symbol"], "symbol")
        )
        columns = {
            "timestamp": stamps.values,
            "symbol": symbols,
            "text": to_text(place, raw.rows["text"], "text"),
        }
        return Table(self.path, frame_of(columns), zone.add(place, stamps), raw.first_row, raw.share)


def news_files(headers: Sequence[Header], config: ReadConfig) -> list[NewsFile]:
    """The files in the order given; a file that lacks a column is refused."""
    for header in headers:
        header.require(*NEWS_COLUMNS)
    return [NewsFile(file=header.file, dialect=header.dialect, clock=config.clock) for header in headers]
