"""Parts that several networks are built of.

Shapes: B windows, L bars, D width, N attention heads, E = D / N width of a head, H horizons.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def widened(values: Tensor) -> Tensor:
    """Return 16-bit values on a CPU as fp32, others as they are.

    Without matrix units a CPU multiplies 16-bit values at half the speed.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32)) if values.is_cpu else values


class WideLinear(nn.Linear):
    """A linear map that works in fp32 on a CPU, whatever its weights are, and leaves its outputs so."""

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (..., D) from inputs (..., F)."""
        bias = None if self.bias is None else widened(self.bias)
        return functional.linear(widened(x), widened(self.weight), bias)


def attend(
    query_BQD: Tensor,
    key_BKD: Tensor,
    value_BKD: Tensor,
    heads: int,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Multi-head scaled dot-product attention (B, Q, D).

    Parameters
    ----------
    mask : broadcastable to (B, N, Q, K): bool, True where a query may look; or numbers added to the scores
    causal : query i looks at keys 0..i
    """
    query, key, value = (tensor.unflatten(2, (heads, -1)).transpose(1, 2) for tensor in (query_BQD, key_BKD, value_BKD))
    mixed_BNQE = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
    return mixed_BNQE.transpose(1, 2).flatten(2)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); causal, or over what a mask allows."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)  # a bias would cancel in the softmax
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, *, last_only: bool = False, mask: Tensor | None = None) -> Tensor:
        """States (B, L, D), or (B, 1, D) for the last position alone; causal if there is no mask."""
        normed_BLD = self.attention_norm(x_BLD)
        key_BLD, value_BLD = self.key(normed_BLD), self.value(normed_BLD)
        if last_only:
            x_BLD, normed_BLD = x_BLD[:, -1:], normed_BLD[:, -1:]
        causal = mask is None and not last_only
        mixed_BLD = attend(self.query(normed_BLD), key_BLD, value_BLD, self.heads, mask=mask, causal=causal)
        x_BLD = x_BLD + self.dropout(self.out(mixed_BLD))
        return x_BLD + self.dropout(self.mlp(x_BLD))


class StochasticDepth(nn.Module):
    """Drops a residual branch whole, window by window, while training.

    After Huang et al. 2016, "Deep Networks with Stochastic Depth". It stands on the branch, before it is added: a
    window that drops it keeps its input unchanged. Kept branches are divided by 1 - p, so that the mean is the branch
    as it is in evaluation, which draws nothing. A branch with p = 1 is never trained and never added, in evaluation
    neither.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, branch: Tensor) -> Tensor:
        """The branch (B, ...), or zeros for the windows that drop it."""
        if self.p == 1.0:
            return torch.zeros_like(branch)
        if self.p == 0.0 or not self.training:
            return branch
        keep_B = torch.rand(len(branch), device=branch.device) >= self.p
        keep = keep_B.to(branch.dtype).view(-1, *[1] * (branch.ndim - 1))
        return branch * keep / (1.0 - self.p)


class SymbolEmbedding(nn.Module):
    """A learnt vector for each symbol of the fold's vocabulary; zero, and never trained, for an unknown one (id 0).

    The unknown symbol so counts as the average one: all vectors start close to zero.
    """

    def __init__(self, num_symbols: int, dim: int) -> None:
        super().__init__()
        if num_symbols < 1:
            raise ValueError(
                f"num_symbols = {num_symbols}: a model with a symbol embedding needs the number of ids of a "
                "vocabulary, >= 1"
            )
        self.num_symbols = num_symbols
        self.table = nn.Embedding(num_symbols, dim, padding_idx=0)
        with torch.no_grad():
            self.table.weight.mul_(0.02)

    def forward(self, symbols_B: Tensor | None, num_windows: int) -> Tensor:
        """Vectors (B, D); without ids all windows are of unknown symbols."""
        if symbols_B is None:
            symbols_B = torch.zeros(num_windows, dtype=torch.int64, device=self.table.weight.device)
        if bool((symbols_B < 0).any() | (symbols_B >= self.num_symbols).any()):
            wrong = symbols_B[(symbols_B < 0) | (symbols_B >= self.num_symbols)]
            raise ValueError(f"symbols: id {int(wrong[0])} must be in 0..{self.num_symbols - 1}")
        return self.table(symbols_B)


def symbol_tables(model: nn.Module) -> list[str]:
    """Names of the weights that hold a vector per symbol, of a network with or without such."""
    return [f"{name}.table.weight" for name, part in model.named_modules() if isinstance(part, SymbolEmbedding)]


class TargetHeads(nn.Module):
    """One head per target: a hidden layer and a linear map of its own, so that no target's error moves another's."""

    def __init__(self, dim: int, num_horizons: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1))
            for _ in range(num_horizons)
        )

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return the outputs of all heads side by side."""
        return torch.cat([head(x_BD) for head in self.heads], dim=-1)
