"""What the recurrent models share: their sizes, the stacked cells, the reading of the final state.

Normalisation is LayerNorm throughout: a prediction then never depends on the other windows of a batch, and one window
alone can be predicted, which BatchNorm gives only in evaluation.

Shapes: B windows, L bars of lookback, F features, D hidden units, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.pretrained import ZooNetwork
from factor_models.networks.recurrent_layers import GRULayers, LSTMLayers

Cell = Literal["lstm", "gru"]


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Size of a recurrent model."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 20
    """Bars a window holds."""
    hidden: int = 32
    """Units of the hidden state, of each direction if there are two."""
    layers: int = 1
    """Recurrent layers on top of each other."""
    dropout: float = 0.0
    """Share of hidden units dropped while training, between layers and before the head."""

    def __post_init__(self) -> None:
        check_at_least(self, {"lookback": 1, "hidden": 1, "layers": 1})
        check_share(self, "dropout")


def make_recurrence(
    cell: Cell, num_inputs: int, config: RecurrentConfig, bidirectional: bool = False
) -> LSTMLayers | GRULayers:
    """Stacked cells over (B, L, num_inputs); dropout between layers only."""
    return {"lstm": LSTMLayers, "gru": GRULayers}[cell](
        num_inputs,
        config.hidden,
        config.layers,
        batch_first=True,
        dropout=config.dropout if config.layers > 1 else 0.0,
        bidirectional=bidirectional,
    )


class LastStateForecaster(ZooNetwork):
    """The final hidden state, normalised, feeds one head per horizon.

    Causal in time: the state of a bar depends on that bar and earlier ones only.
    """

    input_kind = "features"
    cell: ClassVar[Cell]

    def __init__(self, config: RecurrentConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.recurrence = make_recurrence(self.cell, num_features, config)
        self.norm = nn.LayerNorm(config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden, num_horizons)

    def states(self, x_BLF: Tensor) -> Tensor:
        """Hidden state after each bar, (B, L, D)."""
        return self.recurrence(x_BLF)[0]

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        check_windows(x_BLF, self.lookback, self.num_features)
        _, final_BD = self.recurrence(x_BLF)
        return self.head(self.dropout(self.norm(final_BD)))


class TwoWayForecaster(ZooNetwork):
    """Reads the window forwards and backwards; the two final states together feed a hidden layer and the heads.

    The window ends at t, so reading it backwards sees nothing later. The final state of the backward direction is the
    one after the first bar: at the last bar it would have seen that bar alone.
    """

    input_kind = "features"
    cell: ClassVar[Cell]

    def __init__(self, config: RecurrentConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.recurrence = make_recurrence(self.cell, num_features, config, bidirectional=True)
        self.norm = nn.LayerNorm(2 * config.hidden)
        self.mix = nn.Linear(2 * config.hidden, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden, num_horizons)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        check_windows(x_BLF, self.lookback, self.num_features)
        _, final_BE = self.recurrence(x_BLF)
        return self.head(self.dropout(self.mix(self.dropout(self.norm(final_BE))).relu()))
