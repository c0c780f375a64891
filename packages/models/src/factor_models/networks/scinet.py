"""SCINet: a window is split into its even and its odd bars, each half corrects the other, and so on in a binary tree.

Of a split, d = odd * exp(phi(even)) and c = even * exp(psi(odd)); then even' = c + U(d) and odd' = d - P(c), where phi,
psi, U and P are small convolutional networks. The halves are split in turn; at the end all bars are put back into their
order, the input is added, and one linear map reads the whole window.
After Liu, Zeng, Chen, Xu, Lai, Ma & Xu 2022, "SCINet: Time Series Modeling and Forecasting with Sample Convolution and
Interaction" (NeurIPS), one tree, on a linear map of the features in place of the raw series.

The convolutions look both ways inside the window; no bar after the window is ever seen, and there is no state per bar.

Shapes: B windows, L bars of lookback, F features, C channels, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.pretrained import ZooNetwork


@dataclass(frozen=True, kw_only=True)
class SCINetConfig:
    """Size of the tree."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 16
    """Bars a window holds; a multiple of 2**levels."""
    channels: int = 16
    """Channels of a bar."""
    levels: int = 2
    """Splits on the way from the root to a leaf."""
    kernel: int = 5
    """Bars that the first convolution of each small network combines."""
    expansion: int = 2
    """Channels inside the small networks, as a multiple of `channels`."""
    dropout: float = 0.0
    """Share of units dropped while training, inside the small networks and before the head."""

    def __post_init__(self) -> None:
        sizes = ("lookback", "channels", "levels", "kernel", "expansion")
        check_at_least(self, dict.fromkeys(sizes, 1))
        check_share(self, "dropout")
        if self.lookback % 2**self.levels:
            raise ValueError(
                f"lookback = {self.lookback}: must be a multiple of 2**levels = 2**{self.levels} = "
                f"{2**self.levels}, since each level halves the window"
            )


class Convolution(nn.Linear):
    """A convolution over bars (B, L, C) without padding, as one matrix product; the weight is (out, in * kernel)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(in_channels * kernel, out_channels)
        self.kernel = kernel

    def forward(self, x_BLC: Tensor) -> Tensor:
        """Return the convolution along bars, without padding."""
        return super().forward(x_BLC.unfold(1, self.kernel, 1).flatten(2))


class RepeatEnds(nn.Module):
    """The first and the last bar are repeated, so that a kernel of `kernel` and one of 3 give back L bars."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.before = (kernel + 1) // 2
        self.after = kernel + 1 - self.before

    def forward(self, x_BLC: Tensor) -> Tensor:
        """Return x with its first and last bar repeated, (B, before + L + after, C)."""
        first, last = x_BLC[:, :1], x_BLC[:, -1:]
        return torch.cat([first.expand(-1, self.before, -1), x_BLC, last.expand(-1, self.after, -1)], dim=1)


def small_network(config: SCINetConfig) -> nn.Module:
    """phi, psi, U or P: values in (-1, 1), as many bars and channels as it reads."""
    hidden = config.channels * config.expansion
    return nn.Sequential(
        RepeatEnds(config.kernel),
        Convolution(config.channels, hidden, config.kernel),
        nn.LeakyReLU(),
        nn.Dropout(config.dropout),
        Convolution(hidden, config.channels, 3),
        nn.Tanh(),
    )


class SplitTree(nn.Module):
    """Split, interact, and the same again on both halves; bars come back in their order (B, L, C)."""

    def __init__(self, config: SCINetConfig, levels: int) -> None:
        super().__init__()
        self.phi, self.psi = small_network(config), small_network(config)
        self.update, self.project = small_network(config), small_network(config)
        self.even = SplitTree(config, levels - 1) if levels > 1 else nn.Identity()
        self.odd = SplitTree(config, levels - 1) if levels > 1 else nn.Identity()

    def forward(self, x_BLC: Tensor) -> Tensor:
        """Return the bars after the interaction of even and odd ones, in their order, (B, L, C)."""
        even, odd = self.interact(x_BLC[:, 0::2], x_BLC[:, 1::2])
        return torch.stack([self.even(even), self.odd(odd)], dim=2).flatten(1, 2)

    def interact(self, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
        """The halves (B, L / 2, C) after each has corrected the other."""
        scaled_odd = odd * self.phi(even).exp()
        scaled_even = even * self.psi(odd).exp()
        return scaled_even + self.update(scaled_odd), scaled_odd - self.project(scaled_even)


class SCINetForecaster(ZooNetwork):
    """Reads the whole window at once."""

    input_kind = "features"

    def __init__(self, config: SCINetConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.embed = nn.Linear(num_features, config.channels)
        self.tree = SplitTree(config, config.levels)
        self.norm = nn.LayerNorm(config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.lookback * config.channels, num_horizons)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        check_windows(x_BLF, self.lookback, self.num_features)
        embedded_BLC = self.embed(x_BLF)
        mixed_BLC = embedded_BLC + self.tree(embedded_BLC)
        return self.head(self.dropout(self.norm(mixed_BLC).flatten(1)))
