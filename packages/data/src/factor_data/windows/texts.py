"""Documents beside windows: for each bar the vectors of the latest documents that were known at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_data.kernel_cache import kernel


@dataclass(frozen=True, kw_only=True, eq=False)
class DocumentVectors:
    """Vectors of documents, and which of them each row of a panel knows.

    Attributes
    ----------
    vectors : (num_documents, dimensions) float32; memory-mapped is fine
    bounds : (num_rows, 2) int64, row r knows the documents `bounds[r, 0]:bounds[r, 1]`, the oldest first; rows may
        share documents
    per_bar : the most documents of a bar that are gathered, the latest ones
    """

    vectors: NDArray[np.float32]
    bounds: NDArray[np.int64]
    per_bar: int

    def __post_init__(self) -> None:
        if self.per_bar < 1:
            raise ValueError(f"per_bar must be at least 1 document, got {self.per_bar}")
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            raise ValueError(
                f"vectors must be (num_documents, dimensions) float32, got {self.vectors.shape} {self.vectors.dtype}"
            )
        if self.bounds.ndim != 2 or self.bounds.shape[1] != 2 or self.bounds.dtype != np.int64:
            raise ValueError(f"bounds must be (num_rows, 2) int64, got {self.bounds.shape} {self.bounds.dtype}")
        wrong = np.flatnonzero(
            (self.bounds[:, 0] < 0) | (self.bounds[:, 0] > self.bounds[:, 1]) | (self.bounds[:, 1] > len(self.vectors))
        )
        if len(wrong):
            raise ValueError(
                f"bounds must be ranges within the {len(self.vectors)} documents, are not in {len(wrong)} rows, "
                f"first row {wrong[0]} {self.bounds[wrong[0]].tolist()}"
            )

    @property
    def num_rows(self) -> int:
        """Return the number of rows that documents belong to."""
        return len(self.bounds)

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return self.vectors.shape[1]

    def gather(self, first_rows: NDArray[np.int64], lookback: int) -> NDArray[np.float32]:
        """Return (batch, lookback, per_bar, dimensions) for the windows that start at `first_rows`.

        A bar's documents come oldest first, from place 0 on; the places that are left are NaN.
        """
        shape = (len(first_rows), lookback, self.per_bar, self.dimensions)
        out = np.empty(shape, dtype=np.float32)
        _gather(np.asarray(self.vectors), np.asarray(self.bounds), first_rows, out)
        return out


@kernel(nogil=True)
def _gather(
    vectors: NDArray[np.float32],
    bounds: NDArray[np.int64],
    first_rows: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    lookback, per_bar = out.shape[1], out.shape[2]
    for window in range(len(first_rows)):
        for bar in range(lookback):
            last = bounds[first_rows[window] + bar, 1]
            first = max(bounds[first_rows[window] + bar, 0], last - per_bar)
            for place in range(last - first):
                out[window, bar, place] = vectors[first + place]
            out[window, bar, last - first :] = np.nan
