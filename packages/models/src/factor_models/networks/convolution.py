"""Causal dilated convolutions over the bars of a window, and the residual block made of them.

Shapes: B windows, L bars of lookback, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.networks.blocks import StochasticDepth


def shift_later(x_BLC: Tensor, num_bars: int) -> Tensor:
    """Each bar sees the value of `num_bars` earlier; zero before the window."""
    if num_bars == 0:
        return x_BLC
    num_kept = max(x_BLC.shape[1] - num_bars, 0)
    padding = x_BLC.shape[1] - num_kept
    return functional.pad(x_BLC[:, :num_kept], (0, 0, padding, 0))


class CausalConvolution(nn.Linear):
    """A bar's output is a linear map of its own input and that of dilation, 2 dilation, ... bars earlier.

    It is written as one matrix product over shifted copies: at the sizes of windows several times faster on a CPU than
    a one-dimensional convolution. The weight is (out, kernel * in), the bar itself first.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dilation: int) -> None:
        super().__init__(kernel * in_channels, out_channels)
        self.shifts = [tap * dilation for tap in range(kernel)]

    def forward(self, x_BLC: Tensor, spacing: int = 1) -> Tensor:
        """Output of each bar (B, L, out); of the bars given if they are every `spacing`-th, which divides dilation."""
        taps = [shift_later(x_BLC, shift // spacing) for shift in self.shifts]
        return super().forward(torch.cat(taps, dim=-1))


class CausalBlock(nn.Module):
    """x + gate(convolution(... relu(convolution(LayerNorm(x))))), all convolutions causal, of one dilation.

    Parameters
    ----------
    channels, kernel, dilation : size of each convolution
    dropout : share of channels dropped after each convolution, while training
    convolutions : one after another, with a ReLU between them
    gated : the last one is followed by a gated linear unit (it then has twice the channels), else by a ReLU
    stochastic_depth : probability that a window skips the branch, while training
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        dilation: int,
        dropout: float,
        *,
        convolutions: int = 1,
        gated: bool = True,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        self.gated = gated
        self.norm = nn.LayerNorm(channels)
        self.earlier = nn.ModuleList(
            CausalConvolution(channels, channels, kernel, dilation) for _ in range(convolutions - 1)
        )
        self.convolution = CausalConvolution(channels, channels * (2 if gated else 1), kernel, dilation)
        self.dropout = nn.Dropout(dropout)
        self.depth = StochasticDepth(stochastic_depth)

    def forward(self, x_BLC: Tensor, spacing: int = 1) -> Tensor:
        """States after the block; of the bars given if they are every `spacing`-th, which divides dilation."""
        branch_BLC = self.norm(x_BLC)
        for convolution in self.earlier:
            branch_BLC = self.dropout(functional.relu(convolution(branch_BLC, spacing)))
        branch_BLC = self.convolution(branch_BLC, spacing)
        branch_BLC = functional.glu(branch_BLC, dim=-1) if self.gated else functional.relu(branch_BLC)
        return x_BLC + self.depth(self.dropout(branch_BLC))
