"""Batches of rows of one Parquet or CSV file as Arrow tables.

Nothing is checked but that the file is what its name says.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from factor_data.parquet import VERIFIED
from factor_data.reading.dialect import Dialect
from factor_data.reading.sources import File

PLAIN = Dialect()
PARQUET_BUFFER_BYTES = 2**20
CSV_BLOCK_BYTES = 8 * 2**20  # what is parsed at a time; also the longest row


@dataclass(frozen=True)
class Raw:
    """Some rows of a file."""

    rows: pa.Table
    first_row: int  # the number of the first one in its file, from 1
    share: float  # of the file that has been read by now, about


def read_batches(file: File, columns: Sequence[str], batch_rows: int, dialect: Dialect = PLAIN) -> Iterator[Raw]:
    """Yield the rows of some columns, `batch_rows` at a time; CSV values are all text, "" where empty."""
    with file.open() as opened, said_of(file):
        if file.is_parquet:
            parts = _parquet_parts(opened, list(columns), batch_rows)
        else:
            parts = _csv_parts(opened, list(columns), dialect, file.size())
        yield from _in_batches(parts, batch_rows)


def _parquet_parts(opened: Any, columns: list[str], batch_rows: int) -> Iterator[tuple[pa.Table, float]]:
    # Arrow's default fetches all that was asked for at once; this holds a buffer per column
    reader = pq.ParquetFile(opened, pre_buffer=False, buffer_size=PARQUET_BUFFER_BYTES, **VERIFIED)
    num_read = 0
    for batch in reader.iter_batches(batch_size=batch_rows, columns=columns):
        num_read += batch.num_rows
        for column in batch.columns:
            if not pa.types.is_primitive(column.type):
                column.validate(full=True)  # damaged text is no UTF-8, and Arrow does not look by itself
        yield pa.Table.from_batches([batch]), num_read / max(reader.metadata.num_rows, 1)


def _csv_parts(opened: Any, columns: list[str], dialect: Dialect, size: int) -> Iterator[tuple[pa.Table, float]]:
    for batch in _csv_reader(opened, columns, dialect):
        share = opened.tell() / max(size, 1) if opened.seekable() else 1.0  # nobody knows of what is packed
        yield pa.Table.from_batches([batch]), share


def _csv_reader(opened: Any, columns: list[str], dialect: Dialect) -> pyarrow.csv.CSVStreamingReader:
    return pyarrow.csv.open_csv(
        opened,
        read_options=pyarrow.csv.ReadOptions(
            block_size=CSV_BLOCK_BYTES,
            use_threads=False,
            skip_rows=dialect.skip_lines,
            column_names=None if dialect.names is None else list(dialect.names),
        ),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, delimiter=dialect.separator),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
        ),
    )


def _in_batches(parts: Iterable[tuple[pa.Table, float]], batch_rows: int) -> Iterator[Raw]:
    """Cut and join tables so that each but the last has exactly `batch_rows` rows."""
    waiting: list[pa.Table] = []
    num_waiting, first_row, share = 0, 1, 0.0
    for part, share in parts:
        waiting.append(part)
        num_waiting += part.num_rows
        while num_waiting >= batch_rows:
            joined = pa.concat_tables(waiting)
            yield Raw(joined.slice(0, batch_rows), first_row, share)
            first_row += batch_rows
            num_waiting -= batch_rows
            waiting = [joined.slice(batch_rows)] if num_waiting else []  # an empty slice holds on to its table
    if num_waiting:
        yield Raw(pa.concat_tables(waiting), first_row, share)


@contextmanager
def said_of(file: File) -> Iterator[None]:
    """Turn what Arrow says of a damaged file into a ValueError that names it; a lack of memory is no damage."""
    try:
        yield
    except MemoryError as error:  # Arrow's own is an ArrowException as well
        raise MemoryError(f"{file}: {error or 'no memory is left'}") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        kind = "Parquet, is it truncated?" if file.is_parquet else "CSV"
        raise ValueError(f"{file}: cannot be read as {kind} ({(str(error) or repr(error)).splitlines()[0]})") from error
