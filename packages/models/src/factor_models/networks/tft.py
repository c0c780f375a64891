"""Temporal fusion transformer: it weighs features bar by bar, runs an LSTM, and attends over the window.

Variable selection -> LSTM -> static enrichment -> interpretable attention -> position-wise network, each with a gated
skip around it, so that a part which is not needed can be closed. A symbol, if known, enters as static context: of the
selection, the LSTM's initial state and the enrichment.
After Lim, Arik, Loeff & Pfister 2021, "Temporal Fusion Transformers for Interpretable Multi-horizon Time Series
Forecasting". There is no decoder: no input is known ahead, and all horizons are forecast from the last bar, one head
each. A feature's embedding is linear in one number, so linear maps of embeddings are written as what they are: linear
maps of the features.

Shapes: B windows, L bars of lookback, F features, N = B * L bars, D width, E = D / heads, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.blocks import SymbolEmbedding
from factor_models.networks.pretrained import ZooNetwork

BARS_AT_ONCE = 4096
"""Bars whose features are embedded in one piece: a network per feature makes much of each bar, which then stays in the
cache of a CPU (up to twice as fast)."""


@dataclass(frozen=True, kw_only=True)
class TFTConfig:
    """Size of the model, and whether it knows symbols."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 20
    """Bars a window holds."""
    dim: int = 16
    """Width of every part; a multiple of heads."""
    heads: int = 2
    """Attention heads; they share the values."""
    symbol_embedding: bool = False
    """A learnt vector per symbol is the static input; unknown symbols have none."""
    dropout: float = 0.0
    """Share of units dropped while training, in each gated part and before the head."""

    def __post_init__(self) -> None:
        check_at_least(self, {"lookback": 1, "dim": 1, "heads": 1})
        check_share(self, "dropout")
        if self.dim % self.heads:
            raise ValueError(f"dim = {self.dim}: must be a multiple of heads = {self.heads}")


class GatedSkip(nn.Module):
    """LayerNorm(skip + GLU(linear(x)))."""

    def __init__(self, in_dim: int, out_dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.gate = nn.Linear(in_dim, 2 * out_dim)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return the normed sum of `skip` and the gated x."""
        return self.norm(skip + functional.glu(self.gate(self.dropout(x)), dim=-1))


class GatedResidual(nn.Module):
    """Gated residual network: LayerNorm(skip(x) + GLU(linear(ELU(linear(x) + linear(context)))))."""

    def __init__(self, in_dim: int, hidden: int, out_dim: int, dropout: float, *, has_context: bool = False) -> None:
        super().__init__()
        self.inner = nn.Linear(in_dim, hidden)
        self.context = nn.Linear(hidden, hidden, bias=False) if has_context else None
        self.skip = nn.Linear(in_dim, out_dim) if in_dim != out_dim else nn.Identity()
        self.gated_skip = GatedSkip(hidden, out_dim, dropout)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x after the gated residual network; `context` adds to its inner layer."""
        inner = self.inner(x)
        if self.context is not None and context is not None:
            inner = inner + self.context(context)
        return self.gated_skip(functional.elu(inner), self.skip(x))


class FeatureNetworks(nn.Module):
    """A gated residual network for each feature, of its embedding w x + b: (N, F) to (F, N, D)."""

    def __init__(self, num_features: int, dim: int, dropout: float) -> None:
        super().__init__()
        shape = (num_features, 1, dim)
        self.dim = dim
        # Without biases to start with, the normalisation would leave no more than the sign of a feature.
        self.embed, self.embed_bias = nn.Parameter(torch.randn(shape)), nn.Parameter(torch.randn(shape))
        self.inner, self.inner_bias = nn.Parameter(torch.randn(shape)), nn.Parameter(torch.randn(shape))
        self.gate = nn.Parameter(torch.randn(num_features, dim, 2 * dim) * dim**-0.5)
        self.gate_bias = nn.Parameter(torch.zeros(num_features, 1, 2 * dim))
        self.scale, self.shift = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_NF: Tensor) -> Tensor:
        """Return the embedding of each feature, (F, N, D)."""
        x_FN1 = x_NF.T.unsqueeze(-1)
        inner_FND = functional.elu(torch.baddbmm(self.inner_bias, x_FN1, self.inner), inplace=True)
        gate_FND = torch.baddbmm(self.gate_bias, self.dropout(inner_FND), self.gate)
        embedded_FND = torch.baddbmm(self.embed_bias, x_FN1, self.embed)
        joint_FND = embedded_FND + functional.glu(gate_FND, dim=-1)
        normed_FND = functional.layer_norm(joint_FND, (self.dim,))
        return torch.addcmul(self.shift, normed_FND, self.scale)


class VariableSelection(nn.Module):
    """Each bar: a softmax over features, and the sum of the features' networks weighted by it."""

    def __init__(self, num_features: int, dim: int, dropout: float, has_context: bool) -> None:
        super().__init__()
        self.score = GatedResidual(num_features, dim, num_features, dropout, has_context=has_context)
        self.features = FeatureNetworks(num_features, dim, dropout)

    def weights(self, x_BLF: Tensor, context_BD: Tensor | None) -> Tensor:
        """Weight of each feature at each bar (B, L, F): positive, 1 in sum over features."""
        context_B1D = None if context_BD is None else context_BD.unsqueeze(1)
        return self.score(x_BLF, context_B1D).softmax(dim=-1)

    def forward(self, x_BLF: Tensor, context_BD: Tensor | None) -> Tensor:
        """The features of each bar as one vector (B, L, D)."""
        bars_NF, weight_NF = x_BLF.flatten(0, 1), self.weights(x_BLF, context_BD).flatten(0, 1)
        parts = [(bars_NF, weight_NF)]
        if not torch.jit.is_tracing():  # a graph cannot have as many pieces as there are bars
            parts = list(zip(bars_NF.split(BARS_AT_ONCE), weight_NF.split(BARS_AT_ONCE), strict=True))
        selected = [(self.features(x_NF) * w_NF.T.unsqueeze(-1)).sum(dim=0) for x_NF, w_NF in parts]
        return torch.cat(selected).unflatten(0, (-1, x_BLF.shape[1]))


class InterpretableAttention(nn.Module):
    """Causal attention whose heads share the values, so that their mean weight of a bar is what counts."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)  # a bias would cancel in the softmax
        self.value = nn.Linear(dim, dim // heads)
        self.out = nn.Linear(dim // heads, dim)

    def weights(self, x_BLD: Tensor, num_last: int) -> Tensor:
        """Weight of each bar for the last bars (B, num_last, L), mean over heads; 1 in sum over bars."""
        length = x_BLD.shape[1]
        query, key = (
            tensor.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for tensor in (self.query(x_BLD[:, -num_last:]), self.key(x_BLD))
        )
        score_BNQL = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        later_QL = torch.ones(num_last, length, dtype=torch.bool, device=x_BLD.device)
        later_QL = later_QL.triu(length - num_last + 1)
        return score_BNQL.masked_fill(later_QL, -torch.inf).softmax(dim=-1).mean(dim=1)

    def forward(self, x_BLD: Tensor, num_last: int) -> Tensor:
        """Mixed values of the last bars, (B, num_last, D)."""
        return self.out(self.weights(x_BLD, num_last) @ self.value(x_BLD))


class TFTForecaster(ZooNetwork):
    """Causal in time: the state of a bar depends on that bar and earlier ones only."""

    input_kind = "features"
    extra_inputs = ("symbols",)

    def __init__(self, config: TFTConfig, num_features: int, num_horizons: int, num_symbols: int = 0) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        dim, dropout, has_context = config.dim, config.dropout, config.symbol_embedding
        self.symbol = SymbolEmbedding(num_symbols, dim) if has_context else None
        parts = ("selection", "hidden", "cell", "enrichment") if has_context else ()
        self.contexts = nn.ModuleDict({part: GatedResidual(dim, dim, dim, dropout) for part in parts})
        self.selection = VariableSelection(num_features, dim, dropout, has_context)
        self.recurrence = nn.LSTM(dim, dim, batch_first=True)
        self.recurrence_skip = GatedSkip(dim, dim, dropout)
        self.enrichment = GatedResidual(dim, dim, dim, dropout, has_context=has_context)
        self.attention = InterpretableAttention(dim, config.heads)
        self.attention_skip = GatedSkip(dim, dim, dropout)
        self.position_wise = GatedResidual(dim, dim, dim, dropout)
        self.output_skip = GatedSkip(dim, dim, dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim, num_horizons)

    def variable_weights(self, x_BLF: Tensor, symbols: Tensor | None = None) -> Tensor:
        """Return the share of attention of each feature at each bar, (B, L, F)."""
        return self.selection.weights(x_BLF, self._contexts(symbols, len(x_BLF)).get("selection"))

    def states(self, x_BLF: Tensor, symbols: Tensor | None = None) -> Tensor:
        """State of each bar before the head, (B, L, D)."""
        return self._last_states(x_BLF, symbols, x_BLF.shape[1])

    def forward(self, x_BLF: Tensor, symbols: Tensor | None = None) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN, and ids (B,) of their symbols (0 = unknown)."""
        check_windows(x_BLF, self.lookback, self.num_features)
        return self.head(self.dropout(self._last_states(x_BLF, symbols, 1)[:, 0]))

    def _contexts(self, symbols: Tensor | None, num_windows: int) -> dict[str, Tensor]:
        """The static contexts (B, D), by the part they enter."""
        if self.symbol is None:
            return {}
        symbol_BD = self.symbol(symbols, num_windows)
        return {part: network(symbol_BD) for part, network in self.contexts.items()}

    def _last_states(self, x_BLF: Tensor, symbols: Tensor | None, num_last: int) -> Tensor:
        contexts = self._contexts(symbols, len(x_BLF))
        selected_BLD = self.selection(x_BLF, contexts.get("selection"))
        nothing_1BD = selected_BLD.new_zeros(1, x_BLF.shape[0], self.recurrence.hidden_size)
        start = (contexts["hidden"].unsqueeze(0), contexts["cell"].unsqueeze(0)) if contexts else (nothing_1BD,) * 2
        recurrent_BLD, _ = self.recurrence(selected_BLD, start)
        temporal_BLD = self.recurrence_skip(recurrent_BLD, selected_BLD)
        context_B1D = contexts["enrichment"].unsqueeze(1) if contexts else None
        enriched_BLD = self.enrichment(temporal_BLD, context_B1D)
        mixed_BQD = self.attention_skip(self.attention(enriched_BLD, num_last), enriched_BLD[:, -num_last:])
        return self.output_skip(self.position_wise(mixed_BQD), temporal_BLD[:, -num_last:])
