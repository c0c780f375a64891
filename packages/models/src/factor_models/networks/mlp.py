"""Multilayer perceptron on the last bars of a window, flattened: no order in time but what it learns.

Shapes: B windows, L bars of lookback, F features, D hidden units, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.pretrained import ZooNetwork


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """Size of the perceptron."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 5
    """Bars a window holds, all of them read; 1: the last bar alone."""
    hidden: int = 64
    """Units of each hidden layer."""
    layers: int = 2
    """Hidden layers."""
    dropout: float = 0.0
    """Share of units dropped while training, after each hidden layer."""

    def __post_init__(self) -> None:
        check_at_least(self, {"lookback": 1, "hidden": 1, "layers": 1})
        check_share(self, "dropout")


class MLPForecaster(ZooNetwork):
    """Hidden layers of linear map, LayerNorm (not BatchNorm: windows stay apart), GELU; then one head per horizon."""

    input_kind = "features"

    def __init__(self, config: MLPConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        widths = [config.lookback * num_features] + [config.hidden] * config.layers
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Linear(width, config.hidden),
                    nn.LayerNorm(config.hidden),
                    nn.GELU(),
                    nn.Dropout(config.dropout),
                )
                for width in widths[:-1]
            )
        )
        self.head = nn.Linear(config.hidden, num_horizons)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        check_windows(x_BLF, self.lookback, self.num_features)
        return self.head(self.blocks(x_BLF.flatten(1)))
