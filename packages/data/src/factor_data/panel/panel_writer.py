"""Write a panel part after part: what `Panel.load` reads, byte for byte what one whole panel would be saved as."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from factor_data.atomic import write_json
from factor_data.panel.array_file import write_header
from factor_data.panel.header import FORMAT, HEADER
from factor_data.sums import SUMS, write_sums
from factor_data.whole_file import open_held, room_told, temporary_of

REMAP_ROWS = 1 << 16


class PanelRows(Protocol):
    """Interface of a panel that can be written."""

    @property
    def symbols(self) -> NDArray[np.str_]:
        """Return the symbols, sorted."""

    @property
    def dates(self) -> NDArray[np.datetime64]:
        """Return the calendar, rising."""

    @property
    def symbol_code(self) -> NDArray[np.int32]:
        """Return (num_rows,) positions in `symbols`."""

    @property
    def date_code(self) -> NDArray[np.int32]:
        """Return (num_rows,) positions in `dates`."""

    @property
    def columns(self) -> Mapping[str, NDArray[np.float64]]:
        """Return the values by name, each (num_rows,)."""


class PanelWriter:
    """Appends panels that share `symbols` and `dates`, in symbol order, to the files of one saved panel.

    Use it as a context manager. Files grow under temporary names and take their place together when the block
    ends, the header and the digests last; on an error they are deleted and what was there before stays. With
    `compact` symbols and dates without any row are left out at the end, as `Panel.compact` does.

    Attributes: after the block, `symbols`, `dates` and `num_rows` of the panel as written.
    """

    def __init__(self, directory: str | Path, compact: bool = False) -> None:
        self.directory = Path(directory)
        self.compact = compact
        self.symbols: NDArray[np.str_] = np.empty(0, dtype=np.str_)
        self.dates: NDArray[np.datetime64] = np.empty(0, dtype="datetime64[ns]")
        self.num_rows = 0
        self._names: list[str] = []
        self._files: dict[str, IO[bytes]] = {}
        self._header_bytes: dict[str, int] = {}
        self._seen_symbol = self._seen_date = np.empty(0, dtype=bool)
        self._last_symbol = -1

    def __enter__(self) -> PanelWriter:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            for file in self._files.values():
                with suppress(OSError):  # what it still holds does not fit: the error is told already
                    file.close()
                Path(file.name).unlink(missing_ok=True)

    def append(self, panel: PanelRows) -> None:
        """Add the rows of a panel whose symbols all come after those written so far."""
        if not self._files:
            self._start(panel)
        codes = panel.symbol_code
        if list(panel.columns) != self._names or len(panel.symbols) != len(self.symbols):
            raise ValueError(f"parts of one panel must share symbols, dates and the columns {self._names}")
        if len(codes) and codes[0] <= self._last_symbol:
            raise ValueError(f"symbol {self.symbols[codes[0]]} is not after {self.symbols[self._last_symbol]}")
        arrays: dict[str, NDArray] = {"symbol_code": codes, "date_code": panel.date_code}
        arrays |= zip(column_files(self._names).values(), panel.columns.values(), strict=True)
        for stem, values in arrays.items():
            with self._room_told(stem, self.num_rows * values.itemsize + values.nbytes):
                np.ascontiguousarray(values).tofile(self._files[stem])
        self.num_rows += len(codes)
        self._seen_symbol[codes] = True
        self._seen_date[panel.date_code] = True
        if len(codes):
            self._last_symbol = int(codes[-1])

    def _start(self, panel: PanelRows) -> None:
        self.symbols, self.dates = np.asarray(panel.symbols), np.asarray(panel.dates)
        self._seen_symbol = np.zeros(len(self.symbols), dtype=bool)
        self._seen_date = np.zeros(len(self.dates), dtype=bool)
        self._names = list(panel.columns)
        kinds: dict[str, type] = {"symbol_code": np.int32, "date_code": np.int32}
        kinds |= dict.fromkeys(column_files(self._names).values(), np.float64)
        for stem, kind in kinds.items():
            self._files[stem] = self._open(stem)
            self._header_bytes[stem] = write_header(self._files[stem], (0,), np.dtype(kind))

    def _open(self, stem: str) -> IO[bytes]:
        return open_held(temporary_of(self.directory / f"{stem}.npy"))

    def _room_told(self, stem: str, num_bytes: int | None = None) -> AbstractContextManager[None]:
        return room_told(self.directory / f"{stem}.npy", Path(self._files[stem].name), num_bytes)

    def _finish(self) -> None:
        if not self._files:
            raise ValueError(f"{self.directory}: no panel was given to write")
        if self.compact:
            self._drop_unused()
        for stem, names in {"symbols": self.symbols, "dates": self.dates}.items():
            self._files[stem] = self._open(stem)
            with self._room_told(stem, names.nbytes):
                np.save(self._files[stem], names, allow_pickle=False)
        for stem, file in self._files.items():
            with self._room_told(stem):
                if stem in self._header_bytes:
                    file.seek(0)
                    kind = np.dtype(np.int32 if stem.endswith("_code") else np.float64)
                    assert write_header(file, (self.num_rows,), kind) == self._header_bytes[stem]
                file.flush()
                os.fsync(file.fileno())
        (self.directory / SUMS).unlink(missing_ok=True)  # until all is in its place the folder holds no panel
        for stem, file in self._files.items():
            Path(file.name).replace(self.directory / f"{stem}.npy")
        header = {"format": FORMAT, "num_rows": self.num_rows, "num_dates": len(self.dates)}
        columns = {name: f"{stem}.npy" for name, stem in column_files(self._names).items()}
        write_json(self.directory / HEADER, {**header, "num_symbols": len(self.symbols), "columns": columns})
        write_sums(self.directory)

    def _drop_unused(self) -> None:
        """Leave out symbols and dates that no row has, and count the codes anew, some rows at a time."""
        for stem, seen in (("symbol_code", self._seen_symbol), ("date_code", self._seen_date)):
            if seen.all():
                continue
            new_code = (np.cumsum(seen) - 1).astype(np.int32)
            file, first = self._files[stem], self._header_bytes[stem]
            for row in range(0, self.num_rows, REMAP_ROWS):
                file.seek(first + 4 * row)
                codes = np.frombuffer(file.read(4 * min(REMAP_ROWS, self.num_rows - row)), dtype=np.int32)
                file.seek(first + 4 * row)
                file.write(new_code[codes].tobytes())
        self.symbols, self.dates = self.symbols[self._seen_symbol], self.dates[self._seen_date]


def column_files(names: Sequence[str]) -> dict[str, str]:
    """Name -> file name without its ending, in order; names that differ only in odd characters stay apart."""
    return {name: f"column_{re.sub('[^A-Za-z0-9]+', '_', name)}_{i}" for i, name in enumerate(names)}
