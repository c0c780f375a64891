"""Pre-norm transformer blocks of the K-line models: RMS norm, rotary attention, SwiGLU.

Names of modules and buffers are those of the published checkpoints, so that a state dict loads as it is.
Shapes: B series, T bars, D width, N heads, E = D / N.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPSILON = 1e-5
ROTARY_BASE = 10_000.0

Angles = tuple[Tensor, Tensor]
"""Cosine, and sine with a minus in the first half, of some positions."""
SMALL_PRODUCT = 400
"""Multiplications of a product in a batch, below which torch takes a plain loop on the CPU instead of its library."""
MOST_IN_GROUP = 8
"""Continuations side by side: more would multiply more of each other's bars in vain."""


class RMSNorm(nn.Module):
    """x / root mean square of x, in float32, times a learnt weight: Zhang and Sennrich (2019)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype == torch.float32:
            return functional.rms_norm(x, x.shape[-1:], self.weight, NORM_EPSILON)
        normed = functional.rms_norm(x.float(), x.shape[-1:], eps=NORM_EPSILON)
        return normed.to(x.dtype) * self.weight


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x), Shazeer (2020)."""

    def __init__(self, d_model: int, ff_dim: int, dropout: float) -> None:
        super().__init__()
        self.w1 = nn.Linear(d_model, ff_dim, bias=False)
        self.w3 = nn.Linear(d_model, ff_dim, bias=False)
        self.w2 = nn.Linear(ff_dim, d_model, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return self.dropout(self.w2(functional.silu(self.w1(x)) * self.w3(x)))
        return self.dropout(self.w2(functional.silu(self.w1(x), inplace=True).mul_(self.w3(x))))


class RotaryEmbedding(nn.Module):
    """Rotation of queries and keys by their position (Su et al., 2021), first and second half of E paired."""

    inv_freq: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        exponent = torch.arange(0, head_dim, 2).float() / head_dim
        self.register_buffer("inv_freq", 1.0 / ROTARY_BASE**exponent)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RotaryEmbedding":
        """Move with the model, but stay float32: `.bfloat16()` would make positions collide."""
        frequencies = self.inv_freq
        super()._apply(fn, recurse)
        self.inv_freq = frequencies.to(self.inv_freq.device)
        return self

    def angles(self, num_positions: int, start: int = 0) -> Angles:
        """Those of positions start, start + 1, ..., (num_positions, E) each."""
        frequency = self.inv_freq
        position = torch.arange(start, start + num_positions, device=frequency.device, dtype=torch.float32)
        angle = torch.outer(position, frequency)
        cosine, sine = angle.cos(), angle.sin()
        return torch.cat([cosine, cosine], dim=-1), torch.cat([-sine, sine], dim=-1)


def rotate(x_BNTE: Tensor, angles: Angles) -> Tensor:
    """Rotate (..., T, E) by the angles of its T positions."""
    cosine, sine = (angle.to(x_BNTE.dtype) for angle in angles)
    return (x_BNTE * cosine).addcmul_(x_BNTE.roll(x_BNTE.shape[-1] // 2, dims=-1), sine)


class Attention(nn.Module):
    """The projections of multi-head attention, with biases; who attends to whom is the caller's."""

    def __init__(self, d_model: int, n_heads: int, attn_dropout: float, resid_dropout: float) -> None:
        super().__init__()
        if d_model % n_heads or (d_model // n_heads) % 2:
            raise ValueError(f"d_model = {d_model} must be an even multiple of the {n_heads} heads")
        self.n_heads, self.attn_dropout = n_heads, attn_dropout
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.rotary = RotaryEmbedding(d_model // n_heads)
        self.resid_dropout = nn.Dropout(resid_dropout)

    def split(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) as (B, N, T, E)."""
        return x_BTD.unflatten(2, (self.n_heads, -1)).transpose(1, 2)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Attend and project: (B, N, T, E) queries to (B, T, D)."""
        dropout = self.attn_dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=causal and mask is None
        )
        return self.project(mixed.transpose(1, 2).flatten(2))

    def project(self, mixed_BTD: Tensor) -> Tensor:
        return self.resid_dropout(self.out_proj(mixed_BTD))


class KeyValueCache:
    """Keys and values of the bars that one attention layer has seen; `position` is that of the next bar."""

    def __init__(self) -> None:
        self.position = 0
        self._stored: tuple[Tensor, Tensor] | None = None

    @property
    def length(self) -> int:
        return self.position

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, N, T, E) of the next bars and return all so far."""
        if self._stored is not None:
            key, value = (
                torch.cat([old, new], dim=2) for old, new in zip(self._stored, (key, value), strict=True)
            )
        self._stored = key, value
        self.position = key.shape[2]
        return self._stored

    def repeat(self, num_samples: int) -> "KeyValueCache":
        """The cache with every series repeated, for as many continuations of each."""
        copy = KeyValueCache()
        if self._stored is not None:
            key, value = (stored.repeat_interleave(num_samples, dim=0) for stored in self._stored)
            copy.append(key, value)
        return copy

    def fork(self, num_samples: int, room: int, rotary: RotaryEmbedding) -> "ForkedCache":
        """The cache for continuations of each series, `num_samples` of at most `room` bars, bar by bar."""
        if self._stored is None:
            raise ValueError(
                "there is nothing to continue: append the bars that continuations share, may be none"
            )
        key, value = self._stored
        return ForkedCache(key, value, num_samples, room, rotary.angles(room, self.position))


class ForkedCache:
    """A cache of series that several continuations share, each with further bars of its own, for one bar at a time.

    Groups of g continuations of a series share its bars and stand side by side: their own bars follow in one line,
    bar by bar, and a mask leaves to each what is its own. So the bars that are shared are stored once a group, and one
    product serves it. Rows are R = B * S, S continuations of each of B series, H = B * S / g * N heads of groups, and
    L places. When the oldest bars are dropped, their places stay and are no longer looked at.
    """

    def __init__(
        self, key_BNTE: Tensor, value_BNTE: Tensor, num_samples: int, room: int, angles: Angles
    ) -> None:
        self.num_heads, num_shared, dim = key_BNTE.shape[1:]
        self.group = max(size for size in range(1, MOST_IN_GROUP + 1) if num_samples % size == 0)
        self.first, self.num_seen, self.num_own = 0, num_shared, 0
        self._angles, self._least = angles, -(-SMALL_PRODUCT // (self.group * dim))
        key, value = (
            x.repeat_interleave(num_samples // self.group, dim=0).flatten(0, 1)
            for x in (key_BNTE, value_BNTE)
        )
        num_places = max(num_shared + room * self.group, self._least)
        self._key_HEL = key.new_zeros(len(key), dim, num_places)
        self._value_HLE = key.new_zeros(len(key), num_places, dim)
        self._key_HEL[..., :num_shared] = key.transpose(1, 2)
        self._value_HLE[:, :num_shared] = value
        own = torch.eye(self.group, dtype=torch.bool, device=key.device)
        self._mask_gL = key.new_zeros(self.group, num_places)
        self._mask_gL[:, num_shared : num_shared + room * self.group] = (
            key.new_zeros(own.shape).masked_fill_(~own, -torch.inf).repeat(1, room)
        )

    @property
    def length(self) -> int:
        """Bars that a continuation sees."""
        return self.num_seen - self.first - self.num_own * (self.group - 1)

    @property
    def angles(self) -> Angles:
        """Of the next bar."""
        cosine, sine = self._angles
        return cosine[self.num_own : self.num_own + 1], sine[self.num_own : self.num_own + 1]

    def attend(self, query_RN1E: Tensor, key_RN1E: Tensor, value_RN1E: Tensor) -> Tensor:
        """Attention of the next bars, whose keys and values join their own, to all bars so far: (R, 1, D)."""
        if query_RN1E.shape[2] != 1:
            raise ValueError(f"continuations are read bar by bar, got {query_RN1E.shape[2]} at once")
        query, key, value = (
            x.view(-1, self.group, *x.shape[1::2]).transpose(1, 2) for x in (query_RN1E, key_RN1E, value_RN1E)
        )
        asked_HgE, places = query.flatten(0, 1), slice(self.num_seen, self.num_seen + self.group)
        self._key_HEL[..., places] = key.flatten(0, 1).transpose(1, 2)
        self._value_HLE[:, places] = value.flatten(0, 1)
        self.num_seen += self.group
        self.num_own += 1
        seen = slice(0, max(self.num_seen, self._least))
        mask_gL = self._mask_gL[:, seen]
        if self.num_seen < self._least:
            mask_gL = mask_gL.clone()
            mask_gL[:, self.num_seen :] = -torch.inf
        scores_HgL = torch.baddbmm(
            mask_gL, asked_HgE, self._key_HEL[..., seen], alpha=asked_HgE.shape[-1] ** -0.5
        )
        share = scores_HgL.softmax(-1, dtype=torch.float32).to(scores_HgL.dtype)
        mixed = torch.bmm(share, self._value_HLE[:, seen])
        return mixed.view(query.shape).transpose(1, 2).reshape(len(query_RN1E), 1, -1)

    def drop_first(self, num_bars: int) -> None:
        """Forget the oldest of the bars that are shared."""
        num_shared = self.num_seen - self.group * self.num_own - self.first
        if num_bars > num_shared:
            raise ValueError(f"only {num_shared} bars are shared, {num_bars} cannot be dropped")
        self.first += num_bars
        self._mask_gL[:, : self.first] = -torch.inf


Cache = KeyValueCache | ForkedCache


class SelfAttention(Attention):
    """Causal self-attention; with a cache, x holds the bars that follow those in it."""

    def forward(
        self, x_BTD: Tensor, angles: Angles, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        num_new, num_seen = x_BTD.shape[1], cache.length if cache else 0
        query = rotate(self.split(self.q_proj(x_BTD)), angles)
        key = rotate(self.split(self.k_proj(x_BTD)), angles)
        value = self.split(self.v_proj(x_BTD))
        if isinstance(cache, ForkedCache):
            return self.project(cache.attend(query, key, value))
        if cache:
            key, value = cache.append(key, value)
        if num_seen and num_new > 1:
            mask = torch.ones(num_new, num_seen + num_new, dtype=torch.bool, device=x_BTD.device).tril(
                num_seen
            )
        return self.mix(query, key, value, mask, causal=not num_seen)


class TransformerBlock(nn.Module):
    """x + attention(norm1 x), then x + ffn(norm2 x)."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        ffn_dropout_p: float,
        attn_dropout_p: float,
        resid_dropout_p: float,
    ) -> None:
        super().__init__()
        self.norm1 = RMSNorm(d_model)
        self.self_attn = SelfAttention(d_model, n_heads, attn_dropout_p, resid_dropout_p)
        self.norm2 = RMSNorm(d_model)
        self.ffn = FeedForward(d_model, ff_dim, ffn_dropout_p)

    def forward(
        self, x_BTD: Tensor, angles: Angles, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.norm1(x_BTD), angles, mask, cache)
        further = self.ffn(self.norm2(x_BTD))
        return x_BTD + further if torch.is_grad_enabled() else x_BTD.add_(further)


class Transformer(nn.ModuleList):
    """Blocks one after another."""

    def __init__(self, num_blocks: int, *sizes_and_dropouts: Any) -> None:
        super().__init__(TransformerBlock(*sizes_and_dropouts) for _ in range(num_blocks))

    def run(self, x_BTD: Tensor, mask: Tensor | None = None, caches: Sequence[Cache] | None = None) -> Tensor:
        """States (B, T, D); with caches, one a block, x holds the bars that follow those in them."""
        blocks = self._blocks()
        if not blocks:
            return x_BTD
        first = caches[0] if caches else None
        if isinstance(first, ForkedCache):
            angles = first.angles
        else:
            angles = blocks[0].self_attn.rotary.angles(x_BTD.shape[1], first.position if first else 0)
        for number, block in enumerate(blocks):
            x_BTD = block(x_BTD, angles, mask, caches[number] if caches else None)
        return x_BTD

    def fork(self, caches: Sequence[KeyValueCache], num_samples: int, room: int) -> list[ForkedCache]:
        """Each block's cache for continuations of its series; see `KeyValueCache.fork`."""
        return [
            cache.fork(num_samples, room, block.self_attn.rotary)
            for block, cache in zip(self._blocks(), caches, strict=True)
        ]

    def _blocks(self) -> list[TransformerBlock]:
        return [block for block in self if isinstance(block, TransformerBlock)]


def attendable(padding_mask: Tensor | None) -> Tensor | None:
    """(B, 1, T, T) True where a bar may look: not later than itself and not padding; None without padding.

    `padding_mask` (B, T) is True where a bar is padding. A padding bar still sees itself, or its softmax would be
    empty.
    """
    if padding_mask is None:
        return None
    num_bars = padding_mask.shape[1]
    causal = torch.ones(num_bars, num_bars, dtype=torch.bool, device=padding_mask.device).tril()
    itself = torch.eye(num_bars, dtype=torch.bool, device=padding_mask.device)
    return (causal & ~padding_mask.bool()[:, None, None, :]) | itself
