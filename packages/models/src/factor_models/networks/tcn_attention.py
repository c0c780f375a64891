"""Temporal convolutions, then attention of the last bar over the window.

Causal convolutions with dilation 1, 2, 4, ... see ever longer stretches (Bai, Kolter & Koltun 2018, "An
Empirical Evaluation of Generic Convolutional and Recurrent Networks"); each block is residual, pre-normalised
and gated (GLU). The last bar then attends over all bars with one learnt bias per head and distance in bars.

Shapes: B windows, L bars of lookback, F features, C channels, N attention heads, H horizons.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.checks import check_at_least, check_share, check_windows


@dataclass(frozen=True, kw_only=True)
class TCNAttentionConfig:
    """Size of the convolutional model."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 20
    """Bars a window holds."""
    channels: int = 32
    """Channels of every block; a multiple of heads."""
    levels: int = 3
    """Blocks; block i has dilation 2**i."""
    kernel: int = 3
    """Bars a convolution combines."""
    heads: int = 4
    """Attention heads."""
    dropout: float = 0.0
    """Share of channels dropped while training, in each block and before the head."""

    def __post_init__(self) -> None:
        minimums = {"lookback": 1, "channels": 1, "levels": 1, "kernel": 1, "heads": 1}
        check_at_least("TCNAttentionConfig", self, minimums)
        check_share("TCNAttentionConfig", self, "dropout")
        if self.channels % self.heads:
            raise ValueError(
                f"TCNAttentionConfig.channels = {self.channels}: must be a multiple of heads = {self.heads}"
            )


def shift_later(x_BLC: Tensor, num_bars: int) -> Tensor:
    """Each bar sees the value of `num_bars` earlier; zero before the window."""
    if num_bars == 0:
        return x_BLC
    num_kept = max(x_BLC.shape[1] - num_bars, 0)
    padding = x_BLC.shape[1] - num_kept
    return functional.pad(x_BLC[:, :num_kept], (0, 0, padding, 0))


class CausalBlock(nn.Module):
    """x + GLU(causal dilated convolution(LayerNorm(x))).

    The convolution is written as one matrix product over shifted copies: at these sizes several times faster
    on a CPU than a one-dimensional convolution.
    """

    def __init__(self, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.shifts = [tap * dilation for tap in range(kernel)]
        self.norm = nn.LayerNorm(channels)
        self.convolution = nn.Linear(kernel * channels, 2 * channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLC: Tensor) -> Tensor:
        normed_BLC = self.norm(x_BLC)
        taps_BLK = torch.cat([shift_later(normed_BLC, shift) for shift in self.shifts], dim=-1)
        return x_BLC + self.dropout(functional.glu(self.convolution(taps_BLK), dim=-1))


class LastBarAttention(nn.Module):
    """Attention of the last bar over the window, with a learnt bias per head and distance."""

    def __init__(self, channels: int, heads: int, lookback: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)  # a bias would cancel in the softmax
        self.value = nn.Linear(channels, channels)
        self.bias_NL = nn.Parameter(torch.zeros(heads, lookback))
        self.out = nn.Linear(channels, channels)

    def forward(self, x_BLC: Tensor) -> Tensor:
        """Mixed values (B, C) for the last bar."""
        num_windows, num_bars, channels = x_BLC.shape
        split = (num_windows, num_bars, self.heads, channels // self.heads)
        key_BLNE, value_BLNE = self.key(x_BLC).view(split), self.value(x_BLC).view(split)
        query_BNE = self.query(x_BLC[:, -1]).view(num_windows, self.heads, -1)
        score_BLN = (key_BLNE * query_BNE.unsqueeze(1)).sum(-1) * (channels // self.heads) ** -0.5
        weight_BLN = (score_BLN + self.bias_NL.T).softmax(dim=1)
        mixed_BNE = (weight_BLN.unsqueeze(-1) * value_BLNE).sum(dim=1)
        return self.out(mixed_BNE.reshape(num_windows, channels))


class TCNAttentionForecaster(nn.Module):
    """Convolutional states are causal: the state of a bar depends on that bar and earlier ones only."""

    input_kind = "features"

    def __init__(self, config: TCNAttentionConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.project = nn.Linear(num_features, config.channels)
        self.blocks = nn.Sequential(
            *(
                CausalBlock(config.channels, config.kernel, 2**level, config.dropout)
                for level in range(config.levels)
            )
        )
        self.norm = nn.LayerNorm(config.channels)
        self.attention = LastBarAttention(config.channels, config.heads, config.lookback)
        self.head_norm = nn.LayerNorm(config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.channels, num_horizons)

    def states(self, x_BLF: Tensor) -> Tensor:
        """Convolutional state of each bar, (B, L, C)."""
        return self.blocks(self.project(x_BLF))

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        check_windows(x_BLF, self.lookback, self.num_features)
        states_BLC = self.states(x_BLF)
        last_BC = states_BLC[:, -1] + self.attention(self.norm(states_BLC))
        return self.head(self.dropout(self.head_norm(last_BC)))
