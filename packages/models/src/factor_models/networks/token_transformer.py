"""Transformer over quantile tokens: one embedding table per feature, token 0 = missing.

The embeddings of a bar's tokens are summed and given a learnt position; causal pre-normalised blocks follow.
Only the last bar is read, so the last block computes that bar alone.

Shapes: B windows, L bars of lookback, F features, V = num_tokens + 1 rows of a table, D width, N heads, E = D
/ N, H horizons.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.checks import check_at_least, check_share, check_windows


@dataclass(frozen=True, kw_only=True)
class TokenTransformerConfig:
    """Size of the model over tokens."""

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
        check_at_least("TokenTransformerConfig", self, {"lookback": 1, "dim": 1, "heads": 1, "layers": 1})
        check_share("TokenTransformerConfig", self, "dropout")
        if self.dim % self.heads:
            raise ValueError(
                f"TokenTransformerConfig.dim = {self.dim}: must be a multiple of heads = {self.heads}"
            )


class FeatureEmbedding(nn.Module):
    """Sum over features of table_f[token_f]; the F tables lie one after another in one matrix (F * V, D)."""

    offset_F: Tensor

    def __init__(self, num_features: int, num_tokens: int, dim: int) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        table = torch.randn(num_features * (num_tokens + 1), dim) * num_features**-0.5
        self.tables = nn.Parameter(table)
        self.register_buffer("offset_F", torch.arange(num_features) * (num_tokens + 1), persistent=False)

    def forward(self, token_BLF: Tensor) -> Tensor:
        if token_BLF.is_floating_point():
            raise ValueError(f"tokens have dtype {token_BLF.dtype}: must be integers")
        row_NF = (token_BLF.long() + self.offset_F).flatten(0, 1)
        if self.tables.is_cuda:
            flat = functional.embedding_bag(row_NF, self.tables, mode="sum")
        else:
            flat = SumOfRows.apply(self.tables, row_NF)
        return flat.unflatten(0, token_BLF.shape[:2])


class SumOfRows(torch.autograd.Function):
    """`embedding_bag(mode="sum")` on a CPU, with a gradient by matrix product.

    The gradient is the transposed one-hot matrix of the rows times the incoming one, a block of bags at a time: much
    faster than torch's own, which sorts all indices first, and the same bits in every run.
    """

    BAGS_AT_ONCE = 2048

    @staticmethod
    def forward(context: Any, tables: Tensor, row_NF: Tensor) -> Tensor:
        context.save_for_backward(row_NF)
        context.shape, context.dtype = tables.shape, tables.dtype
        return functional.embedding_bag(row_NF, tables, mode="sum")

    @staticmethod
    def backward(context: Any, gradient_ND: Tensor) -> tuple[Tensor, None]:
        (row_NF,) = context.saved_tensors
        gradient_ND = gradient_ND.to(torch.promote_types(context.dtype, torch.float32))
        total_RD = gradient_ND.new_zeros(context.shape)
        blocks = zip(
            row_NF.split(SumOfRows.BAGS_AT_ONCE), gradient_ND.split(SumOfRows.BAGS_AT_ONCE), strict=True
        )
        for row_BF, gradient_BD in blocks:
            one_hot_BR = gradient_BD.new_zeros(len(row_BF), len(total_RD)).scatter_(1, row_BF, 1.0)
            total_RD.addmm_(one_hot_BR.T, gradient_BD)
        return total_RD.to(context.dtype), None


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); causal."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)  # a bias would cancel in the softmax
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, last_only: bool = False) -> Tensor:
        """States (B, L, D), or (B, 1, D) for the last bar alone."""
        normed_BLD = self.attention_norm(x_BLD)
        key_BLD, value_BLD = self.key(normed_BLD), self.value(normed_BLD)
        if last_only:
            x_BLD, normed_BLD = x_BLD[:, -1:], normed_BLD[:, -1:]
        query_BLD = self.query(normed_BLD)
        query, key, value = (self._split(tensor) for tensor in (query_BLD, key_BLD, value_BLD))
        mixed_BNLE = functional.scaled_dot_product_attention(query, key, value, is_causal=not last_only)
        x_BLD = x_BLD + self.dropout(self.out(mixed_BNLE.transpose(1, 2).flatten(2)))
        return x_BLD + self.dropout(self.mlp(x_BLD))

    def _split(self, x_BLD: Tensor) -> Tensor:
        return x_BLD.unflatten(2, (self.heads, -1)).transpose(1, 2)


class TokenTransformerForecaster(nn.Module):
    """Reads integer tokens 0..num_tokens, 0 = missing."""

    input_kind = "tokens"

    def __init__(
        self, config: TokenTransformerConfig, num_features: int, num_horizons: int, num_tokens: int
    ) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.embedding = FeatureEmbedding(num_features, num_tokens, config.dim)
        self.position_LD = nn.Parameter(torch.randn(config.lookback, config.dim) * 0.1)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.dim, num_horizons)

    def states(self, token_BLF: Tensor) -> Tensor:
        """State of each bar after all blocks, (B, L, D)."""
        x_BLD = self.embedding(token_BLF) + self.position_LD
        for block in self.blocks:
            x_BLD = block(x_BLD)
        return x_BLD

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from integer windows (B, L, F)."""
        check_windows(x_BLF, self.lookback, self.num_features)
        x_BLD = self.embedding(x_BLF) + self.position_LD
        for block in self.blocks[:-1]:
            x_BLD = block(x_BLD)
        last_BD = self.blocks[-1](x_BLD, last_only=True)[:, 0]
        return self.head(self.dropout(self.norm(last_BD)))
