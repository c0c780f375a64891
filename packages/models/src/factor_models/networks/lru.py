"""Linear recurrences of every feature, a line through them, and products of what the last bar shows.

Each feature runs through K diagonal linear recurrences s = a s + sqrt(1 - a^2) x whose decays a are learned, from one
bar to the whole window. Nothing between bars is non-linear, so the state of the last bar is a weighted sum over the
window and costs a product per bar and state, not a matrix per bar: a long lookback is cheap. The recurrence is that of
Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences", with real decays, on the inputs
themselves and without a mixing layer on top. What is not linear is read from the last bar: gated units
tanh(W x) * tanh(V x), those of Dauphin et al. 2017 (arXiv 1612.08083) with tanh on both sides, so that a product of two
signs is one unit.

Shapes: B windows, L bars of lookback, F features, K states of a feature, D gated units, H horizons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.pretrained import ZooNetwork


@dataclass(frozen=True, kw_only=True)
class LRUConfig:
    """Size of the recurrent model."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 60
    """Bars a window holds."""
    memories: int = 4
    """States of each feature; their half-lives begin evenly spaced in logarithms from 1 bar to the lookback."""
    hidden: int = 32
    """Gated units on the last bar."""
    dropout: float = 0.0
    """Share of gated units dropped while training."""

    def __post_init__(self) -> None:
        check_at_least(self, {"lookback": 1, "memories": 1, "hidden": 1})
        check_share(self, "dropout")


class LRUForecaster(ZooNetwork):
    """A line through all states and the last bar, plus a line through gated units of the last bar."""

    input_kind = "features"
    log_rates_K1: Tensor
    lags_L: Tensor

    def __init__(self, config: LRUConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        half_lives = torch.logspace(0.0, math.log10(config.lookback), config.memories, dtype=torch.float64)
        rates_K = (math.log(2.0) / half_lives).log().float()
        self.register_buffer("log_rates_K1", rates_K[:, None])
        self.register_buffer("lags_L", torch.arange(config.lookback - 1, -1, -1.0))
        self.shift_KF = nn.Parameter(torch.zeros(config.memories, num_features))
        """Learned change of the logarithm of each rate: weight decay draws it to what it began with."""
        self.gate = nn.Linear(num_features, config.hidden)
        self.value = nn.Linear(num_features, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden, num_horizons)
        self.line = nn.Linear((1 + config.memories) * num_features, num_horizons, bias=False)
        nn.init.zeros_(self.line.weight)  # little can be known: noise in a hundred weights would be unlearned for long

    def weights(self) -> Tensor:
        """Weight of each bar in each state, (K, L, F); the squares of an endless window sum to 1."""
        rate_KF = (self.log_rates_K1 + self.shift_KF).exp()
        scale_KF = (-torch.expm1(-2.0 * rate_KF)).sqrt()
        return scale_KF[:, None] * torch.exp(-rate_KF[:, None] * self.lags_L[:, None])

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        check_windows(x_BLF, self.lookback, self.num_features)
        states_FBK = x_BLF.permute(2, 0, 1) @ self.weights().permute(2, 1, 0)
        last_BF = x_BLF[:, -1]
        gated_BD = torch.tanh(self.gate(last_BF)) * torch.tanh(self.value(last_BF))
        known_BE = torch.cat([last_BF, states_FBK.permute(1, 2, 0).flatten(1)], dim=1)
        return self.head(self.dropout(gated_BD)) + self.line(known_BE)
