"""Hybrid attention network: attention over the documents of a day, a GRU both ways over days, attention over days.

Hu, Liu, Bian, Liu & Liu (2018), "Listening to Chaotic Whispers: A Deep Learning Framework for News-oriented Stock Trend
Prediction". Theirs reads news alone; here a day also brings its features unless `prices` is false. The output is a
logit, or a forecast: what it means is up to the loss.

Shapes: B windows, L days, F features, K documents of a day, D numbers of a document, A width of the day states, H
horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.documents import DayEncoder
from factor_models.networks.pretrained import ZooNetwork


@dataclass(frozen=True, kw_only=True)
class HANConfig:
    """Size of the hybrid attention network."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 10
    """Days a window holds."""
    text_width: int = 32
    """Width of a document's embedding."""
    hidden: int = 32
    """Units of the recurrence, each way."""
    dropout: float = 0.0
    """Share of units dropped while training, of embeddings and before the head."""
    prices: bool = True
    """Read the features too; false: news alone, as in the paper."""

    def __post_init__(self) -> None:
        check_at_least(self, {"lookback": 1, "text_width": 1, "hidden": 1})
        check_share(self, "dropout")


class DayAttention(nn.Module):
    """Weights softmax_t(theta_t . sigmoid(W h_t + b)) with a theta of its own for every day of the window."""

    def __init__(self, width: int, lookback: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.theta_LA = nn.Parameter(torch.randn(lookback, width) * width**-0.5)

    def forward(self, state_BLA: Tensor) -> Tensor:
        """(B, L), summing to 1."""
        return (torch.sigmoid(self.hidden(state_BLA)) * self.theta_LA).sum(dim=-1).softmax(dim=1)


class HANForecaster(ZooNetwork):
    """Reads the window both ways: all of it is known at its last day."""

    input_kind = "features"
    extra_inputs = ("texts",)

    def __init__(self, config: HANConfig, num_features: int, num_horizons: int, text_dim: int) -> None:
        super().__init__()
        if not (config.prices or text_dim):
            raise ValueError("prices = False: there are no news to read instead (text_dim = 0); set it to true")
        self.lookback, self.num_features, self.prices = config.lookback, num_features, config.prices
        self.days = DayEncoder(num_features if config.prices else 0, text_dim, config.text_width, config.dropout)
        self.recurrence = nn.GRU(self.days.width, config.hidden, batch_first=True, bidirectional=True)
        self.attention = DayAttention(2 * config.hidden, config.lookback)
        self.head = nn.Sequential(
            nn.Linear(2 * config.hidden, config.hidden),
            nn.ELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, num_horizons),
        )

    def day_weights(self, x_BLF: Tensor, texts: Tensor | None = None) -> Tensor:
        """Attention over the days (B, L); sums to 1."""
        return self.attention(self._day_states(x_BLF, texts))

    def forward(self, x_BLF: Tensor, texts: Tensor | None = None) -> Tensor:
        """Logits (B, H) from windows (B, L, F) without NaN and texts (B, L, K, D), NaN where there is no document."""
        check_windows(x_BLF, self.lookback, self.num_features)
        state_BLA = self._day_states(x_BLF, texts)
        weight_BL = self.attention(state_BLA)
        return self.head((weight_BL.unsqueeze(-1) * state_BLA).sum(dim=1))

    def _day_states(self, x_BLF: Tensor, texts: Tensor | None) -> Tensor:
        days_BLV = self.days(x_BLF if self.prices else x_BLF[..., :0], texts)
        return self.recurrence(days_BLV)[0]
