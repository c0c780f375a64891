"""From logits to a token: temperature, top-k and top-p, a draw."""

from __future__ import annotations

import torch
from torch import Tensor

TRIES = 3  # more at a token of the nucleus, before its tokens are sorted out


def filter_logits(logits: Tensor, top_k: int = 0, top_p: float = 1.0, official_parity: bool = False) -> Tensor:
    """Return logits (..., V) with the tokens that may not be drawn at -inf.

    top_k > 0 keeps the k most likely (more where the k-th is tied); then top_p < 1 keeps the shortest list of the most
    likely tokens (the first of equals) whose share of what is left exceeds p, at least one. With `official_parity`
    top_k > 0 makes top_p ignored, as in the published code.
    """
    _check_filters(top_k, top_p)
    if top_k > 0:
        weakest = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < weakest, -torch.inf)
    if top_p < 1.0 and not (official_parity and top_k > 0):
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        share_before = ordered.softmax(-1).cumsum(-1).roll(1, dims=-1)
        share_before[..., 0] = 0.0
        removed = torch.zeros_like(share_before, dtype=torch.bool).scatter(-1, order, share_before > top_p)
        logits = logits.masked_fill(removed, -torch.inf)
    return logits


def sample_token(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    official_parity: bool = False,
) -> Tensor:
    """Draw one token (B, 1) from logits (B, V); top_k = 1 takes the most likely."""
    _check_filters(top_k, top_p)
    if official_parity and top_k > 0:
        top_p = 1.0
    probability = token_probabilities(logits, temperature, top_k, 1.0)
    token = draw_tokens(probability, generator)
    if top_p == 1.0:
        return token
    # The first of many draws that is in the nucleus is a draw from the nucleus; mostly that saves sorting all tokens.
    outside = _outside_nucleus(probability, token, top_p)
    for _ in range(TRIES):
        if not outside.any():
            return token
        token = torch.where(outside, draw_tokens(probability, generator), token)
        outside = _outside_nucleus(probability, token, top_p)
    nucleus = filter_logits(probability.log(), 0, top_p).softmax(-1)
    return torch.where(outside, draw_tokens(nucleus, generator), token)


def draw_tokens(probability_NV: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One token (N, 1) of each row, one random number a row."""
    uniform = torch.rand((len(probability_NV), 1), generator=generator, device=probability_NV.device)
    return token_at(probability_NV.cumsum(-1), uniform)


def token_at(cumulative_NV: Tensor, share_N1: Tensor) -> Tensor:
    """The token (N, 1) at a share of each row's distribution function: its inverse."""
    total = cumulative_NV[:, -1:].contiguous()
    place = torch.searchsorted(cumulative_NV, share_N1 * total, right=True)
    # Rounding may put a share at the end of the line: then the last token that has any probability.
    return torch.minimum(place, torch.searchsorted(cumulative_NV, total))


def _outside_nucleus(probability: Tensor, token: Tensor, top_p: float) -> Tensor:
    """Whether the tokens that are likelier than `token` (B, 1), or as likely and before it, have more than top_p."""
    own = probability.gather(-1, token)
    before = (probability * (probability >= own)).sum(-1, keepdim=True) - own
    outside = before > top_p
    if outside.any():
        index = torch.arange(probability.shape[-1], device=probability.device)
        before = before - (probability * ((probability == own) & (index > token))).sum(-1, keepdim=True)
        outside = before > top_p
    return outside


def _check_filters(top_k: int, top_p: float) -> None:
    if top_k < 0 or not 0.0 < top_p <= 1.0:
        raise ValueError(f"top_k must be at least 0 and top_p in (0, 1], got {top_k} and {top_p}")


def token_probabilities(
    logits: Tensor, temperature: float, top_k: int, top_p: float, official_parity: bool = False
) -> Tensor:
    """Probabilities (B, V) of what may be drawn from logits (B, V); see `filter_logits`."""
    if not temperature > 0.0:
        raise ValueError(f"temperature must be above 0 (top_k = 1 is greedy), got {temperature}")
    return filter_logits(logits / temperature, top_k, top_p, official_parity).softmax(-1)
