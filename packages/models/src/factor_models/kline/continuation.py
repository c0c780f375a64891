"""What generation repeats for every bar: one bar of many continuations through the layers, with few operations.

A bar of a few rows is so little work that every operation counts, and the bytes of the weights more than the products.
The numbers are those of the layers themselves.

Shapes: R = B * S rows, S continuations of each of B series; D width, N heads, E = D / N. Groups of g continuations of a
series share its bars: H = B * S / g * N heads of groups, L places of bars.
"""

from __future__ import annotations

import torch
from torch import Tensor

from factor_models.kline.blocks import KeyValueCache, RotaryEmbedding, TransformerBlock, rotate
from factor_models.kline.predictor import DependencyLayer

SMALL_PRODUCT = 400
"""Multiplications of a product in a batch, below which torch takes a plain loop on the CPU instead of its library."""
MOST_IN_GROUP = 8
"""Continuations side by side: more would multiply more of each other's bars in vain."""


class ForkedCache:
    """Keys and values of bars that several continuations share, and of the further bars of each.

    The continuations of a group stand side by side: their own bars follow the shared ones in one line, bar by bar, and
    a mask leaves to each what is its own. So the bars that are shared are stored once a group, and one product serves
    it. When the oldest bars are dropped, their places stay and are no longer looked at.
    """

    def __init__(self, shared: KeyValueCache, num_samples: int, room: int, rotary: RotaryEmbedding | None) -> None:
        """For `num_samples` continuations of each series, of at most `room` bars; None rotates nothing."""
        key_BNTE, value_BNTE = shared.stored
        self._num_heads, num_shared, dim = key_BNTE.shape[1:]
        self._angles = rotary.angles(room, num_shared) if rotary else None
        self._group = max(size for size in range(1, MOST_IN_GROUP + 1) if num_samples % size == 0)
        self._first, self._num_seen, self._num_own = 0, num_shared, 0
        self._least = -(-SMALL_PRODUCT // (self._group * dim))
        key, value = (
            x.repeat_interleave(num_samples // self._group, dim=0).flatten(0, 1) for x in (key_BNTE, value_BNTE)
        )
        num_places = max(num_shared + room * self._group, self._least)
        self._key_HEL = key.new_zeros(len(key), dim, num_places)
        self._value_HLE = key.new_zeros(len(key), num_places, dim)
        self._key_HEL[..., :num_shared] = key.transpose(1, 2)
        self._value_HLE[:, :num_shared] = value
        own = torch.eye(self._group, dtype=torch.bool, device=key.device)
        self._mask_gL = key.new_zeros(self._group, num_places)
        self._mask_gL[:, num_shared : num_shared + room * self._group] = (
            key.new_zeros(own.shape).masked_fill_(~own, -torch.inf).repeat(1, room)
        )

    @property
    def length(self) -> int:
        """Bars that a continuation sees."""
        return self._num_seen - self._first - self._num_own * (self._group - 1)

    def attend(self, projected_R3D: Tensor) -> Tensor:
        """Attention (R, D) of the next bars, whose keys and values join their own, to all bars so far.

        Query, key and value of each row lie side by side.
        """
        parts = projected_R3D.view(-1, self._group, 3, self._num_heads, self._key_HEL.shape[1])
        asked, value_HgE = parts.permute(2, 0, 3, 1, 4).reshape(3, -1, self._group, parts.shape[-1]).split([2, 1])
        if self._angles:
            cosine, sine = self._angles
            asked = rotate(asked, (cosine[self._num_own], sine[self._num_own]))
        query_HgE, key_HgE = asked
        places = slice(self._num_seen, self._num_seen + self._group)
        self._key_HEL[..., places] = key_HgE.transpose(1, 2)
        self._value_HLE[:, places] = value_HgE
        self._num_seen += self._group
        self._num_own += 1
        seen = slice(0, max(self._num_seen, self._least))
        mask_gL = self._mask_gL[:, seen]
        if self._num_seen < self._least:
            mask_gL = mask_gL.clone()
            mask_gL[:, self._num_seen :] = -torch.inf
        scores_HgL = torch.baddbmm(mask_gL, query_HgE, self._key_HEL[..., seen], alpha=query_HgE.shape[-1] ** -0.5)
        share = scores_HgL.softmax(-1, dtype=torch.float32).to(scores_HgL.dtype)
        mixed_HgE = torch.bmm(share, self._value_HLE[:, seen])
        mixed = mixed_HgE.view(-1, self._num_heads, *mixed_HgE.shape[1:])
        return mixed.transpose(1, 2).reshape(len(projected_R3D), -1)

    def drop_first(self, num_bars: int) -> None:
        """Forget the oldest of the bars that are shared."""
        num_shared = self._num_seen - self._group * self._num_own - self._first
        if num_bars > num_shared:
            raise ValueError(f"only {num_shared} bars are shared, {num_bars} cannot be dropped")
        self._first += num_bars
        self._mask_gL[:, : self._first] = -torch.inf


class BlockStep:
    """A transformer block for the next bar of every continuation."""

    def __init__(self, block: TransformerBlock, cache: ForkedCache) -> None:
        self.block, self.cache = block, cache

    def __call__(self, x_RD: Tensor) -> Tensor:
        """Return one new bar of each row after the block, (R, D)."""
        block, attention, ffn = self.block, self.block.self_attn, self.block.ffn
        normed = block.norm1(x_RD)
        projected = torch.cat([attention.q_proj(normed), attention.k_proj(normed), attention.v_proj(normed)], dim=-1)
        x_RD = attention.out_proj(self.cache.attend(projected)).add_(x_RD)
        return ffn(block.norm2(x_RD)).add_(x_RD)


class DependencyStep:
    """The dependency layer for the next bar of every continuation."""

    def __init__(self, layer: DependencyLayer, cache: ForkedCache) -> None:
        self.layer, self.cache = layer, cache

    def __call__(self, context_RD: Tensor, sibling_RD: Tensor) -> Tensor:
        """The bars' contexts, which join the cache, given the embeddings of their next s1."""
        attention = self.layer.cross_attn
        projected = torch.cat(
            [attention.q_proj(sibling_RD), attention.k_proj(context_RD), attention.v_proj(context_RD)], dim=-1
        )
        return self.layer.norm(attention.out_proj(self.cache.attend(projected)).add_(context_RD))
