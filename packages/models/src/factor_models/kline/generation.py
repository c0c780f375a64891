"""Generation: many futures of many series, one bar at a time.

The prompt of a series is encoded and read once; its keys and values are then shared by its samples, and every further
bar costs one step. Tokens are exact while lookback + pred_len - 1 <= max_context. Beyond, the window of the last
max_context bars slides: "exact" reads the whole window anew for each bar, as the published code does; "approximate"
lets the oldest keys drop out, so that the states of the bars that stay remember what has left.

Shapes: B series, S samples, T lookback, P bars ahead, N = B * S.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from factor_models.kline.blocks import KeyValueCache
from factor_models.kline.continuation import BlockStep, DependencyStep, ForkedCache
from factor_models.kline.coupling import CoupledDraws, close_order
from factor_models.kline.predictor import Kronos
from factor_models.kline.sampling import sample_token, token_probabilities
from factor_models.kline.tokenizer import KronosTokenizer

BeyondContext = Literal["exact", "approximate"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Rules by which tokens are drawn, and the number of futures."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.9
    sample_count: int = 1
    seed: int | None = None
    """Seed of the draws; None takes them from torch's global generator."""
    coupled: bool = False
    """All series share the same random numbers, spread evenly over the samples of a series: see `CoupledDraws`."""


@dataclass(frozen=True, kw_only=True)
class GeneratedPaths:
    """Futures in normalised units."""

    bars: Tensor
    """(B, S, P, d_in)"""
    s1: Tensor
    """(B, S, P) int64"""
    s2: Tensor
    """(B, S, P) int64"""


def generate(
    tokenizer: KronosTokenizer,
    model: Kronos,
    x: Tensor,
    x_stamp: Tensor,
    y_stamp: Tensor,
    max_context: int,
    sampling: Sampling = Sampling(),
    beyond_context: BeyondContext = "exact",
    on_bar: Callable[[int], None] | None = None,
) -> GeneratedPaths:
    """Continue normalised bars `x` (B, T, d_in) with stamps (B, T, 5) over the stamps `y_stamp` (B, P, 5).

    `on_bar` is called after each bar with its number, 0 .. P - 1. ValueError where P exceeds max_context, or where
    tokenizer and model do not share their bits.
    """
    _check(tokenizer, model, x, x_stamp, y_stamp, max_context, sampling)
    num_ahead, num_samples = y_stamp.shape[1], sampling.sample_count
    fits = x.shape[1] + num_ahead - 1 <= max_context
    reader_of = _CachedReader if fits or beyond_context == "approximate" else _SlidingReader
    with torch.inference_mode():
        draw = _draws(tokenizer, model, sampling, num_ahead, len(x), x.device)
        prompt = tokenizer.token_pairs(x)
        given = _Given(
            token_BT2=prompt,
            stamp_BT5=x_stamp,
            ahead_BP5=y_stamp,
            num_samples=num_samples,
            max_context=max_context,
        )
        reader = reader_of(model, given)
        drawn: list[Tensor] = []
        for bar in range(num_ahead):
            if drawn:
                reader.read(drawn[-1], bar - 1)
            s1 = draw(reader.s1_logits().float(), bar, 0)
            s2 = draw(reader.s2_logits(s1).float(), bar, 1)
            drawn.append(torch.cat([s1, s2], dim=-1))
            if on_bar:
                on_bar(bar)
        ahead = torch.stack(drawn, dim=1)
        bars = _decode(tokenizer, prompt, ahead, num_samples, max_context)
    # Clones, since tensors that are made in inference mode cannot be used with gradients.
    ahead, bars = (each.clone().unflatten(0, (len(x), num_samples)) for each in (ahead, bars))
    return GeneratedPaths(bars=bars, s1=ahead[..., 0], s2=ahead[..., 1])


@dataclass(frozen=True, kw_only=True)
class _Given:
    """Series to continue: tokens and stamps of the bars so far, stamps of those ahead."""

    token_BT2: Tensor
    stamp_BT5: Tensor
    ahead_BP5: Tensor
    num_samples: int
    max_context: int


class _CachedReader:
    """Reads each bar once and keeps the keys and values of at most `max_context` bars."""

    def __init__(self, model: Kronos, given: _Given) -> None:
        self.model, self.max_context = model, given.max_context
        num_samples, num_ahead = given.num_samples, given.ahead_BP5.shape[1]
        tokens, stamps = (each[:, -given.max_context :] for each in (given.token_BT2, given.stamp_BT5))
        blocks, layer = model.transformer.blocks, model.dep_layer
        prompts = [KeyValueCache() for _ in blocks]
        context = model.contexts(tokens[..., 0], tokens[..., 1], stamps, caches=prompts)
        self.blocks = [
            BlockStep(block, ForkedCache(cache, num_samples, num_ahead, block.self_attn.rotary))
            for block, cache in zip(blocks, prompts, strict=True)
        ]
        seen, rotary = layer.remember(context[:, :-1]), layer.cross_attn.rotary if layer.rotated(1) else None
        self.dependency = DependencyStep(layer, ForkedCache(seen, num_samples, num_ahead, rotary))
        self.times_NPD = model.time_emb(given.ahead_BP5).repeat_interleave(num_samples, dim=0)
        self.context_ND = context[:, -1].repeat_interleave(num_samples, dim=0)

    def read(self, token_N2: Tensor, bar: int) -> None:
        """Read the tokens of the bar ahead with the number `bar`."""
        for cache in (self.dependency.cache, *(block.cache for block in self.blocks)):
            if cache.length == self.max_context:
                cache.drop_first(1)
        x_ND = self.model.embedding(token_N2[:, 0], token_N2[:, 1]) + self.times_NPD[:, bar]
        for block in self.blocks:
            x_ND = block(x_ND)
        self.context_ND = self.model.norm(x_ND)

    def s1_logits(self) -> Tensor:
        """Return the logits of s1 of the next bar, (N, V1)."""
        return self.model.head.proj_s1(self.context_ND)

    def s2_logits(self, s1_N1: Tensor) -> Tensor:
        """Return the logits of s2 of the next bar given its s1, (N, V2); call it once a bar, whose context is kept."""
        sibling_ND = self.model.embedding.emb_s1(s1_N1[:, 0])
        return self.model.head.proj_s2(self.dependency(self.context_ND, sibling_ND))


class _SlidingReader:
    """Reads the last `max_context` bars anew at every step."""

    def __init__(self, model: Kronos, given: _Given) -> None:
        self.model, self.max_context = model, given.max_context
        self.tokens, self.stamps, self.stamps_ahead = (
            each.repeat_interleave(given.num_samples, dim=0)
            for each in (given.token_BT2, given.stamp_BT5, given.ahead_BP5)
        )
        self._read_window()

    def read(self, token_N2: Tensor, bar: int) -> None:
        self.tokens = torch.cat([self.tokens, token_N2[:, None]], dim=1)
        self.stamps = torch.cat([self.stamps, self.stamps_ahead[:, bar : bar + 1]], dim=1)
        self._read_window()

    def _read_window(self) -> None:
        self.tokens, self.stamps = (each[:, -self.max_context :] for each in (self.tokens, self.stamps))
        self.context_NTD = self.model.contexts(self.tokens[..., 0], self.tokens[..., 1], self.stamps)

    def s1_logits(self) -> Tensor:
        return self.model.head.proj_s1(self.context_NTD[:, -1])

    def s2_logits(self, s1_N1: Tensor) -> Tensor:
        return self.model.decode_s2(self.context_NTD, s1_N1)[:, -1]


Draw = Callable[[Tensor, int, int], Tensor]
"""(logits (N, V), bar, 0 for s1 or 1 for s2) -> tokens (N, 1)."""


def _draws(
    tokenizer: KronosTokenizer,
    model: Kronos,
    sampling: Sampling,
    num_ahead: int,
    num_series: int,
    device: torch.device,
) -> Draw:
    generator = None
    if sampling.seed is not None:
        generator = torch.Generator(device=device).manual_seed(sampling.seed)
    filters = (sampling.temperature, sampling.top_k, sampling.top_p)
    if not sampling.coupled:
        return lambda logits, bar, part: sample_token(logits, *filters, generator, model.official_parity)
    coupled = CoupledDraws(num_ahead, sampling.sample_count, close_order(tokenizer), generator, device, num_series)
    return lambda logits, bar, part: coupled.draw(
        token_probabilities(logits, *filters, model.official_parity), bar, part
    )


def _decode(
    tokenizer: KronosTokenizer, prompt_BT2: Tensor, ahead_NP2: Tensor, num_samples: int, max_context: int
) -> Tensor:
    """Bars ahead (N, P, d_in), decoded with those before them in the last window of `max_context`."""
    num_shared = min(prompt_BT2.shape[1], max_context - ahead_NP2.shape[1])
    shared = tokenizer.remember(prompt_BT2[:, prompt_BT2.shape[1] - num_shared :].unbind(-1))
    caches = [cache.repeat(num_samples) for cache in shared]
    return tokenizer.decode(ahead_NP2.unbind(-1), half=True, caches=caches)


def _check(
    tokenizer: KronosTokenizer,
    model: Kronos,
    x: Tensor,
    x_stamp: Tensor,
    y_stamp: Tensor,
    max_context: int,
    sampling: Sampling,
) -> None:
    if (tokenizer.s1_bits, tokenizer.s2_bits) != (model.s1_bits, model.s2_bits):
        raise ValueError(
            f"tokenizer and model do not belong together: bits {tokenizer.s1_bits} + {tokenizer.s2_bits} and "
            f"{model.s1_bits} + {model.s2_bits}"
        )
    if tokenizer.training or model.training:
        raise ValueError("tokenizer and model must be in evaluation mode: call eval() first")
    num_ahead = y_stamp.shape[1]
    if not 1 <= num_ahead <= max_context:
        raise ValueError(f"pred_len = {num_ahead} must lie in 1 .. max_context = {max_context}")
    if x_stamp.shape != (*x.shape[:2], 5) or y_stamp.shape != (len(x), num_ahead, 5):
        raise ValueError(
            f"stamps must be (B, T, 5) and (B, P, 5) for bars {tuple(x.shape)}, "
            f"got {tuple(x_stamp.shape)} and {tuple(y_stamp.shape)}"
        )
    if sampling.sample_count < 1:
        raise ValueError(f"sample_count must be at least 1, got {sampling.sample_count}")
