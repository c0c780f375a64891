"""One array in a `.npy` file, read and written by rows.

Plain file calls, no memory map: pages of a map count as resident memory, and a matrix larger than memory would
fill it while it is read once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from factor_data.whole_file import room_told

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
        size = math.prod(shape) * kind.itemsize
        with room_told(path, path, size), path.open("wb") as file:
            offset = write_header(file, shape, kind)
            file.truncate(offset + size)
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
        return self._read([(first, max(first, last))])

    def gather(self, spans: Spans) -> NDArray:
        """Read the rows of the spans, one span after the other."""
        return self._read(merge_adjacent(spans).tolist())

    def write(self, first: int, values: NDArray) -> None:
        """Write rows from `first` on."""
        self._write([(first, first + len(values))], values)

    def scatter(self, spans: Spans, values: NDArray) -> None:
        """Write what `gather` of the same spans will give."""
        self._write(merge_adjacent(spans).tolist(), values)

    def _read(self, spans: Sequence[Sequence[int]]) -> NDArray:
        count, size, done = _num_rows(spans), self.row_bytes, 0
        result = np.empty((count, *self.shape[1:]), dtype=self.dtype)
        view = result.reshape(-1).view(np.uint8).data
        with self.path.open("rb", buffering=0) as file:
            for first, last in spans:
                end = done + (last - first) * size
                _read_exactly(file, view[done:end], self.offset + first * size)
                done = end
        return result

    def _write(self, spans: Sequence[Sequence[int]], values: NDArray) -> None:
        count, size, done = _num_rows(spans), self.row_bytes, 0
        if values.shape != (count, *self.shape[1:]) or values.dtype != self.dtype:
            raise ValueError(
                f"{self.path}: {count} rows of {self.shape[1:]} {self.dtype} are due, got {values.shape} {values.dtype}"
            )
        view = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        whole = self.offset + math.prod(self.shape) * self.dtype.itemsize
        with room_told(self.path, self.path, whole), self.path.open("r+b", buffering=0) as file:
            for first, last in spans:
                end = done + (last - first) * size
                _write_exactly(file, view[done:end], self.offset + first * size)
                done = end


def _num_rows(spans: Sequence[Sequence[int]]) -> int:
    return sum(last - first for first, last in spans)


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
