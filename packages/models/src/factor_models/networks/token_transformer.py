"""Transformer over quantile tokens: one embedding table per feature, token 0 = missing.

The embeddings of a bar's tokens are summed; a causal transformer follows (`networks/transformer.py`).

Shapes: B windows, L bars of lookback, F features, V = num_tokens + 1 rows of a table, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.networks.transformer import CausalTransformer, TransformerConfig


@dataclass(frozen=True, kw_only=True)
class TokenTransformerConfig(TransformerConfig):
    """Size of the model over tokens."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}


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
        """Return the sum of the embeddings of a bar's tokens, (B, L, D); ValueError unless they are integers."""
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
        """Return the sum of the table's rows per bag, (N, D)."""
        context.save_for_backward(row_NF)
        context.shape, context.dtype = tables.shape, tables.dtype
        return functional.embedding_bag(row_NF, tables, mode="sum")

    @staticmethod
    def backward(context: Any, gradient_ND: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the table, summed in a fixed order, and None."""
        (row_NF,) = context.saved_tensors
        gradient_ND = gradient_ND.to(torch.promote_types(context.dtype, torch.float32))
        total_RD = gradient_ND.new_zeros(context.shape)
        blocks = zip(row_NF.split(SumOfRows.BAGS_AT_ONCE), gradient_ND.split(SumOfRows.BAGS_AT_ONCE), strict=True)
        for row_BF, gradient_BD in blocks:
            one_hot_BR = gradient_BD.new_zeros(len(row_BF), len(total_RD)).scatter_(1, row_BF, 1.0)
            total_RD.addmm_(one_hot_BR.T, gradient_BD)
        return total_RD.to(context.dtype), None


class TokenTransformerForecaster(CausalTransformer):
    """Reads integer tokens 0..num_tokens, 0 = missing."""

    input_kind = "tokens"

    def __init__(self, config: TokenTransformerConfig, num_features: int, num_horizons: int, num_tokens: int) -> None:
        embedding = FeatureEmbedding(num_features, num_tokens, config.dim)
        super().__init__(config, embedding, num_features, num_horizons)
