"""Windows: for each sample the last ``lookback`` bars of its symbol, read straight from the feature matrix.

The matrix is never expanded: a window is a contiguous block of rows, so gathering a batch copies that batch
only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Samples of some whole dates.

    windows : (batch, lookback, num_features), the last bar is the one the prediction is made at
    targets : (batch, num_horizons) float32, NaN = unknown; no columns if the dataset has no labels
    groups : (batch,) int64, number of the date within the batch, 0..num_dates - 1
    rows : (batch,) int64, row of each sample in the feature matrix
    """

    windows: NDArray
    targets: NDArray[np.float32]
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]


class WindowDataset:
    """Windows over a feature matrix whose rows are sorted by (symbol, time).

    Parameters
    ----------
    features : (num_rows, num_features) float32 or uint8 tokens; memory-mapped is fine
    labels : (num_rows, num_horizons) float32, or None
    lookback : int >= 1, bars per window, counted in the symbol's own bars
    symbol_code, date_code : (num_rows,) int
    rows : mask or indices of the rows that may be samples; default all. Windows may start before these rows

    Attributes
    ----------
    rows : (num_samples,) int64, row of each sample, ascending: rows with at least ``lookback`` bars of their
        symbol
    """

    def __init__(
        self,
        features: NDArray,
        labels: NDArray[np.float32] | None,
        lookback: int,
        *,
        symbol_code: NDArray[np.integer],
        date_code: NDArray[np.integer],
        rows: NDArray | None = None,
    ) -> None:
        num_rows = len(features)
        if lookback < 1:
            raise ValueError(f"lookback must be at least 1 bar, got {lookback}")
        if features.ndim != 2:
            raise ValueError(f"features must be (num_rows, num_features), got shape {features.shape}")
        if labels is not None and (labels.ndim != 2 or len(labels) != num_rows):
            raise ValueError(f"labels must be ({num_rows}, num_horizons), got shape {labels.shape}")
        if len(symbol_code) != num_rows or len(date_code) != num_rows:
            raise ValueError(
                f"symbol_code ({len(symbol_code)}) and date_code ({len(date_code)}) must have the {num_rows} "
                "rows of features"
            )
        self.lookback = lookback
        self.num_features = features.shape[1]
        self._features = np.ascontiguousarray(features)
        self._labels = labels
        self.rows = _sample_rows(np.asarray(symbol_code), lookback, rows)
        self._date_of_sample = np.asarray(date_code)[self.rows].astype(np.int64)
        self._by_date = np.argsort(self._date_of_sample, kind="stable")
        self.date_codes, first = np.unique(self._date_of_sample[self._by_date], return_index=True)
        self._date_starts = np.r_[first, len(self.rows)].astype(np.int64)
        if num_rows >= lookback:
            flat = self._features.reshape(-1)
            length = lookback * self.num_features
            self._blocks = sliding_window_view(flat, length)[:: self.num_features]
        else:
            self._blocks = np.empty((0, lookback * self.num_features), dtype=features.dtype)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_dates(self) -> int:
        return len(self.date_codes)

    def windows(self, positions: NDArray[np.integer]) -> NDArray:
        """Return (batch, lookback, num_features) for sample positions in ``0..len(self) - 1``."""
        first_rows = self.rows[positions] - (self.lookback - 1)
        return self._blocks[first_rows].reshape(len(first_rows), self.lookback, self.num_features)

    def targets(self, positions: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return (batch, num_horizons), without columns if there are no labels."""
        if self._labels is None:
            return np.empty((len(positions), 0), dtype=np.float32)
        return np.asarray(self._labels[self.rows[positions]], dtype=np.float32)

    def num_batches(self, dates_per_batch: int, *, drop_last: bool = False) -> int:
        """Return how many batches ``batches`` yields, the same on every rank."""
        full, rest = divmod(self.num_dates, dates_per_batch)
        return full + (1 if rest and not drop_last else 0)

    def batches(
        self,
        dates_per_batch: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """Yield batches of whole dates; over all ranks every date comes exactly once an epoch.

        The date order depends on (seed, epoch) alone; ``seed=None`` means time order. A global batch has
        ``dates_per_batch`` dates, of which each rank gets an equal run; so the global batches are the same
        for any world size. Without ``drop_last`` the dates left over at the end form a smaller batch, split
        as evenly as they can be: some ranks may then get one date less, or an empty batch. For training on
            several ranks use
        ``drop_last=True``.
        """
        if dates_per_batch < 1 or world_size < 1 or dates_per_batch % world_size:
            raise ValueError(
                f"dates_per_batch ({dates_per_batch}) must be a multiple of world_size ({world_size})"
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in [0, {world_size}), got {rank}")
        order = np.arange(self.num_dates)
        if seed is not None:
            order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(self.num_dates)
        for batch in range(self.num_batches(dates_per_batch, drop_last=drop_last)):
            dates = order[batch * dates_per_batch : (batch + 1) * dates_per_batch]
            low, high = (len(dates) * part // world_size for part in (rank, rank + 1))
            yield self._batch(dates[low:high])

    def _batch(self, dates: NDArray[np.integer]) -> Batch:
        spans = [self._by_date[self._date_starts[d] : self._date_starts[d + 1]] for d in dates]
        positions = np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)
        groups = np.repeat(np.arange(len(spans), dtype=np.int64), [len(span) for span in spans])
        return Batch(
            windows=self.windows(positions),
            targets=self.targets(positions),
            groups=groups,
            rows=self.rows[positions],
        )


def _sample_rows(symbol_code: NDArray[np.integer], lookback: int, rows: NDArray | None) -> NDArray[np.int64]:
    """Rows among ``rows`` that have ``lookback`` bars of their symbol ending there."""
    num_rows = len(symbol_code)
    if np.any(symbol_code[1:] < symbol_code[:-1]):
        raise ValueError("symbol_code must be sorted: the rows of one symbol lie side by side")
    enough = np.zeros(num_rows, dtype=bool)
    if num_rows >= lookback:
        enough[lookback - 1 :] = symbol_code[lookback - 1 :] == symbol_code[: num_rows - lookback + 1]
    if rows is None:
        return np.flatnonzero(enough)
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (num_rows,):
            raise ValueError(f"rows as a mask must have shape ({num_rows},), got {rows.shape}")
        return np.flatnonzero(enough & rows)
    rows = np.unique(rows.astype(np.int64))
    if len(rows) and not (rows[0] >= 0 and rows[-1] < num_rows):
        raise ValueError(f"rows must lie in [0, {num_rows}), got {rows[0]} .. {rows[-1]}")
    return rows[enough[rows]]
