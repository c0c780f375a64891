"""Generation: many futures of many series, one bar at a time.

The prompt of a series is encoded and read once; its keys and values are then shared by its samples, and every further
bar costs one step. Tokens are exact while lookback + pred_len - 1 <= max_context. Beyond, the window of the last
max_context bars slides: "exact" reads the whole window anew for each bar, as the published code does; "approximate"
lets the oldest keys drop out, so that the states of the bars that stay remember what has left.

Shapes: B series, S samples, T lookback, P bars ahead, N = B * S.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from factor_models.kline.blocks import KeyValueCache
from factor_models.kline.coupling import CoupledDraws, close_order
from factor_models.kline.predictor import Kronos
from factor_models.kline.sampling import sample_token, token_probabilities
from factor_models.kline.tokenizer import KronosTokenizer

BeyondContext = Literal["exact", "approximate"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a token is drawn, and how many futures are."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.9
    sample_count: int = 1
    seed: int | None = None
    """Of the draws; None takes them from torch's global generator."""
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
    decoded: Tensor
    """(B, S, W, d_in): all bars of the last window, W = min(max_context, T + P)."""


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
    with torch.inference_mode():
        ahead, decoded = _continue(
            tokenizer, model, x, x_stamp, y_stamp, max_context, sampling, beyond_context, on_bar
        )
    # Clones, since tensors that are made in inference mode cannot be used with gradients.
    ahead, decoded = ahead.clone(), decoded.clone()
    shape, num_ahead = (len(x), sampling.sample_count), y_stamp.shape[1]
    return GeneratedPaths(
        bars=decoded[:, -num_ahead:].unflatten(0, shape),
        s1=ahead[..., 0].unflatten(0, shape),
        s2=ahead[..., 1].unflatten(0, shape),
        decoded=decoded.unflatten(0, shape),
    )


def _continue(
    tokenizer: KronosTokenizer,
    model: Kronos,
    x: Tensor,
    x_stamp: Tensor,
    y_stamp: Tensor,
    max_context: int,
    sampling: Sampling,
    beyond_context: BeyondContext,
    on_bar: Callable[[int], None] | None,
) -> tuple[Tensor, Tensor]:
    """Tokens ahead (N, P, 2) and bars of the last window (N, W, d_in)."""
    num_ahead = y_stamp.shape[1]
    draws = _draws(tokenizer, model, sampling, num_ahead, len(x), x.device)
    prompt = tokenizer.token_pairs(x)
    if x.shape[1] + num_ahead - 1 <= max_context or beyond_context == "approximate":
        reader: _CachedReader | _SlidingReader = _CachedReader(model, max_context)
    else:
        reader = _SlidingReader(model, max_context)
    state = reader.start(prompt, x_stamp, sampling.sample_count, num_ahead)
    drawn = []
    stamps = y_stamp.repeat_interleave(sampling.sample_count, dim=0)
    for bar in range(num_ahead):
        drawn.append(_draw(model, reader, state, draws, bar))
        if on_bar:
            on_bar(bar)
        if bar + 1 < num_ahead:
            state = reader.read(drawn[-1], stamps[:, bar : bar + 1])
    ahead = torch.cat(drawn, dim=1)
    return ahead, _decode(tokenizer, prompt, ahead, sampling.sample_count, max_context)


class _CachedReader:
    """Reads each bar once and keeps the keys and values of at most `max_context` bars."""

    def __init__(self, model: Kronos, max_context: int) -> None:
        self.model, self.max_context = model, max_context

    def start(self, prompt_BT2: Tensor, stamp_BT5: Tensor, num_samples: int, num_ahead: int) -> Tensor:
        """Read the prompts, then stand at the last bar of every sample: its context (N, 1, D)."""
        kept = slice(-self.max_context, None)
        tokens, stamps = prompt_BT2[:, kept], stamp_BT5[:, kept]
        prompts = [KeyValueCache() for _ in self.model.transformer]
        context = self.model.contexts(tokens[..., 0], tokens[..., 1], stamps, caches=prompts)
        self.blocks = self.model.transformer.fork(prompts, num_samples, num_ahead)
        dependency = self.model.dep_layer
        seen = dependency.remember(context[:, :-1])
        self.dependency = seen.fork(num_samples, num_ahead, dependency.cross_attn.rotary)
        return context[:, -1:].repeat_interleave(num_samples, dim=0)

    def read(self, token_N12: Tensor, stamp_N15: Tensor) -> Tensor:
        """Read the next bar and return its context (N, 1, D)."""
        for cache in (*self.blocks, self.dependency):
            if cache.length == self.max_context:
                cache.drop_first(1)
        return self.model.contexts(token_N12[..., 0], token_N12[..., 1], stamp_N15, caches=self.blocks)

    def s2_logits(self, context_N1D: Tensor, s1_N1: Tensor) -> Tensor:
        sibling = self.model.embedding.emb_s1(s1_N1)
        return self.model.head.proj_s2(self.model.dep_layer.next_bar(context_N1D, sibling, self.dependency))


class _SlidingReader:
    """Reads the last `max_context` bars anew at every step."""

    def __init__(self, model: Kronos, max_context: int) -> None:
        self.model, self.max_context = model, max_context

    def start(self, prompt_BT2: Tensor, stamp_BT5: Tensor, num_samples: int, num_ahead: int) -> Tensor:
        kept = slice(-self.max_context, None)
        self.tokens = prompt_BT2[:, kept].repeat_interleave(num_samples, dim=0)
        self.stamps = stamp_BT5[:, kept].repeat_interleave(num_samples, dim=0)
        return self._contexts()

    def read(self, token_N12: Tensor, stamp_N15: Tensor) -> Tensor:
        kept = slice(-self.max_context, None)
        self.tokens = torch.cat([self.tokens, token_N12], dim=1)[:, kept]
        self.stamps = torch.cat([self.stamps, stamp_N15], dim=1)[:, kept]
        return self._contexts()

    def _contexts(self) -> Tensor:
        return self.model.contexts(self.tokens[..., 0], self.tokens[..., 1], self.stamps)

    def s2_logits(self, context_NTD: Tensor, s1_N1: Tensor) -> Tensor:
        return self.model.decode_s2(context_NTD, s1_N1)


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
    coupled = CoupledDraws(
        num_ahead, sampling.sample_count, close_order(tokenizer), generator, device, num_series
    )
    return lambda logits, bar, part: coupled.draw(
        token_probabilities(logits, *filters, model.official_parity), bar, part
    )


def _draw(
    model: Kronos, reader: _CachedReader | _SlidingReader, context: Tensor, draw: Draw, bar: int
) -> Tensor:
    """The next pair of tokens (N, 1, 2)."""
    s1 = draw(model.head.proj_s1(context[:, -1]).float(), bar, 0)
    s2 = draw(reader.s2_logits(context, s1)[:, -1].float(), bar, 1)
    return torch.stack([s1, s2], dim=-1)


def _decode(
    tokenizer: KronosTokenizer, prompt_BT2: Tensor, ahead_NP2: Tensor, num_samples: int, max_context: int
) -> Tensor:
    """Bars (N, W, d_in) of the last window; what the samples of a series share is decoded once."""
    num_shared = min(prompt_BT2.shape[1], max_context - ahead_NP2.shape[1])
    caches = [KeyValueCache() for _ in tokenizer.decoder]
    parts = []
    if num_shared:
        shared = tokenizer.decode(list(prompt_BT2[:, -num_shared:].unbind(-1)), half=True, caches=caches)
        parts.append(shared.repeat_interleave(num_samples, dim=0))
        caches = [cache.repeat(num_samples) for cache in caches]
    parts.append(tokenizer.decode(list(ahead_NP2.unbind(-1)), half=True, caches=caches))
    return torch.cat(parts, dim=1)


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
