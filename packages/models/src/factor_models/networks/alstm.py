"""Attentive LSTM: the features of each bar through tanh, an LSTM, and attention over its states.

As in Feng et al. 2019, "Enhancing Stock Movement Prediction with Adversarial Training" (IJCAI), section 3.1, after Qin
et al. 2017: the latent representation of a window is the attention-weighted sum of the states beside the last state; a
linear head per horizon reads it. It is normalised, so that a distance in it means the same in every model.

Shapes: B windows, L bars of lookback, F features, D hidden units, E = 2 D latent units, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from factor_models.checks import check_one_of, check_windows
from factor_models.networks.blocks import WideLinear
from factor_models.networks.pretrained import ZooNetwork
from factor_models.networks.recurrence import Cell, RecurrentConfig, make_recurrence
from factor_models.networks.temporal_attention import TemporalAttention


@dataclass(frozen=True, kw_only=True)
class ALSTMConfig(RecurrentConfig):
    """Size of the attentive model."""

    cell: Cell = "lstm"
    """Recurrent cell under the attention: lstm as published, or gru."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of(self, "cell", ("lstm", "gru"))


class ALSTMForecaster(ZooNetwork):
    """States are causal: the state of a bar depends on that bar and earlier ones only."""

    input_kind = "features"

    def __init__(self, config: ALSTMConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.project = WideLinear(num_features, config.hidden)
        self.recurrence = make_recurrence(config.cell, config.hidden, config)
        self.attention = TemporalAttention(config.hidden)
        self.norm = nn.LayerNorm(2 * config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.hidden, num_horizons)

    def states(self, x_BLF: Tensor) -> Tensor:
        """Hidden state after each bar, (B, L, D)."""
        return self._read(x_BLF)[0]

    def attention_weights(self, x_BLF: Tensor) -> Tensor:
        """Return the weight of each bar (B, L): positive, sum 1 over the bars."""
        return self.attention.weights(self.states(x_BLF))

    def latent(self, x_BLF: Tensor) -> Tensor:
        """Representation (B, E) that the heads read."""
        check_windows(x_BLF, self.lookback, self.num_features)
        states_BLD, final_BD = self._read(x_BLF)
        latent_BE = torch.cat([self.attention(states_BLD), final_BD], dim=-1)
        return self.dropout(self.norm(latent_BE.to(x_BLF.dtype)))

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        return self.head(self.latent(x_BLF))

    def _read(self, x_BLF: Tensor) -> tuple[Tensor, Tensor]:
        """States of all bars, and the final one."""
        return self.recurrence(self.project(x_BLF.transpose(0, 1)).tanh().transpose(0, 1))
