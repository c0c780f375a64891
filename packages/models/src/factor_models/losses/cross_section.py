"""Losses over the cross-section: computed per date and horizon, then averaged with equal weight per date.

Every loss has the signature `loss(prediction (B, H), target (B, H), groups (B,), num_groups) -> scalar`. NaN
in the target masks that entry. A date with fewer than two known targets at a horizon adds 0. The sum is
divided by num_groups * H, whatever is masked: so the mean over equal shares of a batch is the loss of the
whole batch, and splitting dates over processes or micro batches does not change the gradient.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor, int], Tensor]

VARIANCE_FLOOR = 1e-6
"""Added to variances under the root: keeps gradients finite on constant predictions."""


def mse(prediction: Tensor, target: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Mean squared error per date and horizon."""
    filled, known, count_GH = _masked(target, groups, num_groups)
    error = (prediction - filled) * known
    squared_GH = _sum_by_group(error.square(), groups, num_groups) / count_GH.clamp(min=1)
    return _average(squared_GH, count_GH)


def ic(prediction: Tensor, target: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """1 - Pearson correlation per date and horizon; 1 where prediction or target is constant."""
    filled, known, count_GH = _masked(target, groups, num_groups)
    x = _centred(prediction, known, groups, count_GH)
    y = _centred(filled, known, groups, count_GH)
    size = count_GH.clamp(min=1)
    covariance_GH = _sum_by_group(x * y, groups, num_groups) / size
    variance_x_GH = _sum_by_group(x.square(), groups, num_groups) / size
    variance_y_GH = _sum_by_group(y.square(), groups, num_groups) / size
    scale_GH = ((variance_x_GH + VARIANCE_FLOOR) * (variance_y_GH + VARIANCE_FLOOR)).sqrt()
    return _average(1.0 - covariance_GH / scale_GH, count_GH)


def mse_ic(prediction: Tensor, target: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """Even mix of `mse` and `ic`: the first pins the scale, the second the order."""
    args = (prediction, target, groups, num_groups)
    return 0.5 * mse(*args) + 0.5 * ic(*args)


LOSSES: dict[str, Loss] = {
    "mse": mse,
    "ic": ic,
    "mse_ic": mse_ic,
}


def get_loss(name: str) -> Loss:
    """The loss of that name; ValueError lists the names."""
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is unknown: must be one of {', '.join(LOSSES)}")
    return LOSSES[name]


def _masked(target: Tensor, groups: Tensor, num_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    known = torch.isfinite(target).to(target.dtype)
    filled = torch.where(known.bool(), target, torch.zeros_like(target))
    return filled, known, _sum_by_group(known, groups, num_groups)


def _sum_by_group(values: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    total_GH = values.new_zeros(num_groups, values.shape[1])
    return total_GH.index_add(0, groups, values)


def _centred(values: Tensor, known: Tensor, groups: Tensor, count_GH: Tensor) -> Tensor:
    mean_GH = _sum_by_group(values * known, groups, len(count_GH)) / count_GH.clamp(min=1)
    return (values - mean_GH[groups]) * known


def _average(value_GH: Tensor, count_GH: Tensor) -> Tensor:
    return (value_GH * (count_GH >= 2)).sum() / value_GH.numel()
