"""StockMixer: linear maps that mix indicators, then bars, then stocks, each with a residual.

1. Indicators: x + W2 g(W1 norm(x)) over the channels of a bar.
2. Time: x + U2 g(U1 norm(x)) over the bars of a channel, with lower triangular U1 and U2: a bar mixes itself and
   earlier ones. This is done for the bars and for patches of bars, and all of it is mapped to one vector per stock.
3. Stocks: x + what the market's states give back. The head reads the vector before and after.
After Fan & Shen 2024, "StockMixer: A Simple yet Strong MLP-Based Architecture for Stock Price Forecasting" (AAAI). In
the paper step 3 maps N stocks to m market states and back by matrices (m, N) and (N, m), for the same N stocks each day
in one order. Here the weights of both maps come from the stocks' vectors: each market state is a softmax-weighted mean
of stocks, and each stock takes a softmax-weighted mean of the states. So any stocks in any order may stand on a date.

Shapes: B windows, L bars, F features, C channels, P patches, M market states, G dates, S stocks, D width, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.cross_section import layout
from factor_models.networks.pretrained import ZooNetwork


@dataclass(frozen=True, kw_only=True)
class StockMixerConfig:
    """Size of the model."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 16
    """Bars a window holds."""
    channels: int = 16
    """Channels of a bar that indicators and time are mixed in."""
    patches: tuple[int, ...] = (1, 2, 4)
    """Bars of a patch at each scale. Patches end at the last bar; what is left over at the start of the window is not
    seen at that scale, so one scale must divide lookback."""
    dim: int = 32
    """Width of a stock's vector."""
    market_states: int = 8
    """Latent states of the market that stocks are mixed through."""
    dropout: float = 0.0
    """Share of units dropped while training, of the stocks' vectors and before the head."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "patches", tuple(self.patches))  # a list when read from JSON
        sizes = ("lookback", "channels", "dim", "market_states")
        check_at_least(self, dict.fromkeys(sizes, 1))
        check_share(self, "dropout")
        wrong = [patch for patch in self.patches if not 1 <= patch <= self.lookback]
        whole = any(self.lookback % patch == 0 for patch in self.patches if patch > 0)
        if wrong or not whole or len(set(self.patches)) < len(self.patches):
            raise ValueError(
                f"patches = {list(self.patches)}: must be different numbers of bars in 1..lookback = "
                f"{self.lookback}, one of which divides it"
            )


class CausalMixing(nn.Module):
    """x + U2 g(U1 norm(x)) over P bars or patches (B, P, C), U1 and U2 lower triangular."""

    triangle_PP: Tensor

    def __init__(self, length: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first, self.second = nn.Linear(length, length), nn.Linear(length, length)
        self.register_buffer("triangle_PP", torch.ones(length, length).tril(), persistent=False)

    def forward(self, x_BPC: Tensor) -> Tensor:
        """Return the patches, each mixed with those before it, (B, P, C)."""
        triangle_PP = self.triangle_PP.to(x_BPC.dtype)
        normed_BCP = self.norm(x_BPC).transpose(1, 2)
        inner_BCP = functional.linear(normed_BCP, self.first.weight * triangle_PP, self.first.bias)
        outer_BCP = functional.linear(functional.gelu(inner_BCP), self.second.weight * triangle_PP, self.second.bias)
        return x_BPC + outer_BCP.transpose(1, 2)


class Scale(nn.Module):
    """Patches of one length, their indicators and then their time mixed."""

    def __init__(self, patch: int, lookback: int, channels: int) -> None:
        super().__init__()
        self.patch, self.length = patch, lookback // patch
        self.join = nn.Linear(patch * channels, channels) if patch > 1 else nn.Identity()
        self.indicators = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels)
        )
        self.time = CausalMixing(self.length, channels)

    def forward(self, x_BLC: Tensor) -> Tensor:
        """(B, P, C); patch p ends P - 1 - p patches before the last bar."""
        recent_BLC = x_BLC[:, x_BLC.shape[1] - self.length * self.patch :]
        patches_BPC = self.join(recent_BLC.unflatten(1, (self.length, self.patch)).flatten(2))
        return self.time(patches_BPC + self.indicators(patches_BPC))


class StockMixing(nn.Module):
    """Mixes the stocks of a date into each stock, through M latent states of the market (G, S, D)."""

    def __init__(self, dim: int, market_states: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.to_market = nn.Linear(dim, market_states)
        self.states = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.from_market = nn.Linear(dim, market_states)

    def forward(self, x_GSD: Tensor, mask_GS: Tensor) -> Tensor:
        """Return what the market of each date gives each stock, (G, S, D)."""
        normed_GSD = self.norm(x_GSD)
        score_GSM = self.to_market(normed_GSD).masked_fill(~mask_GS.unsqueeze(-1), -torch.inf)
        state_GMD = score_GSM.softmax(dim=1).transpose(1, 2) @ normed_GSD
        return self.from_market(normed_GSD).softmax(dim=2) @ self.states(state_GMD)


class StockMixerForecaster(ZooNetwork):
    """Equivariant to the order of stocks; causal in time; one date never sees another."""

    input_kind = "features"
    extra_inputs = ("groups",)

    def __init__(self, config: StockMixerConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.project = nn.Linear(num_features, config.channels)
        self.scales = nn.ModuleList(Scale(patch, config.lookback, config.channels) for patch in config.patches)
        num_patches = sum(config.lookback // patch for patch in config.patches)
        self.to_vector = nn.Linear(num_patches * config.channels, config.dim)
        self.stocks = StockMixing(config.dim, config.market_states)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.dim, num_horizons)

    def states(self, x_BLF: Tensor) -> Tensor:
        """State of each bar (B, L, scales * C): of each scale, the last patch that is whole by then; zero before."""
        projected_BLC = self.project(x_BLF)
        spread = []
        for scale in self.scales:
            mixed_BPC = scale(projected_BLC)
            length = x_BLF.shape[1]
            held_BLC = mixed_BPC.repeat_interleave(scale.patch, dim=1)
            start = length - held_BLC.shape[1] + scale.patch - 1
            spread.append(functional.pad(held_BLC, (0, 0, start, 0))[:, :length])
        return torch.cat(spread, dim=-1)

    def forward(self, x_BLF: Tensor, groups: Tensor | None = None) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN, and the date (B,) of each."""
        check_windows(x_BLF, self.lookback, self.num_features)
        dates = layout(groups, x_BLF)
        projected_BLC = self.project(x_BLF)
        mixed = torch.cat([scale(projected_BLC).flatten(1) for scale in self.scales], dim=-1)
        own_BD = self.dropout(self.to_vector(mixed))
        market_BD = dates.by_window(self.stocks(dates.by_date(own_BD), dates.mask_GS))
        return self.head(self.dropout(torch.cat([own_BD, own_BD + market_BD], dim=-1)))
