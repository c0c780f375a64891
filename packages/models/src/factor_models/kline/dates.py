"""Averages over the dates of a batch, dates weighing the same however many windows they have."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from factor_models.training.inputs import TensorBatch


def date_means(values_BX: Tensor, batch: TensorBatch) -> Tensor:
    """Mean of each date over its windows, (G, X); zeros where a piece has no date."""
    num_dates = max(batch.num_dates, 1)
    count = torch.bincount(batch.groups, minlength=num_dates).clamp(min=1).to(values_BX.dtype)
    total = values_BX.new_zeros(num_dates, values_BX.shape[1]).index_add(0, batch.groups, values_BX)
    return total / count.unsqueeze(1)


def mean_over_dates(values_B: Tensor, batch: TensorBatch) -> Tensor:
    """Mean of the dates' means of one number per window."""
    return date_means(values_B.unsqueeze(1), batch).mean()


def window_cross_entropy(logits_BTV: Tensor, target_BT: Tensor) -> Tensor:
    """Mean cross-entropy over the bars of each window (B,), nats."""
    losses = functional.cross_entropy(logits_BTV.float().flatten(0, 1), target_BT.flatten(), reduction="none")
    return losses.view(target_BT.shape).mean(1)
