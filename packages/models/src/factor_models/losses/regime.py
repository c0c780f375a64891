"""Weights that follow the market: calm, ordinary or volatile, by the dispersion of a batch's targets.

The dispersion is the standard deviation of the targets over the symbols of a date, averaged over the dates and targets
of the whole batch, all processes together. It is held against its mean over the last batches. Targets that are rescaled
on every date (rank, zscore, rank_gauss) always have the same dispersion: the regime then never changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least
from factor_models.losses.cross_section import CrossSections


@dataclass(frozen=True, kw_only=True)
class RegimeConfig:
    """When a batch is volatile or calm, and what is then added to the weights."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    volatile: float = 1.5
    """Above this ratio to the mean dispersion a batch is volatile."""
    calm: float = 0.7
    """Below this ratio it is calm."""
    risk: float = 0.5
    """Added to the weight of the risk terms in a volatile batch."""
    ic: float = 0.3
    """Added to the weight of the IC term in a calm batch."""
    memory: int = 20
    """Batches whose dispersions are averaged."""
    least: int = 5
    """With no more batches than that seen, every batch is ordinary."""

    def __post_init__(self) -> None:
        check_at_least(self, {"risk": 0, "ic": 0, "memory": 1, "least": 0})
        if not 0 < self.calm <= self.volatile:
            raise ValueError(f"calm = {self.calm!r}: must be above 0 and at most volatile = {self.volatile!r}")
        if self.least >= self.memory:
            raise ValueError(f"least = {self.least!r}: must be below memory = {self.memory!r}")


class Regime(nn.Module):
    """The state, in buffers: a continued run goes on as if it had not stopped."""

    history: Tensor
    num_seen: Tensor

    def __init__(self, config: RegimeConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("history", torch.zeros(config.memory))
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.int64))
        self.state = 0
        """-1 calm, 0 ordinary, 1 volatile: of the batch at hand."""

    def observe(self, dispersion: float) -> None:
        """Judge a batch by those before it, then remember it; a batch without known targets is ordinary."""
        self.state = 0
        if not (math.isfinite(dispersion) and dispersion > 0):
            return
        seen, memory = int(self.num_seen), self.config.memory
        if seen > self.config.least:
            ratio = dispersion / float(self.history[: min(seen, memory)].double().mean())
            self.state = int(ratio > self.config.volatile) - int(ratio < self.config.calm)
        self.history[seen % memory] = dispersion
        self.num_seen += 1

    def risk_weight(self) -> float:
        """Return the addition to the weight of the risk terms."""
        return self.config.risk if self.state > 0 else 0.0

    def ic_weight(self) -> float:
        """Return the addition to the weight of the IC term."""
        return self.config.ic if self.state < 0 else 0.0


def summed_dispersion(dates: CrossSections) -> Tensor:
    """Standard deviation of the target per date, averaged over targets, summed over dates (a scalar)."""
    variance_GH = dates.mean(dates.centred(dates.target_BH).square())
    return dates.average(variance_GH.sqrt()) * dates.num_groups
