"""Quantile regression: several levels per target, which never cross.

Source: Koenker & Bassett (1978), "Regression Quantiles". The network gives Q numbers per target: the middle one is the
median, the others are distances through softplus, added up outwards from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from factor_models.losses.base import Loss, TermLoss
from factor_models.losses.cross_section import CrossSections
from factor_models.losses.settings import LossConfig


@dataclass(frozen=True, kw_only=True)
class QuantileConfig(LossConfig):
    """Settings of quantile."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9)
    """Rising, an odd number, the middle one 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = self.levels
        rising = all(low < high for low, high in zip((0.0, *levels), (*levels, 1.0), strict=True))
        if not rising or len(levels) % 2 == 0 or levels[len(levels) // 2] != 0.5:
            raise ValueError(f"levels = {list(levels)}: must rise within (0, 1), an odd number, the middle one 0.5")


class QuantileLoss(TermLoss):
    """Mean pinball loss over the levels; the forecast that is ranked is the median.

    Parameters
    ----------
    levels : rising, an odd number of them, the middle one 0.5
    target_weights, targets : as in `TermLoss`
    """

    def __init__(
        self,
        levels: Sequence[float],
        target_weights: Sequence[float] | str | None = None,
        targets: Sequence[str] = (),
    ) -> None:
        super().__init__({"quantile": partial(pinball, levels=tuple(levels))}, target_weights, targets)
        self.levels = tuple(levels)
        self.outputs_per_target = len(levels)

    def point(self, prediction: Tensor) -> Tensor:
        """Return the median, (B, H)."""
        return _by_target(prediction, self.outputs_per_target)[..., self.outputs_per_target // 2]

    def quantiles(self, prediction: Tensor) -> Tensor:
        """The forecasts of the levels (B, H, Q), rising, of the model's outputs (B, H * Q)."""
        return quantiles(prediction, self.outputs_per_target)


def quantile_loss(config: QuantileConfig, targets: Sequence[str]) -> Loss:
    """The loss of these settings."""
    return QuantileLoss(config.levels, config.weights_of(targets), targets)


def pinball(prediction: Tensor, dates: CrossSections, levels: Sequence[float]) -> Tensor:
    """Mean over the levels q of q e for e = target - quantile >= 0, (q - 1) e below; prediction is (B, H * Q)."""
    error_BHQ = dates.target_BH.unsqueeze(2) - quantiles(prediction, len(levels))
    level_Q = prediction.new_tensor(levels)
    return dates.mean(torch.maximum(level_Q * error_BHQ, (level_Q - 1.0) * error_BHQ).mean(dim=2))


def quantiles(prediction: Tensor, num_levels: int) -> Tensor:
    """Outputs (B, H * Q) as rising forecasts (B, H, Q)."""
    raw_BHQ = _by_target(prediction, num_levels)
    middle = num_levels // 2
    # Step by step: a GPU has no deterministic cumulative sum.
    rising = [raw_BHQ[..., middle]]
    for level in range(middle + 1, num_levels):
        rising.append(rising[-1] + functional.softplus(raw_BHQ[..., level]))
    for level in reversed(range(middle)):
        rising.insert(0, rising[0] - functional.softplus(raw_BHQ[..., level]))
    return torch.stack(rising, dim=2)


def _by_target(prediction: Tensor, num_levels: int) -> Tensor:
    if prediction.shape[1] % num_levels:
        raise ValueError(f"prediction has {prediction.shape[1]} columns: must be a multiple of {num_levels}")
    return torch.unflatten(prediction, 1, (-1, num_levels))
