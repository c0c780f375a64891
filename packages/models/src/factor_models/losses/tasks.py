"""Weights of several targets that are learnt with the model.

Source: Kendall, Gal & Cipolla (2018), "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and
Semantics": L = sum_k exp(-s_k) L_k + s_k with s_k = log sigma_k^2 (twice their form for regression). Its minimum over
s_k is at s_k = log L_k, so in the end every target has the weight 1 / L_k: none dominates because its loss is large.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from factor_models.losses.cross_section import CrossSections


class LearnedWeights(nn.Module):
    """exp(-log variance) per target, starting at 1."""

    def __init__(self, num_targets: int) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(num_targets))

    def forward(self) -> Tensor:
        """Weights (H,)."""
        return torch.exp(-self.log_variance)

    def penalty(self, dates: CrossSections) -> Tensor:
        """Mean of the log variances; a target counts by the share of dates on which it is known, as its loss does."""
        return dates.average(self.log_variance.expand(dates.num_groups, -1))
