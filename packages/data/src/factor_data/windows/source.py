"""Where windows are gathered from: one array, in memory or mapped from a file larger than it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from factor_data.kernel_cache import kernel

ROWS_AT_ONCE = 65_536  # rows of a memory-mapped matrix that are looked at together


class DenseMatrix:
    """One (num_rows, num_features) array. C order is used in place; any other layout is copied once."""

    def __init__(self, values: NDArray) -> None:
        self.values = np.ascontiguousarray(values)
        self.shape: tuple[int, int] = self.values.shape
        self.dtype = self.values.dtype
        self._bytes = _as_bytes(self.values)

    def blocks(self) -> Iterator[NDArray]:
        """Yield the rows in order, in blocks."""
        for first in range(0, len(self.values), ROWS_AT_ONCE):
            yield self.values[first : first + ROWS_AT_ONCE]

    def gather(self, first_rows: NDArray[np.int64], out: NDArray) -> None:
        """Copy the windows that start at `first_rows` to `out`, (num_windows, lookback, num_features)."""
        if len(first_rows):
            _copy_blocks(self._bytes, first_rows, self.values.strides[0], out.reshape(len(out), -1).view(np.uint8))


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
