"""One array in a `.npy` file, read and written by rows.

Plain file calls, no memory map: pages of a map count as resident memory, and a matrix larger than memory would
fill it while it is read once.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike, NDArray

Spans = NDArray[np.int64]
# (num_spans, 2) int64: row ranges [first, last), ascending and apart, read as one array in that order


@dataclass(frozen=True)
class ArrayFile:
    """A C-ordered array on disk; small enough to send to another process, which opens the file by itself."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int  # bytes before the first row

    @classmethod
    def create(cls, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> ArrayFile:
        """Make the file in full length, its rows 0 until they are written."""
        kind = np.dtype(dtype)
        with path.open("wb") as file:
            offset = write_header(file, shape, kind)
            file.truncate(offset + math.prod(shape) * kind.itemsize)
        return cls(path, shape, kind, offset)

    @classmethod
    def open(cls, path: Path) -> ArrayFile:
        """Read the header of an existing file; ValueError where it is no array in C order."""
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"{path}: .npy version {version}, this reads (1, 0)")
            shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
            if fortran and len(shape) > 1:
                raise ValueError(f"{path}: columns are stored one after the other; rows are needed")
            return cls(path, shape, kind, file.tell())

    @property
    def num_rows(self) -> int:
        """Return the length of the first axis."""
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Return the bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def read(self, first: int, last: int) -> NDArray:
        """Rows `first:last`."""
        return self.gather(np.array([[first, last]]))

    def gather(self, spans: Spans) -> NDArray:
        """Read the rows of the spans, one span after the other."""
        merged = merge_adjacent(spans)
        result = np.empty((int((merged[:, 1] - merged[:, 0]).sum()), *self.shape[1:]), dtype=self.dtype)
        view, done = result.reshape(-1).view(np.uint8).data, 0
        with self.path.open("rb", buffering=0) as file:
            for start, size in self._bytes(merged):
                _read_exactly(file, view[done : done + size], start)
                done += size
        return result

    def write(self, first: int, values: NDArray) -> None:
        """Write rows from `first` on."""
        self.scatter(np.array([[first, first + len(values)]]), values)

    def scatter(self, spans: Spans, values: NDArray) -> None:
        """Write what `gather` of the same spans will give."""
        merged = merge_adjacent(spans)
        count = int((merged[:, 1] - merged[:, 0]).sum())
        if values.shape != (count, *self.shape[1:]) or values.dtype != self.dtype:
            raise ValueError(
                f"{self.path}: {count} rows of {self.shape[1:]} {self.dtype} are due, got {values.shape} {values.dtype}"
            )
        view, done = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data, 0
        with self.path.open("r+b", buffering=0) as file:
            for start, size in self._bytes(merged):
                _write_exactly(file, view[done : done + size], start)
                done += size

    def _bytes(self, spans: Spans) -> list[list[int]]:
        """Return offset and length in the file of each span."""
        starts = self.offset + spans[:, 0] * self.row_bytes
        return np.column_stack([starts, (spans[:, 1] - spans[:, 0]) * self.row_bytes]).tolist()


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Write the `.npy` header as numpy does and return its length, the same for any number of rows."""
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.tell()


def merge_adjacent(spans: Spans) -> Spans:
    """Join spans that touch and drop empty ones: the same rows in fewer reads."""
    spans = spans[spans[:, 1] > spans[:, 0]]
    if len(spans) < 2:
        return spans
    apart = spans[1:, 0] != spans[:-1, 1]
    return np.column_stack([spans[np.r_[True, apart], 0], spans[np.r_[apart, True], 1]])


def _read_exactly(file: IO[bytes], view: memoryview, offset: int) -> None:
    done = 0
    while done < len(view):
        size = os.preadv(file.fileno(), [view[done:]], offset + done)
        if size == 0:
            raise ValueError(f"{file.name}: ends before byte {offset + len(view)}; is it truncated?")
        done += size


def _write_exactly(file: IO[bytes], view: memoryview, offset: int) -> None:
    done = 0
    while done < len(view):
        done += os.pwrite(file.fileno(), view[done:], offset + done)
