"""LSTM over the lookback window: the last hidden state, normalised, feeds one head per horizon.

Shapes: B windows, L bars of lookback, F features, D hidden units, H horizons.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows


@dataclass(frozen=True, kw_only=True)
class LSTMConfig:
    """Size of the recurrent model."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 20
    """Bars a window holds."""
    hidden: int = 32
    """Units of the hidden state."""
    layers: int = 1
    """Recurrent layers on top of each other."""
    dropout: float = 0.0
    """Share of hidden units dropped while training, between layers and before the head."""

    def __post_init__(self) -> None:
        check_at_least("LSTMConfig", self, {"lookback": 1, "hidden": 1, "layers": 1})
        check_share("LSTMConfig", self, "dropout")


class LSTMForecaster(nn.Module):
    """Causal in time: the state of a bar depends on that bar and earlier ones only."""

    input_kind = "features"

    def __init__(self, config: LSTMConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        between_layers = config.dropout if config.layers > 1 else 0.0
        self.recurrence = nn.LSTM(
            num_features, config.hidden, config.layers, batch_first=True, dropout=between_layers
        )
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
