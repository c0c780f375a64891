"""From logits to a token: temperature, top-k and top-p, a draw."""

import torch
from torch import Tensor


def filter_logits(
    logits: Tensor, top_k: int = 0, top_p: float = 1.0, official_parity: bool = False
) -> Tensor:
    """Return logits (..., V) with the tokens that may not be drawn at -inf.

    top_k > 0 keeps the k most likely (more where the k-th is tied); then top_p < 1 keeps the shortest list of the most
    likely tokens whose share of what is left exceeds p, at least one. With `official_parity` top_k > 0 makes top_p
    ignored, as in the published code.
    """
    if top_k < 0 or not 0.0 < top_p <= 1.0:
        raise ValueError(f"top_k must be at least 0 and top_p in (0, 1], got {top_k} and {top_p}")
    if top_k > 0:
        weakest = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < weakest, -torch.inf)
    if top_p < 1.0 and not (official_parity and top_k > 0):
        ordered, order = logits.sort(dim=-1, descending=True)
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
    probability = token_probabilities(logits, temperature, top_k, top_p, official_parity)
    return torch.multinomial(probability, 1, generator=generator)


def token_probabilities(
    logits: Tensor, temperature: float, top_k: int, top_p: float, official_parity: bool = False
) -> Tensor:
    """Probabilities (B, V) of what may be drawn from logits (B, V); see `filter_logits`."""
    if not temperature > 0.0:
        raise ValueError(f"temperature must be above 0 (top_k = 1 is greedy), got {temperature}")
    return filter_logits(logits / temperature, top_k, top_p, official_parity).softmax(-1)
