"""DTML: each stock's LSTM with attention over time, set against the market, then attention among the stocks of a date.

1. A linear map with tanh, an LSTM, and attention of its last state over all its states give the context of a stock.
2. The contexts of a date are normalised together (mean and standard deviation over stocks and units).
3. The market has an LSTM with attention of its own; `beta` times its context is added to each stock's.
4. h' = tanh(h + a + MLP(h + a)), where a is multi-head attention among the stocks of the date.
After Yoo, Soun, Park & Kang 2021, "Accurate Multivariate Stock Movement Prediction via Data-Axis Transformer with
Multi-Level Contexts" (KDD). There each stock has its own scale and shift in step 2; here they are shared, so that any
number of stocks in any order may stand on a date.

Shapes: B windows, L bars, F features, G dates, S most stocks of a date, D units, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.cross_section import (
    DateLayout,
    StockAttention,
    check_market_features,
    layout,
    split_market,
)
from factor_models.networks.pretrained import ZooNetwork


@dataclass(frozen=True, kw_only=True)
class DTMLConfig:
    """Size of the model, and what it takes for the market."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 20
    """Bars a window holds."""
    hidden: int = 32
    """Units of a context; a multiple of heads."""
    heads: int = 4
    """Attention heads among stocks."""
    beta: float = 0.1
    """Weight of the market's context in each stock's; 0: no market."""
    market_features: int = 0
    """Number of the last features that describe an index, the same for all symbols of a date; 0: the market is the mean
    of the windows of the date (which says little if features are ranks within the date)."""
    dropout: float = 0.0
    """Share of units dropped while training, of the contexts and before the head."""

    def __post_init__(self) -> None:
        check_at_least(self, {"lookback": 1, "hidden": 1, "heads": 1, "beta": 0})
        check_at_least(self, {"market_features": 0})
        check_share(self, "dropout")
        if self.hidden % self.heads:
            raise ValueError(f"hidden = {self.hidden}: must be a multiple of heads = {self.heads}")


class AttentionLSTM(nn.Module):
    """tanh(linear), LSTM, then the mean of the states weighted by softmax of their product with the last state."""

    def __init__(self, num_features: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(num_features, hidden)
        self.recurrence = nn.LSTM(hidden, hidden, batch_first=True)

    def states(self, x_BLF: Tensor) -> Tensor:
        """State after each bar, (B, L, D)."""
        states_BLD, _ = self.recurrence(torch.tanh(self.project(x_BLF)))
        return states_BLD

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Context (B, D)."""
        states_BLD = self.states(x_BLF)
        weight_BL = (states_BLD @ states_BLD[:, -1].unsqueeze(-1)).squeeze(-1).softmax(dim=1)
        return (weight_BL.unsqueeze(1) @ states_BLD).squeeze(1)


class DTMLForecaster(ZooNetwork):
    """Equivariant to the order of stocks; causal in time; one date never sees another."""

    input_kind = "features"
    extra_inputs = ("groups",)

    def __init__(self, config: DTMLConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        check_market_features(config.market_features, num_features)
        self.config, self.num_features = config, num_features
        hidden, own = config.hidden, num_features - config.market_features
        self.stock = AttentionLSTM(own, hidden)
        self.market = AttentionLSTM(config.market_features or own, hidden) if config.beta else None
        self.scale_D, self.shift_D = nn.Parameter(torch.ones(hidden)), nn.Parameter(torch.zeros(hidden))
        self.attention = StockAttention(hidden, config.heads)
        self.mlp = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.ReLU(), nn.Linear(4 * hidden, hidden))
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(hidden, num_horizons)

    def states(self, x_BLF: Tensor) -> Tensor:
        """State of each stock's LSTM after each bar, (B, L, D)."""
        own_BLF, _ = split_market(x_BLF, self.config.market_features)
        return self.stock.states(own_BLF)

    def forward(self, x_BLF: Tensor, groups: Tensor | None = None) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN, and the date (B,) of each."""
        check_windows(x_BLF, self.config.lookback, self.num_features)
        dates = layout(groups, x_BLF)
        own_BLF, index_BLF = split_market(x_BLF, self.config.market_features)
        context_BD = self._normalised(self.stock(own_BLF), dates)
        if self.market is not None:
            market_GD = self.market(dates.mean(index_BLF if self.config.market_features else own_BLF))
            context_BD = context_BD + self.config.beta * dates.of_window(market_GD)
        context_BD = self.dropout(context_BD)
        mixed_BD = dates.by_window(self.attention(dates.by_date(context_BD), dates.mask_GS))
        joint_BD = context_BD + mixed_BD
        return self.head(self.dropout(torch.tanh(joint_BD + self.mlp(joint_BD))))

    def _normalised(self, context_BD: Tensor, dates: DateLayout) -> Tensor:
        """Contexts minus their mean, over their standard deviation, both over all stocks and units of the date."""
        centred_BD = context_BD - dates.of_window(dates.mean(context_BD.mean(dim=1))).unsqueeze(1)
        variance_G = dates.mean(centred_BD.square().mean(dim=1))
        deviation_BD = (dates.of_window(variance_G) + 1e-6).sqrt().unsqueeze(1)
        return self.scale_D * centred_BD / deviation_BD + self.shift_D
