"""From numpy batches to tensors: the one place where missing inputs become numbers.

Normalised features are centred per fold on the training range, so 0 is "the usual value": a missing feature
(NaN) enters a network as 0. Integer tokens keep their own row for missing (token 0) and pass unchanged.
Targets keep NaN: the losses mask it.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Batch(Protocol):
    """What training and prediction read; `factor_data` makes such batches, nothing here imports it."""

    @property
    def windows(self) -> np.ndarray:
        """(B, L, F) float32 with NaN = missing, or integer tokens with 0 = missing."""
        ...

    @property
    def targets(self) -> np.ndarray | None:
        """(B, H) float32, NaN = unknown."""
        ...

    @property
    def groups(self) -> np.ndarray:
        """(B,) integers: which date of the batch a window belongs to."""
        ...

    @property
    def rows(self) -> np.ndarray:
        """(B,) integers: the panel row a window ends at."""
        ...


def input_tensor(windows: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Windows as a tensor: floats as float32 with NaN replaced by 0 (not infinity), integers as they are."""
    if not np.issubdtype(windows.dtype, np.floating):
        return torch.from_numpy(np.ascontiguousarray(windows)).to(device)
    x_BLF = torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32)).to(device)
    if torch.isinf(x_BLF).any():
        raise ValueError(
            f"windows hold {int(torch.isinf(x_BLF).sum())} infinite values: must be finite or NaN"
        )
    return torch.nan_to_num(x_BLF, nan=0.0)


def target_tensor(targets: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Targets as float32; NaN stays NaN."""
    return torch.from_numpy(np.ascontiguousarray(targets, dtype=np.float32)).to(device)
