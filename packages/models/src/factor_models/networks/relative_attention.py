"""Attention of a bar over itself and earlier bars of its window, by distance, at several time scales.

Shapes: B windows, L bars of lookback, C channels, N attention heads, E = C / N.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from factor_models.networks.blocks import attend


def trailing_mean(x_BLC: Tensor, num_bars: int) -> Tensor:
    """Mean over the bar and the num_bars - 1 before it; over fewer at the start of the window."""
    if num_bars == 1:
        return x_BLC
    length = x_BLC.shape[1]
    age_LL = torch.arange(length, device=x_BLC.device).unsqueeze(1) - torch.arange(length, device=x_BLC.device)
    inside_LL = ((age_LL >= 0) & (age_LL < num_bars)).to(x_BLC.dtype)
    return (inside_LL / inside_LL.sum(dim=1, keepdim=True)) @ x_BLC


class RelativeAttention(nn.Module):
    """Multi-head causal attention.

    Parameters
    ----------
    channels, heads, lookback : size; heads divides channels
    relative_position : a learnt bias per head and distance in bars is added to the scores
    head_gates : a bar scales each head's values by a number in (0, 1) that it computes from its own state
    pooled_bars : a bar is looked at through its mean with the pooled_bars - 1 bars before it
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        lookback: int,
        *,
        relative_position: bool = True,
        head_gates: bool = False,
        pooled_bars: int = 1,
    ) -> None:
        super().__init__()
        self.heads, self.lookback, self.pooled_bars = heads, lookback, pooled_bars
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)  # a bias would cancel in the softmax
        self.value = nn.Linear(channels, channels)
        # Column L - 1 - d belongs to distance d: for the last bar of the window, columns are bars.
        self.bias_NL = nn.Parameter(torch.zeros(heads, lookback)) if relative_position else None
        self.out = nn.Linear(channels, channels)
        self.gate = nn.Linear(channels, heads) if head_gates else None

    def forward(self, x_BLC: Tensor) -> Tensor:
        """Mixed values (B, L, C) of every bar."""
        seen_BLC = trailing_mean(x_BLC, self.pooled_bars)
        mixed_BLC = attend(
            self.query(x_BLC),
            self.key(seen_BLC),
            self.value(seen_BLC),
            self.heads,
            mask=self._scores_by_distance(),
            causal=self.bias_NL is None,
        )
        return self.out(self._gated(mixed_BLC, x_BLC))

    def last_bar(self, x_BLC: Tensor) -> Tensor:
        """Mixed values (B, C) of the last bar: `forward(x)[:, -1]`, without the work for the others."""
        num_windows, num_bars, channels = x_BLC.shape
        split = (num_windows, num_bars, self.heads, channels // self.heads)
        seen_BLC = trailing_mean(x_BLC, self.pooled_bars)
        key_BLNE, value_BLNE = self.key(seen_BLC).view(split), self.value(seen_BLC).view(split)
        query_BNE = self.query(x_BLC[:, -1]).view(num_windows, self.heads, -1)
        score_BLN = (key_BLNE * query_BNE.unsqueeze(1)).sum(-1) * (channels // self.heads) ** -0.5
        if self.bias_NL is not None:
            score_BLN = score_BLN + self.bias_NL.T
        weight_BLN = score_BLN.softmax(dim=1)
        mixed_BNE = (weight_BLN.unsqueeze(-1) * value_BLNE).sum(dim=1)
        return self.out(self._gated(mixed_BNE.reshape(num_windows, channels), x_BLC[:, -1]))

    def _scores_by_distance(self) -> Tensor | None:
        """Return the addition to the score of (query bar, seen bar), (N, L, L): minus infinity for later bars."""
        if self.bias_NL is None:
            return None
        bar_L = torch.arange(self.lookback, device=self.bias_NL.device)
        age_LL = bar_L.unsqueeze(1) - bar_L
        bias_NLL = self.bias_NL[:, self.lookback - 1 - age_LL.clamp(min=0)]
        return bias_NLL.masked_fill(age_LL < 0, -torch.inf)

    def _gated(self, mixed: Tensor, x: Tensor) -> Tensor:
        """Each head's part of (..., C) times its gate."""
        if self.gate is None:
            return mixed
        gate = self.gate(x).sigmoid().unsqueeze(-1)
        return (mixed.unflatten(-1, (self.heads, -1)) * gate).flatten(-2)


class MultiScaleAttention(nn.Module):
    """One `RelativeAttention` per time scale, over means of so many bars; a linear map merges them.

    The means are trailing ones, at every bar: pooling in blocks and stretching the result back would show a bar the
    later bars of its block.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        lookback: int,
        *,
        relative_position: bool,
        head_gates: bool,
        scales: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            RelativeAttention(
                channels,
                heads,
                lookback,
                relative_position=relative_position,
                head_gates=head_gates,
                pooled_bars=scale,
            )
            for scale in scales
        )
        self.merge = nn.Linear(len(scales) * channels, channels)

    def forward(self, x_BLC: Tensor) -> Tensor:
        """Mixed values (B, L, C) of every bar."""
        return self.merge(torch.cat([attention(x_BLC) for attention in self.scales], dim=-1))

    def last_bar(self, x_BLC: Tensor) -> Tensor:
        """Mixed values (B, C) of the last bar."""
        scales = cast(Iterable[RelativeAttention], self.scales)
        return self.merge(torch.cat([attention.last_bar(x_BLC) for attention in scales], dim=-1))
