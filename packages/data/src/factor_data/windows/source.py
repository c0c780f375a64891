"""Where windows are gathered from: one array (memory-mapped is fine), or a matrix kept in several blocks of rows.

A window may lie across blocks: it is put together from all of them, so that where a file ends changes no sample.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from factor_data.kernel_cache import kernel

ROWS_AT_ONCE = 65_536  # rows of a memory-mapped matrix that are looked at together


class Source(Protocol):
    """Interface of a feature matrix that windows are gathered from."""

    shape: tuple[int, int]
    dtype: np.dtype
    block_starts: NDArray[np.int64]
    """(num_blocks + 1,) first row of each block, then the number of rows."""

    def blocks(self) -> Iterator[NDArray]:
        """All rows in order, some at a time."""
        ...

    def gather(self, first_rows: NDArray[np.int64], out: NDArray) -> None:
        """Fill `out` (batch, lookback, num_features), C order, with the rows that start at `first_rows`."""
        ...


class DenseMatrix:
    """One (num_rows, num_features) array. C order is used in place; any other layout is copied once."""

    def __init__(self, values: NDArray) -> None:
        self.values = np.ascontiguousarray(values)
        self.shape: tuple[int, int] = self.values.shape
        self.dtype = self.values.dtype
        self.block_starts = np.array([0, len(self.values)], dtype=np.int64)
        self._bytes = _as_bytes(self.values)

    def blocks(self) -> Iterator[NDArray]:
        """Yield the rows in order, in blocks."""
        for first in range(0, len(self.values), ROWS_AT_ONCE):
            yield self.values[first : first + ROWS_AT_ONCE]

    def gather(self, first_rows: NDArray[np.int64], out: NDArray) -> None:
        """Copy the windows that start at `first_rows` to `out`, (num_windows, lookback, num_features)."""
        if len(first_rows):
            _copy_blocks(self._bytes, first_rows, self.values.strides[0], out.reshape(len(out), -1).view(np.uint8))


class BlockedMatrix:
    """A (num_rows, num_features) matrix kept as blocks of rows that are read when they are needed.

    The blocks used last stay in memory, never more than `max_bytes` of them (those in use by a gather may
    outlive their place by that gather). Any thread may gather; a block is read by one of them only.

    Parameters
    ----------
    read : number of a block -> its (rows, num_features) array
    block_rows : rows of each block, in order
    num_features, dtype : of every block
    max_bytes : of blocks kept

    Attributes
    ----------
    num_reads : (num_blocks,) how often each block has been read
    bytes_held : of the blocks now kept
    """

    def __init__(
        self,
        read: Callable[[int], NDArray],
        block_rows: Sequence[int],
        num_features: int,
        dtype: DTypeLike = np.float32,
        *,
        max_bytes: int,
    ) -> None:
        self.block_starts = np.concatenate([[0], np.cumsum(block_rows, dtype=np.int64)]).astype(np.int64)
        self.shape = (int(self.block_starts[-1]), num_features)
        self.dtype = np.dtype(dtype)
        self.max_bytes = max_bytes
        largest = max(block_rows, default=0) * num_features * self.dtype.itemsize
        if largest > max_bytes:
            raise ValueError(f"max_bytes ({max_bytes}) is less than the largest block ({largest} bytes)")
        self.num_reads = np.zeros(len(block_rows), dtype=np.int64)
        self.bytes_held = 0
        self._read = read
        self._kept: OrderedDict[int, NDArray] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, paths: Sequence[str | Path], *, max_bytes: int) -> BlockedMatrix:
        """Blocks that are `.npy` files of one type and width, in the order of `paths`."""
        if not paths:
            raise ValueError("no path given")
        heads = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
        for path, head in zip(paths, heads, strict=True):
            if head.ndim != 2 or head.shape[1:] != heads[0].shape[1:] or head.dtype != heads[0].dtype:
                raise ValueError(
                    f"{path}: holds {head.shape} {head.dtype}, "
                    f"but {paths[0]} {heads[0].shape} {heads[0].dtype}; width and type must agree"
                )
        return cls(
            lambda number: np.load(paths[number], allow_pickle=False),
            [len(head) for head in heads],
            heads[0].shape[1],
            heads[0].dtype,
            max_bytes=max_bytes,
        )

    def block(self, number: int) -> NDArray:
        """One block, from memory if it is kept there."""
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
            size = int(self.block_starts[number + 1] - self.block_starts[number])
            # Room is made before the block is read: the limit holds at every moment.
            needed = size * self.shape[1] * self.dtype.itemsize
            while self._kept and self.bytes_held + needed > self.max_bytes:
                self.bytes_held -= self._kept.popitem(last=False)[1].nbytes
            values = np.ascontiguousarray(self._read(number))
            if values.shape != (size, self.shape[1]) or values.dtype != self.dtype:
                raise ValueError(
                    f"block {number} must be {(size, self.shape[1])} {self.dtype}, "
                    f"was read as {values.shape} {values.dtype}"
                )
            self.num_reads[number] += 1
            self._kept[number] = values
            self.bytes_held += values.nbytes
            return values

    def blocks(self) -> Iterator[NDArray]:
        """Yield the rows in order, in blocks as they are stored."""
        for number in range(len(self.num_reads)):
            yield self.block(number)

    def gather(self, first_rows: NDArray[np.int64], out: NDArray) -> None:
        """Copy the windows that start at `first_rows` to `out`, reading each block once."""
        if not len(first_rows):
            return
        lookback, row_bytes = out.shape[1], self.shape[1] * self.dtype.itemsize
        target = out.reshape(len(out), -1).view(np.uint8)
        first_block = np.searchsorted(self.block_starts, first_rows, side="right") - 1
        last_block = np.searchsorted(self.block_starts, first_rows + lookback - 1, side="right") - 1
        needed = np.zeros(len(self.num_reads) + 1, dtype=np.int64)
        np.add.at(needed, first_block, 1)
        np.add.at(needed, last_block + 1, -1)
        for number in np.flatnonzero(np.cumsum(needed)):
            source = _as_bytes(self.block(int(number)))
            _copy_overlaps(source, first_rows, int(self.block_starts[number]), row_bytes, target)


def _as_bytes(values: NDArray) -> NDArray[np.uint8]:
    """Flat view of a C-ordered array."""
    return values.reshape(-1).view(np.uint8)


@kernel(nogil=True)
def _copy_blocks(
    source: NDArray[np.uint8], first_rows: NDArray[np.int64], row_bytes: int, out: NDArray[np.uint8]
) -> None:
    """Copy the block of `out.shape[1]` bytes that starts at each row; bytes, so one compiled copy for any type."""
    size = out.shape[1]
    for window in range(len(first_rows)):
        start = first_rows[window] * row_bytes
        piece, target = source[start : start + size], out[window]
        for byte in range(size):  # both sides are contiguous here: compiled to one memory copy
            target[byte] = piece[byte]


@kernel(nogil=True)
def _copy_overlaps(
    source: NDArray[np.uint8],
    first_rows: NDArray[np.int64],
    block_start: int,
    row_bytes: int,
    out: NDArray[np.uint8],
) -> None:
    """As `_copy_blocks`, for the part of each window that lies in the block starting at row `block_start`."""
    for window in range(len(first_rows)):
        offset = (first_rows[window] - block_start) * row_bytes
        low, high = max(offset, 0), min(offset + out.shape[1], len(source))
        if low < high:
            piece, target = source[low:high], out[window, low - offset : high - offset]
            for byte in range(high - low):
                target[byte] = piece[byte]
