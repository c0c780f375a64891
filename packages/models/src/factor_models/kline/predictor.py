"""The K-line predictor: which token pair comes next, the coarse token first and the fine one given it.

A decoder-only transformer reads embedded token pairs with calendar embeddings; a head gives the logits of s1, and a
cross-attention layer from the next s1 to the contexts gives those of s2. Published as Kronos (Shi et al., 2025).

Shapes: B series, T bars, D width, V1 = 2^s1_bits, V2 = 2^s2_bits. Stamps are (B, T, 5): minute, hour, weekday, day,
month.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.kline.blocks import (
    Attention,
    KeyValueCache,
    RMSNorm,
    Transformer,
    attendable,
    rotate,
)
from factor_models.kline.dates import mean_over_dates, window_cross_entropy
from factor_models.kline.pretrained import Pretrained
from factor_models.kline.sampling import draw_tokens
from factor_models.training.inputs import TensorBatch
from factor_models.training.objective import Criterion

STAMP_SIZES = {"minute": 60, "hour": 24, "weekday": 7, "day": 32, "month": 13}
DEPENDENCY_HEADS = 4  # of the published models, whatever their n_heads


class PredictorLoss(NamedTuple):
    """Cross-entropies in nats; `loss` is the mean of the two."""

    loss: Tensor
    s1: Tensor
    s2: Tensor


class HierarchicalEmbedding(nn.Module):
    """A token pair as one vector: both embeddings, times sqrt(D), side by side and projected."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int) -> None:
        super().__init__()
        self.emb_s1 = nn.Embedding(2**s1_bits, d_model)
        self.emb_s2 = nn.Embedding(2**s2_bits, d_model)
        self.fusion_proj = nn.Linear(2 * d_model, d_model)
        self.scale = math.sqrt(d_model)

    def forward(self, s1_BT: Tensor, s2_BT: Tensor) -> Tensor:
        """Return the embedding of pairs of tokens, (B, T, D)."""
        pair = torch.cat([self.emb_s1(s1_BT), self.emb_s2(s2_BT)], dim=-1)
        return self.fusion_proj(pair * self.scale)


class _FixedTable(nn.Module):
    """An embedding that is not trained; only a level of names (`..._embed.emb.weight`)."""

    def __init__(self, size: int, d_model: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(size, d_model)
        self.emb.weight.requires_grad_(False)

    def forward(self, index: Tensor) -> Tensor:
        return self.emb(index)


class TemporalEmbedding(nn.Module):
    """Sum of the embeddings of minute, hour, weekday, day and month."""

    def __init__(self, d_model: int, learned: bool) -> None:
        super().__init__()
        table = nn.Embedding if learned else _FixedTable
        for name, size in STAMP_SIZES.items():
            self.add_module(f"{name}_embed", table(size, d_model))

    def forward(self, stamp_BT5: Tensor) -> Tensor:
        """Return the sum of the embeddings of the five parts of a stamp, (B, T, D)."""
        stamp_BT5 = stamp_BT5.long()
        tables = [self.get_submodule(f"{name}_embed") for name in STAMP_SIZES]
        # Summed from the last to the first name: the order of the published code, for equal rounding.
        hour, weekday, day, month, minute = (tables[i](stamp_BT5[..., i]) for i in (1, 2, 3, 4, 0))
        return hour + weekday + day + month + minute


class DependencyLayer(nn.Module):
    """The next s1 token asks the contexts so far; what it learns is added to its own bar's context."""

    def __init__(self, d_model: int, official_parity: bool) -> None:
        super().__init__()
        self.cross_attn = Attention(d_model, DEPENDENCY_HEADS, 0.0, 0.0)
        self.norm = RMSNorm(d_model)
        self.official_parity = official_parity

    def forward(
        self,
        context_BTD: Tensor,
        sibling_BQD: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Contexts (B, Q, D) of the last Q bars, given the embeddings of their next s1 (B, Q, D)."""
        num_asking, num_bars = sibling_BQD.shape[1], context_BTD.shape[1]
        rotated = self.rotated(num_asking)
        query = self.cross_attn.split(self.cross_attn.q_proj(sibling_BQD))
        if rotated:
            query = rotate(query, self.cross_attn.rotary.angles(num_asking, num_bars - num_asking))
        key, value = self._keys_values(context_BTD, rotated)
        sees_all = self.official_parity and not self.training
        if mask is None and 1 < num_asking < num_bars and not sees_all:
            mask = torch.ones(num_asking, num_bars, dtype=torch.bool, device=key.device).tril(num_bars - num_asking)
        causal = num_asking == num_bars and not sees_all
        answer = self.cross_attn.mix(query, key, value, mask, causal)
        return self.norm(context_BTD[:, -num_asking:] + answer)

    def remember(self, context_BTD: Tensor) -> KeyValueCache:
        """Keys and values of bars that single queries will look at."""
        cache = KeyValueCache()
        cache.append(*self._keys_values(context_BTD, self.rotated(1)))
        return cache

    def _keys_values(self, context_BTD: Tensor, rotated: bool) -> tuple[Tensor, Tensor]:
        attention = self.cross_attn
        key, value = (attention.split(project(context_BTD)) for project in (attention.k_proj, attention.v_proj))
        return (rotate(key, attention.rotary.angles(key.shape[2])) if rotated else key), value

    def rotated(self, num_asking: int) -> bool:
        """Not for a single query in the published code, which counts each side's positions from its own first bar."""
        return not (self.official_parity and num_asking == 1)


class DualHead(nn.Module):
    """Logits of the two tokens."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int) -> None:
        super().__init__()
        self.proj_s1 = nn.Linear(d_model, 2**s1_bits)
        self.proj_s2 = nn.Linear(d_model, 2**s2_bits)


class Kronos(Pretrained):
    """Autoregressive predictor of K-line tokens; arguments are those of a published config.json.

    `official_parity` reproduces the published code where it is at odds with its own training: at evaluation the
    dependency layer then looks at later bars, and in generation its query and keys are not rotated. The default is
    causal and rotated always.
    """

    def __init__(  # noqa: PLR0913 -- the published signature
        self,
        s1_bits: int,
        s2_bits: int,
        n_layers: int,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        ffn_dropout_p: float,
        attn_dropout_p: float,
        resid_dropout_p: float,
        token_dropout_p: float,
        learn_te: bool,
        official_parity: bool = False,
    ) -> None:
        given = locals()
        super().__init__()
        self.config = {name: given[name] for name in self.stored_arguments()}
        self.s1_bits, self.s2_bits = s1_bits, s2_bits
        self.official_parity = official_parity
        self.first_learned = 0  # of a training window's bars; those before it are only read
        self.embedding = HierarchicalEmbedding(s1_bits, s2_bits, d_model)
        self.time_emb = TemporalEmbedding(d_model, learn_te)
        self.token_drop = nn.Dropout(token_dropout_p)
        dropouts = (ffn_dropout_p, attn_dropout_p, resid_dropout_p)
        self.transformer = Transformer(n_layers, d_model, n_heads, ff_dim, *dropouts)
        self.norm = RMSNorm(d_model)
        self.dep_layer = DependencyLayer(d_model, official_parity)
        self.head = DualHead(s1_bits, s2_bits, d_model)
        self.apply(_initialise)

    def forward(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        padding_mask: Tensor | None = None,
        use_teacher_forcing: bool = False,
        s1_targets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V1) and (B, T, V2) of the bar after each bar.

        The logits of s2 are given the next s1: `s1_targets` (B, T) with `use_teacher_forcing`, else a draw from the
        logits of s1, as in the published training. `padding_mask` (B, T) is True at bars that are padding.
        """
        if use_teacher_forcing and s1_targets is None:
            raise ValueError("use_teacher_forcing needs s1_targets")
        s1_logits, context = self.decode_s1(s1_ids, s2_ids, stamp, padding_mask)
        if not use_teacher_forcing:
            s1_targets = draw_tokens(s1_logits.detach().float().softmax(-1).flatten(0, 1)).view(s1_ids.shape)
        assert s1_targets is not None
        return s1_logits, self.decode_s2(context, s1_targets, padding_mask)

    def decode_s1(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits of the next s1 (B, T, V1) and the contexts (B, T, D)."""
        context = self.contexts(s1_ids, s2_ids, stamp, padding_mask)
        return self.head.proj_s1(context), context

    def decode_s2(self, context: Tensor, s1_ids: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Logits of s2 (B, Q, V2) of the last Q bars, given their s1 (B, Q) and all contexts (B, T, D)."""
        sibling = self.embedding.emb_s1(s1_ids)
        mask = attendable(padding_mask)
        if mask is not None:
            mask = mask[:, :, -sibling.shape[1] :]
        return self.head.proj_s2(self.dep_layer(context, sibling, mask))

    def contexts(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        padding_mask: Tensor | None = None,
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Tensor:
        """State of each bar after all blocks and the final norm, (B, T, D); caches, one a block, hold earlier bars."""
        x = self.embedding(s1_ids, s2_ids)
        if stamp is not None:
            x = x + self.time_emb(stamp)
        return self.norm(self.transformer.run(self.token_drop(x), attendable(padding_mask), caches))

    def training_terms(self, batch: TensorBatch, criterion: Criterion) -> dict[str, Tensor]:
        """Return the terms to minimise: half of each token's cross-entropy, a mean over the dates of the batch.

        Windows (B, T + 1, 7) int64 hold s1, s2 and the five numbers of the stamp; each bar predicts the next. The true
        next s1 is given to s2 (teacher forcing). Bars before `first_learned` are read, not learned.
        """
        tokens, stamp = batch.windows[..., :2], batch.windows[:, :-1, 2:]
        s1, s2 = tokens[:, 1:].unbind(-1)
        logits = self(tokens[:, :-1, 0], tokens[:, :-1, 1], stamp, use_teacher_forcing=True, s1_targets=s1)
        kept = slice(max(self.first_learned - 1, 0), None)
        return {
            name: mean_over_dates(window_cross_entropy(values[:, kept], target[:, kept]), batch) / 2.0
            for name, values, target in zip(("s1", "s2"), logits, (s1, s2), strict=True)
        }

    def loss(
        self,
        s1_logits: Tensor,
        s2_logits: Tensor,
        s1_targets: Tensor,
        s2_targets: Tensor,
        padding_mask: Tensor | None = None,
    ) -> PredictorLoss:
        """Mean cross-entropy over the bars that are not padding."""

        def cross_entropy(logits_BTV: Tensor, target_BT: Tensor) -> Tensor:
            if padding_mask is None:
                return functional.cross_entropy(logits_BTV.flatten(0, 1), target_BT.flatten())
            kept = ~padding_mask.bool()
            return functional.cross_entropy(logits_BTV[kept], target_BT[kept])

        s1, s2 = cross_entropy(s1_logits, s1_targets), cross_entropy(s2_logits, s2_targets)
        return PredictorLoss((s1 + s2) / 2.0, s1, s2)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
