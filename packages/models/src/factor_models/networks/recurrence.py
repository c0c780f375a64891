"""What the recurrent models share: their sizes, the stacked cells, the reading of the last state, attention over time.

Normalisation is LayerNorm throughout: a prediction then never depends on the other windows of a batch, and one window
alone can be predicted, which BatchNorm gives only in evaluation.

Shapes: B windows, L bars of lookback, F features, D hidden units, H horizons.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.gru_layers import GRULayers

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
        owner = type(self).__name__
        check_at_least(owner, self, {"lookback": 1, "hidden": 1, "layers": 1})
        check_share(owner, self, "dropout")


def make_recurrence(
    cell: Cell, num_inputs: int, config: RecurrentConfig, bidirectional: bool = False
) -> nn.RNNBase:
    """Stacked cells over (B, L, num_inputs); dropout between layers only."""
    return {"lstm": nn.LSTM, "gru": GRULayers}[cell](
        num_inputs,
        config.hidden,
        config.layers,
        batch_first=True,
        dropout=config.dropout if config.layers > 1 else 0.0,
        bidirectional=bidirectional,
    )


class LastStateForecaster(nn.Module):
    """The last hidden state, normalised, feeds one head per horizon.

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
        states_BLD, _ = self.recurrence(x_BLF)
        return states_BLD

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        check_windows(x_BLF, self.lookback, self.num_features)
        last_BD = self.states(x_BLF)[:, -1]
        return self.head(self.dropout(self.norm(last_BD)))


class TwoWayForecaster(nn.Module):
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
        states_BLE, _ = self.recurrence(x_BLF)
        forwards_BD, backwards_BD = states_BLE[:, -1].chunk(2, -1)[0], states_BLE[:, 0].chunk(2, -1)[1]
        both_BE = self.norm(torch.cat([forwards_BD, backwards_BD], dim=-1))
        return self.head(self.dropout(self.mix(self.dropout(both_BE)).relu()))


class TemporalAttention(nn.Module):
    """Additive attention over the bars: softmax over time of u' tanh(W h_t + b)."""

    def __init__(self, num_units: int) -> None:
        super().__init__()
        self.project = nn.Linear(num_units, num_units)
        self.score = nn.Linear(num_units, 1, bias=False)  # a bias would cancel in the softmax

    def forward(self, states_BLD: Tensor) -> Tensor:
        """Weight of each bar (B, L): positive, sum 1 over the bars."""
        states_LBD = states_BLD.transpose(0, 1)  # as recurrent layers leave them in memory: nothing is copied
        return self.score(self.project(states_LBD).tanh()).squeeze(-1).softmax(dim=0).T
