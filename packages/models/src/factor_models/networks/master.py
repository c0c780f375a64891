"""MASTER: the market chooses features, then attention along time, among stocks at each bar, and along time again.

1. Gate: each feature of a stock is multiplied by F softmax(W m / beta), where m describes the market.
2. Each stock by itself: attention along its bars, after a linear map and sinusoidal positions.
3. At each bar, attention among the stocks of the date.
4. The last bar weighs all bars: softmax over l of (h_l W h_last).
After Li, Liu, Shen, Wang, Chen & Huang 2024, "MASTER: Market-Guided Stock Transformer for Stock Price Forecasting"
(AAAI). Here attention along time is causal, so that the state of a bar knows no later one, and blocks are normalised
first. Stocks are compared bar by bar counted from the last: bars that a stock misses inside a window shift its earlier
bars against the others'.

Shapes: B windows, L bars, F features, M market features, G dates, S most stocks of a date, D width, H horizons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least, check_one_of, check_share, check_windows
from factor_models.networks.blocks import TransformerBlock
from factor_models.networks.cross_section import DateLayout, check_market_features, layout, split_market
from factor_models.networks.pretrained import ZooNetwork


@dataclass(frozen=True, kw_only=True)
class MASTERConfig:
    """Size of the model, and what it takes for the market."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 8
    """Bars a window holds."""
    dim: int = 32
    """Width of a state; a multiple of time_heads and of stock_heads."""
    time_heads: int = 4
    """Attention heads along time."""
    stock_heads: int = 2
    """Attention heads among stocks."""
    market_features: int = 0
    """Number of the last features that describe an index, the same for all symbols of a date; 0: the market is the mean
    and the standard deviation of each feature over the date (which say little if features are ranks within it)."""
    gate_bar: Literal["own", "last"] = "own"
    """The market of which bar gates a bar: its own, or (as published) the last of the window for all."""
    gate_temperature: float = 5.0
    """Beta of the gate's softmax: the larger, the more alike the features' weights."""
    dropout: float = 0.0
    """Share of units dropped while training, after each half block and before the head."""

    def __post_init__(self) -> None:
        sizes = ("lookback", "dim", "time_heads", "stock_heads")
        check_at_least(self, {**dict.fromkeys(sizes, 1), "market_features": 0})
        check_share(self, "dropout")
        check_one_of(self, "gate_bar", ("own", "last"))
        if not self.gate_temperature > 0:
            raise ValueError(f"gate_temperature = {self.gate_temperature}: must be > 0")
        for heads in (self.time_heads, self.stock_heads):
            if self.dim % heads:
                raise ValueError(
                    f"dim = {self.dim}: must be a multiple of time_heads = {self.time_heads} and of "
                    f"stock_heads = {self.stock_heads}"
                )


def sinusoids(length: int, dim: int) -> Tensor:
    """Return positions (L, D): sine and cosine of the bar's number, even columns sine.

    Wavelengths reach from 2 pi to 10000 * 2 pi (Vaswani et al. 2017).
    """
    column_D = torch.arange(dim)
    rate_D = torch.exp(-math.log(10000.0) * (column_D - column_D % 2) / dim)
    angle_LD = torch.arange(length).unsqueeze(1) * rate_D
    return torch.where(column_D % 2 == 0, angle_LD.sin(), angle_LD.cos())


class MASTERForecaster(ZooNetwork):
    """Equivariant to the order of stocks; causal in time; one date never sees another."""

    input_kind = "features"
    extra_inputs = ("groups",)
    position_LD: Tensor

    def __init__(self, config: MASTERConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        check_market_features(config.market_features, num_features)
        self.config, self.num_features = config, num_features
        own = num_features - config.market_features
        self.gate = nn.Linear(config.market_features or 2 * own, own)
        self.project = nn.Linear(own, config.dim)
        position_LD = sinusoids(config.lookback, config.dim)
        self.register_buffer("position_LD", position_LD, persistent=False)
        self.along_time = TransformerBlock(config.dim, config.time_heads, config.dropout)
        self.among_stocks = TransformerBlock(config.dim, config.stock_heads, config.dropout)
        self.norm = nn.LayerNorm(config.dim)
        self.bar_weight = nn.Linear(config.dim, config.dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.dim, num_horizons)

    def states(self, x_BLF: Tensor, groups: Tensor | None = None) -> Tensor:
        """State of each bar among the other stocks' of its date, (B, L, D)."""
        dates = layout(groups, x_BLF)
        own_BLF, index_BLF = split_market(x_BLF, self.config.market_features)
        gated_BLF = own_BLF * dates.of_window(self.feature_weights(own_BLF, index_BLF, dates))
        state_BLD = self.along_time(self.project(gated_BLF) + self.position_LD.to(x_BLF.dtype))
        return self._among_stocks(state_BLD, dates)

    def feature_weights(self, own_BLF: Tensor, index_BLF: Tensor, dates: DateLayout) -> Tensor:
        """Return the factor that the market gives each feature, (G, L, F) or (G, 1, F); 1 on average over features."""
        if self.config.gate_bar == "last":
            own_BLF, index_BLF = own_BLF[:, -1:], index_BLF[:, -1:]
        if self.config.market_features:
            market_GLM = dates.mean(index_BLF)
        else:
            market_GLM = torch.cat([dates.mean(own_BLF), dates.std(own_BLF)], dim=-1)
        score_GLF = self.gate(market_GLM) / self.config.gate_temperature
        return score_GLF.shape[-1] * score_GLF.softmax(dim=-1)

    def forward(self, x_BLF: Tensor, groups: Tensor | None = None) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN, and the date (B,) of each."""
        check_windows(x_BLF, self.config.lookback, self.num_features)
        state_BLD = self.norm(self.states(x_BLF, groups))
        score_BL = (self.bar_weight(state_BLD) @ state_BLD[:, -1].unsqueeze(-1)).squeeze(-1)
        weight_BL = (score_BL * self.config.dim**-0.5).softmax(dim=1)
        summary_BD = (weight_BL.unsqueeze(1) @ state_BLD).squeeze(1)
        return self.head(self.dropout(summary_BD))

    def _among_stocks(self, state_BLD: Tensor, dates: DateLayout) -> Tensor:
        """Attention among the stocks of each date, bar by bar."""
        length = state_BLD.shape[1]
        state_CSD = dates.by_date(state_BLD).transpose(1, 2).flatten(0, 1)  # C = G * L cross-sections
        mask_CS = dates.mask_GS.repeat_interleave(length, dim=0)
        mixed_CSD = self.among_stocks(state_CSD, mask=mask_CS[:, None, None])
        return dates.by_window(mixed_CSD.unflatten(0, (-1, length)).transpose(1, 2))
