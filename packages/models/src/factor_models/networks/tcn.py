"""Temporal convolutional network: causal convolutions with dilation 1, 2, 4, ... and a residual around every two.

The state of the last bar feeds one head per horizon. With n levels of two convolutions over k bars each a bar sees
1 + 2 (k - 1) (2^n - 1) bars. After Bai, Kolter & Koltun 2018, "An Empirical Evaluation of Generic Convolutional and
Recurrent Networks", with layer normalisation before a block where they normalise weights.

Shapes: B windows, L bars of lookback, F features, C channels, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.convolution import CausalBlock
from factor_models.networks.pretrained import ZooNetwork

CONVOLUTIONS = 2
"""Number of convolutions in a block."""


@dataclass(frozen=True, kw_only=True)
class TCNConfig:
    """Size of the convolutional model."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 20
    """Bars a window holds; those beyond the receptive field have no effect."""
    channels: int = 32
    """Channels of every block."""
    levels: int = 3
    """Blocks; block i has dilation 2**i."""
    kernel: int = 3
    """Bars a convolution combines."""
    dropout: float = 0.0
    """Share of channels dropped while training, after each convolution and before the head."""

    def __post_init__(self) -> None:
        check_at_least(self, {"lookback": 1, "channels": 1, "levels": 1, "kernel": 1})
        check_share(self, "dropout")

    @property
    def receptive_field(self) -> int:
        """Bars that the state of a bar depends on, itself included."""
        return 1 + CONVOLUTIONS * (self.kernel - 1) * (2**self.levels - 1)


class TCNForecaster(ZooNetwork):
    """Causal in time: the state of a bar depends on that bar and earlier ones only."""

    input_kind = "features"

    def __init__(self, config: TCNConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.project = nn.Linear(num_features, config.channels)
        self.blocks = nn.Sequential(
            *(
                CausalBlock(
                    config.channels,
                    config.kernel,
                    2**level,
                    config.dropout,
                    convolutions=CONVOLUTIONS,
                    gated=False,
                )
                for level in range(config.levels)
            )
        )
        self.norm = nn.LayerNorm(config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.channels, num_horizons)

    def states(self, x_BLF: Tensor) -> Tensor:
        """State of each bar, (B, L, C)."""
        return self.blocks(self.project(x_BLF))

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        check_windows(x_BLF, self.lookback, self.num_features)
        x_BLC = self.project(x_BLF)
        for level, block in enumerate(self.blocks):
            x_BLC = block(x_BLC, spacing=2**level)
            # Later blocks reach the last bar from every second of these alone, counted from the last.
            x_BLC = x_BLC[:, (x_BLC.shape[1] - 1) % 2 :: 2]
        return self.head(self.dropout(self.norm(x_BLC[:, -1])))
