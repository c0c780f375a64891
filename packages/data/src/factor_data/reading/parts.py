"""Tables written as Parquet files of a folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from factor_data.parquet import CHECKSUMS
from factor_data.reading.table import Table
from factor_data.whole_file import room_told

ROW_GROUP_ROWS = 2**17
PART_ROWS = 2**22  # small files are joined until a part has as many


class Parts:
    """Parquet files part-00000.parquet, part-00001.parquet ... of a folder, synced to disk one by one."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder, self.schema = folder, schema
        self.writer: pq.ParquetWriter | None = None
        self.waiting: list[pa.Table] = []
        self.num_parts = self.num_rows = self.num_waiting = 0
        self.source = ""

    def __enter__(self) -> Parts:
        self.folder.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish_part()
        elif self.writer is not None:
            with suppress(OSError):  # what it still holds does not fit: the error is told already
                self.writer.close()

    def add(self, table: Table, may_join: bool) -> None:
        """Append rows; a new source file starts a new part unless it may join and the part is not full."""
        if table.path != self.source and (not may_join or self.num_rows >= PART_ROWS):
            self.finish_part()
        self.source = table.path
        self.waiting.append(pa.Table.from_pandas(table.frame, schema=self.schema, preserve_index=False))
        self.num_rows += len(table.frame)
        self.num_waiting += len(table.frame)
        if self.num_waiting >= ROW_GROUP_ROWS:
            self._write()

    def finish_part(self) -> None:
        """Write what is waiting and sync the file."""
        self._write()
        if self.writer is None:
            return
        with room_told(self._path(), self._path()):
            self.writer.close()
            with self._path().open("rb") as file:
                os.fsync(file.fileno())
        self.writer, self.num_rows = None, 0
        self.num_parts += 1

    def _write(self) -> None:
        if not self.waiting:
            return
        with room_told(self._path(), self._path()):
            if self.writer is None:
                self.writer = pq.ParquetWriter(
                    self._path(), self.schema, compression="zstd", use_dictionary=["timestamp", "symbol"], **CHECKSUMS
                )
            self.writer.write_table(pa.concat_tables(self.waiting), row_group_size=ROW_GROUP_ROWS)
        self.waiting, self.num_waiting = [], 0

    def _path(self) -> Path:
        return self.folder / f"part-{self.num_parts:05d}.parquet"
