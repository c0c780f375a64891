"""Batch of a window dataset: the samples of one step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from factor_data.windows.augment import Augmentation


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Samples of one step: whole dates, or samples drawn from all dates.

    Attributes
    ----------
    windows : (batch, lookback, num_features), the last bar is the one the prediction is made at
    targets : (batch, num_horizons) float32, NaN = unknown; no columns if the dataset has no labels
    groups : (batch,) int64, number of the date within the batch, 0..num_dates - 1
    rows : (batch,) int64, row of each sample in the feature matrix
    weights : (batch,) float32 weight of each sample in the loss; None if the dataset has none
    date_weights : (batch,) float32 weight of each sample's date in the mean over dates; None: all dates count alike
    symbols : (batch,) int64 id of each sample's symbol in a vocabulary; None if the dataset has none
    texts : (batch, lookback, documents, dimensions) float32, vectors of the latest documents known at each bar, NaN
        where there is none; None if the dataset has none
    step : number of the batch within the epoch, over all ranks and workers
    """

    windows: NDArray
    targets: NDArray[np.float32]
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
    date_weights: NDArray[np.float32] | None = None
    symbols: NDArray[np.int64] | None = None
    texts: NDArray[np.float32] | None = None
    step: int = 0

    @property
    def num_bytes(self) -> int:
        """Size of the arrays."""
        arrays = (
            self.windows, self.targets, self.groups, self.rows,
            self.weights, self.date_weights, self.symbols, self.texts,
        )  # fmt: skip
        return sum(array.nbytes for array in arrays if array is not None)

    def dated(self, weights: NDArray[np.float32]) -> Batch:
        """Return the batch with dates that do not count alike: `weights` (num_rows,), of the date of each panel row."""
        return replace(self, date_weights=weights[self.rows])

    def augmented(self, augmentation: Augmentation, samples: NDArray[np.int64], seed: int | None, epoch: int) -> Batch:
        """Return the batch with its windows changed; targets, weights and texts stay.

        `samples` (batch,) says which sample each is. A row of the panel does not: later bars of one symbol move the
        rows of the next, and so would change what is drawn for them.
        """
        if seed is None:
            raise ValueError("augmentation is for training: it needs a seed")
        windows = augmentation.apply(self.windows, samples, seed=seed, epoch=epoch, step=self.step)
        return replace(self, windows=windows)

    def with_missing_mask(self) -> Batch:
        """Return the batch with as many inputs again: 1 where an input is missing, else 0."""
        mask = np.isnan(self.windows).astype(self.windows.dtype)
        return replace(self, windows=np.concatenate([self.windows, mask], axis=2))

    def split(self, num_parts: int, *, whole_dates: bool = False) -> list[Batch]:
        """Cut into at most `num_parts` batches of nearly equal size that share this one's memory.

        For a step that does not fit into memory at once: the sum over the parts of a loss summed over samples is that
        of the batch. With `whole_dates` no date is cut, as losses over cross-sections need; the samples must come
        date by date. Fewer samples (dates) than parts give fewer parts, an empty batch itself. `groups` count the
        dates of each part from 0.
        """
        if num_parts < 1:
            raise ValueError(f"num_parts must be at least 1, got {num_parts}")
        if whole_dates and np.any(self.groups[1:] < self.groups[:-1]):
            raise ValueError("whole_dates: the samples of a batch must come date by date")
        starts = np.flatnonzero(np.diff(self.groups, prepend=-1)) if whole_dates else np.arange(len(self.rows))
        num_parts = max(min(num_parts, len(starts)), 1)
        edges = np.append(starts, len(self.rows))
        cuts = edges[np.arange(num_parts + 1) * len(starts) // num_parts]
        return [self._part(slice(low, high)) for low, high in pairwise(cuts)]

    def _part(self, of: slice) -> Batch:
        return replace(
            self,
            windows=self.windows[of],
            targets=self.targets[of],
            groups=np.unique(self.groups[of], return_inverse=True)[1],
            rows=self.rows[of],
            weights=None if self.weights is None else self.weights[of],
            date_weights=None if self.date_weights is None else self.date_weights[of],
            symbols=None if self.symbols is None else self.symbols[of],
            texts=None if self.texts is None else self.texts[of],
        )
