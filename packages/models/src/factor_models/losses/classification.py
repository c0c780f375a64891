"""Losses of a direction: the target is 1 (up), 0 (down) or a probability between, the forecast a logit.

A logit x says the chance 1 / (1 + exp(-x)) of an up. It ranks symbols as any forecast does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from factor_models.losses.cross_section import CrossSections
from factor_models.losses.settings import LossConfig


def bce(prediction: Tensor, dates: CrossSections) -> Tensor:
    """Mean of -y log p - (1 - y) log(1 - p)."""
    check_probabilities(dates)
    return dates.mean(functional.binary_cross_entropy_with_logits(prediction, dates.target_BH, reduction="none"))


@dataclass(frozen=True, kw_only=True)
class FocalConfig(LossConfig):
    """Settings of focal."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    gamma: float = 2.0
    """How much less counts what is sure already; 0: as in bce."""
    alpha: float | None = None
    """Weight of the ups, 1 - alpha that of the downs; null: 1 and 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.gamma >= 0:
            raise ValueError(f"gamma = {self.gamma!r}: must be >= 0")
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise ValueError(f"alpha = {self.alpha!r}: must be in (0, 1)")


def focal(prediction: Tensor, dates: CrossSections, gamma: float, alpha: float | None) -> Tensor:
    """Mean of -y a (1 - p)^gamma log p - (1 - y) (1 - a) p^gamma log(1 - p): what is sure already counts less.

    Source: Lin et al. (2017), "Focal Loss for Dense Object Detection". `alpha` = None puts both factors a at 1; with
    gamma = 0 that is `bce`.
    """
    check_probabilities(dates)
    log_up, log_down = functional.logsigmoid(prediction), functional.logsigmoid(-prediction)
    weight_up, weight_down = (1.0, 1.0) if alpha is None else (alpha, 1.0 - alpha)
    up = weight_up * torch.exp(gamma * log_down) * log_up
    down = weight_down * torch.exp(gamma * log_up) * log_down
    return dates.mean(-dates.target_BH * up - (1.0 - dates.target_BH) * down)


def hinge(prediction: Tensor, dates: CrossSections) -> Tensor:
    """Mean of max(0, 1 - s x) with s = 2 y - 1: nothing to gain beyond a margin of 1. x is then no logit of a chance.

    Source: Cortes & Vapnik (1995), "Support-Vector Networks".
    """
    check_probabilities(dates)
    return dates.mean(functional.relu(1.0 - (2.0 * dates.target_BH - 1.0) * prediction))


def check_probabilities(dates: CrossSections) -> None:
    """Targets lie in [0, 1]; ValueError otherwise."""
    wrong = dates.target_BH[(dates.target_BH < 0) | (dates.target_BH > 1)]
    if len(wrong):
        raise ValueError(
            f"target holds {len(wrong)} values outside [0, 1], first {wrong[0].item():g}: bce, focal and hinge need "
            "a direction, 1 (up) or 0 (down)"
        )
