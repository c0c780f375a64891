"""Learning to rank: the order of a date's symbols as a whole list, and pair by pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from factor_models.losses.cross_section import CrossSections, pair_chunks
from factor_models.losses.settings import LossConfig, check_positive


@dataclass(frozen=True, kw_only=True)
class ListNetConfig(LossConfig):
    """Settings of listnet."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    temperature: float = 1.0
    """Temperature of the softmax of the targets, in their unit: the lower, the more the best symbols decide."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "temperature")


def listnet(prediction: Tensor, dates: CrossSections, temperature: float) -> Tensor:
    """Cross-entropy of the chances of being first: softmax(target / temperature) against softmax(prediction).

    Source: Cao et al. (2007), "Learning to Rank: From Pairwise Approach to Listwise Approach". The lower the
    temperature, the more the head of the list decides.
    """
    wanted_BH = _weighted_softmax(dates.target_BH / temperature, dates)
    largest_BH = dates.highest(prediction)[dates.groups]
    exp_GH = dates.total(dates.mass_BH * _safe_exp(prediction - largest_BH, dates))
    log_total_GH = torch.log(torch.where(exp_GH > 0, exp_GH, torch.ones_like(exp_GH)))
    return -dates.total(wanted_BH * (prediction - largest_BH - log_total_GH[dates.groups]))


def _weighted_softmax(values_BH: Tensor, dates: CrossSections) -> Tensor:
    """Shares within a date (B, H), a window of weight 2 counting as two; 0 where nothing is known."""
    exp_BH = dates.mass_BH * _safe_exp(values_BH - dates.highest(values_BH)[dates.groups], dates)
    total_GH = dates.total(exp_BH)
    return exp_BH / torch.where(total_GH > 0, total_GH, torch.ones_like(total_GH))[dates.groups]


def _safe_exp(values_BH: Tensor, dates: CrossSections) -> Tensor:
    """exp, 1 where the mass is 0: what is masked may lie above the largest of the rest and must not overflow."""
    return torch.exp(values_BH.masked_fill(dates.mass_BH <= 0, 0.0))


def ranknet(prediction: Tensor, dates: CrossSections) -> Tensor:
    """Mean over the pairs whose targets differ of log(1 + exp(-(the higher's forecast - the lower's))).

    Source: Burges et al. (2005), "Learning to Rank using Gradient Descent". Time grows with the square of the symbols,
    memory does not.
    """
    value: Tensor = _PairwiseLogistic.apply(prediction, dates.target_BH, dates.mass_BH, dates.rows, dates.groups)
    return value


class _PairwiseLogistic(torch.autograd.Function):
    """Mean per date (G, H); the gradient is made with the value, so no pair is kept."""

    @staticmethod
    def forward(ctx: Any, score: Tensor, target: Tensor, mass: Tensor, rows: list[Tensor], groups: Tensor) -> Tensor:
        total_GH = score.new_zeros(len(rows), score.shape[1])
        slope_BH = torch.zeros_like(score)
        for date, of_date in enumerate(rows):
            s_NH, y_NH, w_NH = score[of_date], target[of_date], mass[of_date]
            pairs_H, slope_NH = score.new_zeros(score.shape[1]), torch.zeros_like(s_NH)
            for part in pair_chunks(*s_NH.shape):
                weight_PNH = w_NH[part, None] * w_NH[None] * (y_NH[part, None] > y_NH[None])
                behind_PNH = s_NH[None] - s_NH[part, None]
                pairs_H += weight_PNH.sum(dim=(0, 1))
                total_GH[date] += (weight_PNH * functional.softplus(behind_PNH)).sum(dim=(0, 1))
                pull_PNH = weight_PNH * torch.sigmoid(behind_PNH)
                slope_NH[part] -= pull_PNH.sum(dim=1)
                slope_NH += pull_PNH.sum(dim=0)
            pairs_H = torch.where(pairs_H > 0, pairs_H, torch.ones_like(pairs_H))
            total_GH[date] /= pairs_H
            slope_BH[of_date] = slope_NH / pairs_H
        ctx.save_for_backward(slope_BH, groups)
        return total_GH

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        slope_BH, groups = ctx.saved_tensors
        return slope_BH * gradients[0][groups], None, None, None, None
