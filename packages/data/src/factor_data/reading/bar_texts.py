"""Columns of text beside bars as news: a document per value, known with its bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factor_data.reading.config import ReadConfig
from factor_data.reading.header import Header, shown
from factor_data.reading.place import Place
from factor_data.reading.raw import PLAIN, Raw, read_batches
from factor_data.reading.stamps import is_text
from factor_data.reading.table import Table, frame_of
from factor_data.reading.tabular import BarFile, BarSource
from factor_data.reading.wide import WideFile
from factor_data.reading.zones import OneZone


@dataclass(frozen=True, kw_only=True)
class BarTexts:
    """Columns of text of one file of bars."""

    bars: BarFile
    """Says whose the rows are, and of when."""
    texts: tuple[str, ...]
    """Columns of the file."""

    @property
    def path(self) -> str:
        """Return the path that messages name."""
        return self.bars.path

    def size(self) -> int:
        """Return the size in bytes."""
        return self.bars.size()

    def tables(self, zone: OneZone, batch_rows: int) -> Iterator[Table]:
        """Yield tables of timestamp, symbol, text, a row for each value that is not empty."""
        needed = list(dict.fromkeys([*self.bars.key_columns, *self.texts]))
        for raw in read_batches(self.bars.file, needed, batch_rows, self.bars.dialect or PLAIN):
            place = Place(self.path, raw.first_row)
            stamps = self.bars.stamps(place, raw.rows)
            symbols, known = self.bars.symbols(place, raw.rows), zone.add(place, stamps)
            for name in self.texts:
                values, has_text = _documents(place, raw, name)
                if has_text.any():
                    columns = {"timestamp": stamps.values, "symbol": symbols, "text": values}
                    frame = frame_of({key: column[has_text] for key, column in columns.items()})
                    yield Table(self.path, frame, known, raw.first_row, raw.share)


def _documents(place: Place, raw: Raw, name: str) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """The values of a column, and which of them are more than blanks."""
    column = raw.rows[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):  # Parquet's type of a column without any value
        column = column.cast(pa.string())
    if not is_text(column.type):
        place.refuse(f"texts: column {name!r} has type {column.type}; it must be text")
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)
    return column.to_numpy(zero_copy_only=False), ~np.asarray(blank, dtype=bool)


def bar_texts(bars: Sequence[BarSource], headers: Sequence[Header], config: ReadConfig) -> list[BarTexts]:
    """The texts of files of bars, none where the configuration names no column; ValueError where a file has none."""
    if not config.texts:
        return []
    for header in headers:
        if missing := [name for name in config.texts if name not in header.names]:
            raise ValueError(f"{header.file}: texts: there is no column {missing[0]!r}; found {shown(header.names)}")
    found = [BarTexts(bars=one, texts=config.texts) for one in bars if isinstance(one, BarFile)]
    if wide := [one for one in found if isinstance(one.bars, WideFile)]:
        raise ValueError(f"{wide[0].path}: texts: a table of many symbols side by side does not say whose a text is")
    return found
