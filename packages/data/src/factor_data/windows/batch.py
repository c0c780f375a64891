"""What a window dataset hands out: the samples of one step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from factor_data.windows.augment import Augmentation


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Samples of one step: whole dates, or samples drawn from all dates.

    windows : (batch, lookback, num_features), the last bar is the one the prediction is made at
    targets : (batch, num_horizons) float32, NaN = unknown; no columns if the dataset has no labels
    groups : (batch,) int64, number of the date within the batch, 0..num_dates - 1
    rows : (batch,) int64, row of each sample in the feature matrix
    weights : (batch,) float32 weight of each sample in the loss; None if the dataset has none
    step : number of the batch within the epoch, over all ranks and workers
    """

    windows: NDArray
    targets: NDArray[np.float32]
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
    step: int = 0

    @property
    def num_bytes(self) -> int:
        """Size of the arrays."""
        arrays = (self.windows, self.targets, self.groups, self.rows, self.weights)
        return sum(array.nbytes for array in arrays if array is not None)

    def augmented(self, augmentation: Augmentation, seed: int | None, epoch: int) -> Batch:
        """Return the batch with its windows changed; targets and weights stay."""
        if seed is None:
            raise ValueError("augmentation is for training: it needs a seed")
        windows = augmentation.apply(self.windows, self.rows, seed=seed, epoch=epoch, step=self.step)
        return replace(self, windows=windows)
