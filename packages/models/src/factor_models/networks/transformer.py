"""Transformer over windows of features: a linear map of each bar, a learnt position, causal pre-normalised blocks.

After Vaswani et al. 2017, "Attention Is All You Need"; normalised before each half block, Xiong et al. 2020.

Only the last bar is read, so the last block computes that bar alone.

Shapes: B windows, L bars of lookback, F features, D width, N heads, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.blocks import TransformerBlock
from factor_models.networks.pretrained import ZooNetwork


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Size of a transformer over the bars of a window."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 20
    """Bars a window holds."""
    dim: int = 32
    """Width of embeddings and blocks; a multiple of heads."""
    heads: int = 4
    """Attention heads."""
    layers: int = 2
    """Transformer blocks."""
    dropout: float = 0.0
    """Share of units dropped while training, after each half block and before the head."""

    def __post_init__(self) -> None:
        check_at_least(self, {"lookback": 1, "dim": 1, "heads": 1, "layers": 1})
        check_share(self, "dropout")
        if self.dim % self.heads:
            raise ValueError(f"dim = {self.dim}: must be a multiple of heads = {self.heads}")


class CausalTransformer(ZooNetwork):
    """The trunk and the head, whatever embeds a bar. Causal: the state of a bar depends on that bar and earlier ones.

    `embedding` maps windows (B, L, F) to (B, L, D).
    """

    def __init__(self, config: TransformerConfig, embedding: nn.Module, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.embedding = embedding
        self.position_LD = nn.Parameter(torch.randn(config.lookback, config.dim) * 0.1)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.dim, config.heads, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.dim, num_horizons)

    def states(self, x_BLF: Tensor) -> Tensor:
        """State of each bar after all blocks, (B, L, D)."""
        return self.blocks[-1](self._all_but_last_block(x_BLF))

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F)."""
        check_windows(x_BLF, self.lookback, self.num_features)
        last_BD = self.blocks[-1](self._all_but_last_block(x_BLF), last_only=True)[:, 0]
        return self.head(self.dropout(self.norm(last_BD)))

    def _all_but_last_block(self, x_BLF: Tensor) -> Tensor:
        x_BLD = self.embedding(x_BLF) + self.position_LD
        for block in self.blocks[:-1]:
            x_BLD = block(x_BLD)
        return x_BLD


class TransformerForecaster(CausalTransformer):
    """Reads features without NaN."""

    input_kind = "features"

    def __init__(self, config: TransformerConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(config, nn.Linear(num_features, config.dim), num_features, num_horizons)
