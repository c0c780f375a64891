"""From numpy batches to tensors: the one place where missing inputs become numbers.

Normalised features are centred per fold on the training range, so 0 is "the usual value": a missing feature (NaN)
enters a network as 0. Integer tokens keep their own row for missing (token 0) and pass unchanged. Targets keep NaN: the
losses mask it. So do texts: a model masks the documents that are not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

ExtraInput = Literal["groups", "symbols", "texts"]
"""Inputs besides windows that a network may name in its attribute `extra_inputs`."""


class Batch(Protocol):
    """Batch that training and prediction read; `factor_data` makes such batches, nothing here imports it.

    It may also have `weights`, `date_weights`, `symbols` and `texts` (see `TensorBatch`); an absent one is None.
    """

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
        """(B,) integers: the panel row a window ends at; rows are sorted by (symbol, time)."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorBatch:
    """A batch, or a piece of one, as tensors on one device.

    Attributes
    ----------
    windows : (B, L, F) float, without NaN, or integer tokens
    groups : (B,) int64, date of a window, 0..num_dates - 1
    num_dates : dates in this piece; 0 for a piece that only keeps step with the other processes
    targets : (B, H) float32, NaN = unknown; None when predicting
    weights : (B,) float32 weight of a window within its date; None: all 1
    date_weights : (B,) float32 weight of the window's date in the mean over dates; None: all 1
    previous : (B,) int64 position of the same symbol's window one bar earlier, -1 = not in this piece; None: nowhere
    symbols : (B,) int64 id of the symbol, 0 = unknown to the fold; None: all unknown
    texts : (B, L, K, D) float: vectors of up to K documents per bar, NaN where there is none; None: no news
    """

    windows: Tensor
    groups: Tensor
    num_dates: int
    targets: Tensor | None = None
    weights: Tensor | None = None
    date_weights: Tensor | None = None
    previous: Tensor | None = None
    symbols: Tensor | None = None
    texts: Tensor | None = None

    def extras(self, model: nn.Module) -> dict[str, Tensor | None]:
        """The keyword arguments that the model's forward takes besides windows."""
        return {name: getattr(self, name) for name in getattr(model, "extra_inputs", ())}

    def to(self, dtype: torch.dtype) -> TensorBatch:
        """Windows and texts in another precision; targets and weights stay float32."""

        def cast(value: Tensor | None) -> Tensor | None:
            return value.to(dtype) if value is not None and value.is_floating_point() else value

        windows = cast(self.windows)
        assert windows is not None
        return replace(self, windows=windows, texts=cast(self.texts))


def tensor_batch(batch: Batch, device: torch.device | str = "cpu") -> TensorBatch:
    """A batch with all it has; groups are renumbered from 0."""
    dates, groups = np.unique(np.asarray(batch.groups), return_inverse=True)
    return TensorBatch(
        windows=input_tensor(batch.windows, device),
        groups=torch.from_numpy(groups.astype(np.int64)).to(device),
        num_dates=len(dates),
        targets=None if batch.targets is None else _float_tensor(batch.targets, device),
        weights=_optional(batch, "weights", np.float32, device),
        date_weights=_optional(batch, "date_weights", np.float32, device),
        previous=_previous(batch, device),
        symbols=_optional(batch, "symbols", np.int64, device),
        texts=_optional(batch, "texts", np.float32, device),
    )


def micro_batches(batch: Batch, count: int, device: torch.device | str = "cpu") -> Iterator[TensorBatch]:
    """Cut a batch into `count` pieces of whole dates.

    A piece without dates (an empty share, or fewer dates than pieces) is one window of zeros without target: every
    process takes part in every exchange, and the piece adds nothing to the gradient.
    """
    if batch.targets is None:
        raise ValueError("batch.targets is None: training needs targets")
    dates, date_of_row = np.unique(np.asarray(batch.groups), return_inverse=True)
    bounds = np.linspace(0, len(dates), count + 1).round().astype(np.int64)
    for first, last in pairwise(bounds):
        rows = slice(None) if count == 1 else (date_of_row >= first) & (date_of_row < last)
        yield _empty_piece(batch, device) if first == last else tensor_batch(_Rows(batch, rows), device)


class _Rows:
    """Some rows of a batch."""

    def __init__(self, batch: Batch, rows: slice | np.ndarray) -> None:
        for name in ("windows", "targets", "groups", "rows", "weights", "date_weights", "symbols", "texts"):
            values = getattr(batch, name, None)
            setattr(self, name, None if values is None else values[rows])

    windows: np.ndarray
    targets: np.ndarray | None
    groups: np.ndarray
    rows: np.ndarray


def _empty_piece(batch: Batch, device: torch.device | str) -> TensorBatch:
    assert batch.targets is not None
    texts: np.ndarray | None = getattr(batch, "texts", None)
    return TensorBatch(
        windows=input_tensor(np.zeros((1, *batch.windows.shape[1:]), batch.windows.dtype), device),
        groups=torch.zeros(1, dtype=torch.int64, device=device),
        num_dates=0,
        targets=torch.full((1, batch.targets.shape[1]), torch.nan, device=device),
        symbols=None if getattr(batch, "symbols", None) is None else torch.zeros(1, dtype=torch.int64, device=device),
        texts=None if texts is None else torch.full((1, *texts.shape[1:]), torch.nan, device=device),
    )


def input_tensor(windows: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Windows as a tensor: floats as float32 with NaN replaced by 0 (not infinity), integers as they are."""
    if not np.issubdtype(windows.dtype, np.floating):
        return torch.from_numpy(np.ascontiguousarray(windows)).to(device)
    x_BLF = torch.nan_to_num(_float_tensor(windows, device), nan=0.0, posinf=torch.inf, neginf=-torch.inf)
    if x_BLF.numel() and torch.inf in [abs(float(end)) for end in torch.aminmax(x_BLF)]:
        raise ValueError(f"windows hold {int(torch.isinf(x_BLF).sum())} infinite values: must be finite or NaN")
    return x_BLF


def _previous(batch: Batch, device: torch.device | str) -> Tensor | None:
    """Where the window that ends one panel row earlier lies in the batch.

    A window of two or more bars holds that row, so it is the same symbol's; of a window of one bar that is not known.
    """
    rows = getattr(batch, "rows", None)
    if rows is None or len(rows) == 0 or batch.windows.shape[1] < 2:
        return None
    rows, groups = np.asarray(rows), np.asarray(batch.groups)
    order = np.argsort(rows, kind="stable")
    found = order[np.minimum(np.searchsorted(rows, rows - 1, sorter=order), len(rows) - 1)]
    is_previous = (rows[found] == rows - 1) & (groups[found] != groups)
    return torch.from_numpy(np.where(is_previous, found, -1).astype(np.int64)).to(device)


def _optional(batch: Batch, name: str, dtype: type, device: torch.device | str) -> Tensor | None:
    values = getattr(batch, name, None)
    return None if values is None else torch.from_numpy(np.ascontiguousarray(values, dtype=dtype)).to(device)


def _float_tensor(values: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)
