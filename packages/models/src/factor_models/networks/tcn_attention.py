"""Temporal convolutions, then attention over the window; every further part can be switched on.

Causal convolutions with dilation 1, 2, 4, ... see ever longer stretches (Bai, Kolter & Koltun 2018, "An Empirical
Evaluation of Generic Convolutional and Recurrent Networks"); each block is residual, pre-normalised and gated (GLU).
Then the last bar attends over all bars with one learnt bias per head and distance in bars; or every bar over itself and
earlier ones, after each block. On demand: a gated input, several time scales of attention, gates on its heads, a vector
per symbol, stochastic depth, a hidden layer per target.

Shapes: B windows, L bars of lookback, F features, C channels, N attention heads, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from factor_models.checks import check_at_least, check_one_of, check_share, check_windows
from factor_models.networks.blocks import StochasticDepth, SymbolEmbedding, TargetHeads
from factor_models.networks.convolution import CausalBlock
from factor_models.networks.pretrained import ZooNetwork
from factor_models.networks.relative_attention import MultiScaleAttention, RelativeAttention

AttentionPlace = Literal["last_bar", "every_block", "none"]


@dataclass(frozen=True, kw_only=True)
class TCNAttentionConfig:
    """Size of the convolutional model, and which of its parts there are."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 20
    """Bars a window holds."""
    channels: int = 32
    """Channels of every block; a multiple of heads."""
    levels: int = 3
    """Blocks; block i has dilation 2**i."""
    kernel: int = 3
    """Bars a convolution combines."""
    convolutions: int = 1
    """Convolutions of a block."""
    input_gate: bool = False
    """The projection of the features is gated (GLU)."""
    block_gate: bool = True
    """The last convolution of a block is gated (GLU); false: a ReLU."""
    attention: AttentionPlace = "last_bar"
    """last_bar: once, of the last bar over the window. every_block: causal, of all bars, after each block. none."""
    heads: int = 4
    """Attention heads."""
    scales: tuple[int, ...] = (1,)
    """Attention over trailing means of so many bars, one attention per scale; (1,) is the bars themselves."""
    relative_position: bool = True
    """Attention has a learnt bias per head and distance in bars."""
    head_gates: bool = False
    """A bar weighs its attention heads by its own state."""
    symbol_embedding: bool = False
    """A learnt vector per symbol is added to each bar; unknown symbols have none."""
    stochastic_depth: float = 0.0
    """Probability that a window skips a residual branch while training; 1 leaves the branches out."""
    head_hidden: int = 0
    """Units of a hidden layer in each target's own head; 0: the heads are linear."""
    dropout: float = 0.0
    """Share of channels dropped while training, in each block and before the head."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))  # a list when read from JSON
        sizes = ("lookback", "channels", "levels", "kernel", "convolutions", "heads")
        check_at_least(self, {**dict.fromkeys(sizes, 1), "head_hidden": 0})
        check_share(self, "dropout")
        check_one_of(self, "attention", ("last_bar", "every_block", "none"))
        if not 0.0 <= self.stochastic_depth <= 1.0:
            raise ValueError(f"stochastic_depth = {self.stochastic_depth}: must be in [0, 1]")
        if self.channels % self.heads:
            raise ValueError(f"channels = {self.channels}: must be a multiple of heads = {self.heads}")
        self._check_scales()

    def _check_scales(self) -> None:
        wrong = [scale for scale in self.scales if not 1 <= scale <= self.lookback]
        if wrong or not self.scales or len(set(self.scales)) < len(self.scales):
            raise ValueError(
                f"scales = {list(self.scales)}: must be different numbers of bars in 1..lookback = {self.lookback}"
            )


class AttendingBlock(nn.Module):
    """A convolutional block, then x + attention(LayerNorm(x)) of every bar."""

    def __init__(self, convolution: CausalBlock, config: TCNAttentionConfig) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.LayerNorm(config.channels)
        self.attention = _attention(config)
        self.dropout = nn.Dropout(config.dropout)
        self.depth = StochasticDepth(config.stochastic_depth)

    def forward(self, x_BLC: Tensor) -> Tensor:
        """Return the bars after convolution and attention, (B, L, C)."""
        x_BLC = self.convolution(x_BLC)
        return x_BLC + self.depth(self.dropout(self.attention(self.norm(x_BLC))))


class TCNAttentionForecaster(ZooNetwork):
    """States are causal: the state of a bar depends on that bar and earlier ones only."""

    input_kind = "features"
    extra_inputs = ("symbols",)

    def __init__(self, config: TCNAttentionConfig, num_features: int, num_horizons: int, num_symbols: int = 0) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.project: nn.Module = nn.Linear(num_features, config.channels)
        if config.input_gate:
            self.project = nn.Sequential(nn.Linear(num_features, 2 * config.channels), nn.GLU(dim=-1))
        self.symbol = SymbolEmbedding(num_symbols, config.channels) if config.symbol_embedding else None
        self.blocks = nn.Sequential(*(_block(config, 2**level) for level in range(config.levels)))
        if config.attention == "last_bar":
            self.norm = nn.LayerNorm(config.channels)
            self.attention = _attention(config)
        self.attends_last = config.attention == "last_bar"
        self.head_norm = nn.LayerNorm(config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.head: nn.Module = nn.Linear(config.channels, num_horizons)
        if config.head_hidden:
            self.head = TargetHeads(config.channels, num_horizons, config.head_hidden, config.dropout)

    def states(self, x_BLF: Tensor, symbols: Tensor | None = None) -> Tensor:
        """State of each bar after all blocks, (B, L, C)."""
        x_BLC = self.project(x_BLF)
        if self.symbol is not None:
            x_BLC = x_BLC + self.symbol(symbols, len(x_BLF)).unsqueeze(1)
        return self.blocks(x_BLC)

    def forward(self, x_BLF: Tensor, symbols: Tensor | None = None) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN, and ids (B,) of their symbols (0 = unknown)."""
        check_windows(x_BLF, self.lookback, self.num_features)
        states_BLC = self.states(x_BLF, symbols)
        last_BC = states_BLC[:, -1]
        if self.attends_last:
            last_BC = last_BC + self.attention.last_bar(self.norm(states_BLC))
        return self.head(self.dropout(self.head_norm(last_BC)))


def _block(config: TCNAttentionConfig, dilation: int) -> nn.Module:
    convolution = CausalBlock(
        config.channels,
        config.kernel,
        dilation,
        config.dropout,
        convolutions=config.convolutions,
        gated=config.block_gate,
        stochastic_depth=config.stochastic_depth,
    )
    return AttendingBlock(convolution, config) if config.attention == "every_block" else convolution


def _attention(config: TCNAttentionConfig) -> RelativeAttention | MultiScaleAttention:
    size = (config.channels, config.heads, config.lookback)
    if config.scales == (1,):
        return RelativeAttention(*size, relative_position=config.relative_position, head_gates=config.head_gates)
    return MultiScaleAttention(
        *size,
        relative_position=config.relative_position,
        head_gates=config.head_gates,
        scales=config.scales,
    )
