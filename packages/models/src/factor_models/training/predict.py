"""Predictions of a network on this process's batches, and all processes' predictions together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from factor_models.training.inputs import Batch, tensor_batch


@torch.no_grad()
def predict(
    model: nn.Module, batches: Iterable[Batch], dtype: torch.dtype = torch.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (N,) int64 and predictions (N, H), in the order of the batches; in `dtype`, which is the model's."""
    model.eval()
    device = next(model.parameters()).device
    rows, predictions = [np.empty(0, np.int64)], []
    for batch in batches:
        if len(batch.rows) == 0:
            continue
        rows.append(np.asarray(batch.rows, np.int64))
        tensors = tensor_batch(batch, device).to(dtype)
        predictions.append(model(tensors.windows, **tensors.extras(model)).to(dtype).cpu().numpy())
    if not predictions:
        raise ValueError("there is no window to predict: every batch is empty")
    return np.concatenate(rows), np.concatenate(predictions)


def gather_predictions(rows: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All processes' rows and predictions on each process, sorted by row; alone it only sorts."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        rows = _gather(torch.from_numpy(np.ascontiguousarray(rows, np.int64))).numpy()
        predictions = _gather(torch.from_numpy(np.ascontiguousarray(predictions, np.float32))).numpy()
    order = np.argsort(rows, kind="stable")
    return rows[order], predictions[order]


def _gather(values: Tensor) -> Tensor:
    """Concatenate along axis 0 over processes whose lengths differ: padded to the longest, then cut."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    length = torch.tensor([len(values)], device=device)
    lengths = [torch.zeros_like(length) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, length)
    counts = [int(count) for count in lengths]
    padded = torch.zeros((max(counts), *values.shape[1:]), dtype=values.dtype, device=device)
    padded[: len(values)] = values.to(device)
    parts = [torch.zeros_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]).cpu()
