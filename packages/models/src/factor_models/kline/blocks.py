"""Pre-norm transformer blocks of the K-line models: RMS norm, rotary attention, SwiGLU.

Names of modules and buffers are those of the published checkpoints, so that a state dict loads as it is.
Shapes: B series, T bars, D width, N heads, E = D / N.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPSILON = 1e-5
ROTARY_BASE = 10_000.0

Angles = tuple[Tensor, Tensor]
"""Cosine, and sine with a minus in the first half, of some positions."""


class RMSNorm(nn.Module):
    """x / root mean square of x, in float32, times a learnt weight: Zhang and Sennrich (2019)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return x over its root mean square along the last axis, times the weight; in the type of x."""
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
        """Return the gated layer of x, (..., D)."""
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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RotaryEmbedding:
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
        return self.resid_dropout(self.out_proj(mixed.transpose(1, 2).flatten(2)))


class KeyValueCache:
    """Keys and values of the bars that one attention layer has seen; `position` is that of the next bar."""

    def __init__(self) -> None:
        self.position = 0
        self._stored: tuple[Tensor, Tensor] | None = None

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, N, T, E) of the next bars and return all so far."""
        if self._stored:
            key, value = (torch.cat([old, new], dim=2) for old, new in zip(self._stored, (key, value), strict=True))
        self._stored = key, value
        self.position = key.shape[2]
        return self._stored

    @property
    def stored(self) -> tuple[Tensor, Tensor]:
        """Keys and values (B, N, T, E) so far."""
        if self._stored is None:
            raise ValueError("nothing is stored: append the first bars, may be none")
        return self._stored

    def repeat(self, num_samples: int) -> KeyValueCache:
        """The cache with every series repeated, for as many continuations of each."""
        copy = KeyValueCache()
        copy.append(*(stored.repeat_interleave(num_samples, dim=0) for stored in self.stored))
        return copy


class SelfAttention(Attention):
    """Causal self-attention; with a cache, x holds the bars that follow those in it."""

    def forward(
        self, x_BTD: Tensor, angles: Angles, mask: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Return the attended bars, (B, T, D); with a cache, T new bars after those that it holds."""
        num_new, num_seen = x_BTD.shape[1], cache.position if cache else 0
        query = rotate(self.split(self.q_proj(x_BTD)), angles)
        key, value = self.keys_values(x_BTD, angles)
        if cache:
            key, value = cache.append(key, value)
        if num_seen and num_new > 1:
            mask = torch.ones(num_new, num_seen + num_new, dtype=torch.bool, device=x_BTD.device).tril(num_seen)
        return self.mix(query, key, value, mask, causal=not num_seen)

    def keys_values(self, x_BTD: Tensor, angles: Angles) -> tuple[Tensor, Tensor]:
        """(B, N, T, E) each."""
        return rotate(self.split(self.k_proj(x_BTD)), angles), self.split(self.v_proj(x_BTD))


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
        self, x_BTD: Tensor, angles: Angles, mask: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Return x after attention and feed-forward, (B, T, D); without gradients x is overwritten."""
        x_BTD = x_BTD + self.self_attn(self.norm1(x_BTD), angles, mask, cache)
        further = self.ffn(self.norm2(x_BTD))
        return x_BTD + further if torch.is_grad_enabled() else x_BTD.add_(further)


class Transformer(nn.ModuleList):
    """Blocks one after another."""

    def __init__(self, num_blocks: int, *sizes_and_dropouts: Any) -> None:
        super().__init__(TransformerBlock(*sizes_and_dropouts) for _ in range(num_blocks))

    def run(self, x_BTD: Tensor, mask: Tensor | None = None, caches: Sequence[KeyValueCache] | None = None) -> Tensor:
        """States (B, T, D); with caches, one a block, x holds the bars that follow those in them."""
        blocks = self.blocks
        if not blocks:
            return x_BTD
        angles = blocks[0].self_attn.rotary.angles(x_BTD.shape[1], caches[0].position if caches else 0)
        for number, block in enumerate(blocks):
            x_BTD = block(x_BTD, angles, mask, caches[number] if caches else None)
        return x_BTD

    def remember(self, x_BTD: Tensor) -> list[KeyValueCache]:
        """Caches, one a block, of the first bars of series whose own states are not needed."""
        caches = [KeyValueCache() for _ in self.blocks]
        if caches:
            last, angles = self.blocks[-1], self.blocks[-1].self_attn.rotary.angles(x_BTD.shape[1])
            for block, cache in zip(self.blocks[:-1], caches[:-1], strict=True):
                x_BTD = block(x_BTD, angles, None, cache)
            caches[-1].append(*last.self_attn.keys_values(last.norm1(x_BTD), angles))
        return caches

    @property
    def blocks(self) -> list[TransformerBlock]:
        """Return the blocks in their order."""
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
