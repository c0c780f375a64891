"""Differentiable rank correlation: Spearman's, with the ranks of the forecasts made soft.

The soft rank of forecast i among the n of its date is 1/2 + sum_j sigmoid((z_i - z_j) / temperature), z being the
forecasts over their standard deviation on that date: as the temperature goes to 0 it becomes the average rank, ties
included. Source: Qin, Liu & Li (2010), "A General Approximation Framework for Direct Optimization of Information
Retrieval Measures" (the sigmoid of pairs); Blondel et al. (2020), "Fast Differentiable Sorting and Ranking" (Spearman
as a loss). Time grows with n^2, memory does not: pairs are made in chunks, and again in the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from factor_models.losses.cross_section import VARIANCE_FLOOR, CrossSections, pair_chunks
from factor_models.losses.settings import LossConfig, check_positive

LEAST_VARIANCE = 1e-4
"""Variance of ranks as shares below which the correlation fades to 0.

One of 2,000 forecasts unlike the others has more.
"""


@dataclass(frozen=True, kw_only=True)
class RankConfig(LossConfig):
    """Settings of rank."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    temperature: float = 0.1
    """Softness of the ranks, in standard deviations of a date's forecasts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "temperature")


def rank_error(prediction: Tensor, dates: CrossSections, temperature: float) -> Tensor:
    """1 - Spearman correlation of soft ranks of the prediction and average ranks of the target."""
    # As shares of the date's weight: 1 / 12 is the variance of ranks without ties, whatever the number of symbols.
    total_BH = torch.where(dates.total_GH > 0, dates.total_GH, 1.0)[dates.groups]
    x_BH = dates.centred(soft_ranks(prediction, dates, temperature) / total_BH)
    y_BH = dates.centred(average_ranks(dates) / total_BH)
    variance_x_GH, variance_y_GH = dates.mean(x_BH.square()), dates.mean(y_BH.square())
    scale_GH = (variance_x_GH.clamp(min=LEAST_VARIANCE) * variance_y_GH.clamp(min=LEAST_VARIANCE)).sqrt()
    return 1.0 - dates.mean(x_BH * y_BH) / scale_GH


def soft_ranks(prediction: Tensor, dates: CrossSections, temperature: float) -> Tensor:
    """Ranks 1..n per date (B, H), real numbers; a window of weight 2 counts as two."""
    centred_BH = dates.centred(prediction)
    scale_GH = (dates.mean(centred_BH.square()) + VARIANCE_FLOOR).sqrt()
    ranks: Tensor = _SoftRanks.apply(centred_BH / scale_GH[dates.groups], dates.mass_BH, dates.rows, temperature)
    return ranks


def average_ranks(dates: CrossSections) -> Tensor:
    """Ranks of the target 1..n per date (B, H), ties sharing their mean; O(n log n)."""
    ranks_BH = torch.zeros_like(dates.target_BH)
    for rows in dates.rows:
        values_HN = dates.target_BH[rows].T.contiguous()
        ordered_HN, order_HN = values_HN.sort(dim=1)
        mass_HN = dates.mass_BH[rows].T.gather(1, order_HN)
        # Summed by numpy: a GPU has no deterministic cumulative sum.
        sums = np.cumsum(np.pad(mass_HN.cpu().numpy(), ((0, 0), (1, 0))), axis=1)
        below_HN = torch.from_numpy(sums).to(mass_HN.device)
        first_HN = torch.searchsorted(ordered_HN, values_HN, side="left")
        last_HN = torch.searchsorted(ordered_HN, values_HN, side="right")
        ranks_BH[rows] = (0.5 + 0.5 * (below_HN.gather(1, first_HN) + below_HN.gather(1, last_HN))).T
    return ranks_BH


class _SoftRanks(torch.autograd.Function):
    """r_i = 1/2 + sum_j w_j sigmoid((z_i - z_j) / temperature), with a backward pass that keeps no pairs."""

    @staticmethod
    def forward(ctx: Any, score: Tensor, mass: Tensor, rows: list[Tensor], temperature: float) -> Tensor:
        ctx.save_for_backward(score, mass)
        ctx.rows, ctx.temperature = rows, temperature
        ranks = torch.zeros_like(score)
        for of_date in rows:
            z_NH, w_NH = score[of_date], mass[of_date]
            for part in pair_chunks(*z_NH.shape):
                above_PNH = torch.sigmoid((z_NH[part, None] - z_NH[None]) / temperature)
                ranks[of_date[part]] = 0.5 + (above_PNH * w_NH).sum(dim=1)
        return ranks

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """dL/dz_i = sum_j sigmoid'((z_i - z_j) / temperature) (g_i w_j - w_i g_j) / temperature."""
        (gradient,) = gradients
        score, mass = ctx.saved_tensors
        result = torch.zeros_like(score)
        for of_date in ctx.rows:
            z_NH, w_NH, g_NH = score[of_date], mass[of_date], gradient[of_date]
            for part in pair_chunks(*z_NH.shape):
                above_PNH = torch.sigmoid((z_NH[part, None] - z_NH[None]) / ctx.temperature)
                slope_PNH = above_PNH * (1.0 - above_PNH)
                pulled = g_NH[part] * (slope_PNH * w_NH).sum(dim=1) - w_NH[part] * (slope_PNH * g_NH).sum(dim=1)
                result[of_date[part]] = pulled / ctx.temperature
        return result, None, None, None
