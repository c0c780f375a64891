"""A K-line model in parts that graphs can be made of: the bars so far, one bar ahead of every path, and what is said.

What is random is an input: the uniform numbers, from a seed that the date decides (`factor_models.kline.draws`). Who
has the same numbers gets the same paths; rounding alone may draw another token, where a number all but meets the edge
between two.

Shapes: B series, S samples, N = B * S, T lookback, P bars ahead, D width, V tokens, C columns, L labels; keys and
values of a layer are (N, heads, bars so far, D / heads).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.kline import PathForecaster
from factor_models.kline.blocks import Angles, KeyValueCache, RotaryEmbedding, TransformerBlock, rotate
from factor_models.kline.coupling import CLOSE, close_order
from factor_models.kline.factors import MIN_PRICE_SHARE
from factor_models.kline.paths import COLUMN_OF_PRICE, PathLabel
from factor_models.kline.windows import SCALE_EPSILON
from factor_serve.export.graphs import NotExportable


class Prompt(nn.Module):
    """The bars so far: read once, and what each path goes on from."""

    def __init__(self, pair: PathForecaster) -> None:
        super().__init__()
        if pair.lookback + pair.num_ahead > pair.max_context:
            raise NotExportable(
                f"its windows slide: {pair.lookback} bars and {pair.num_ahead} ahead exceed max_context = "
                f"{pair.max_context}"
            )
        self.model, self.tokenizer = pair.model, pair.tokenizer
        self.clip, self.samples = pair.clip, pair.samples
        for part, size in enumerate((self.tokenizer.s1_bits, self.tokenizer.s2_bits)):
            self.register_buffer(f"digits_{part}", 2 ** torch.arange(size))

    def forward(self, bars_BTC: Tensor, stamps_BT5: Tensor, ahead_P5: Tensor) -> tuple[Tensor, ...]:
        """Return center and scale (B, 1, C), tokens (B, T, 2), embeddings of the stamps ahead (P, D), the last context.

        The context is (N, 1, D), as are keys and values of the blocks and of the dependency layer, which come last.
        """
        x_BTC, center_B1C, scale_B1C = normalised(bars_BTC, self.clip)
        token_BT2 = self._tokens(x_BTC)
        caches = [KeyValueCache() for _ in self.model.transformer.blocks]
        context_BTD = self.model.contexts(token_BT2[..., 0], token_BT2[..., 1], stamps_BT5, caches=caches)
        caches.append(self.model.dep_layer.remember(context_BTD))
        stored = [repeated(each, self.samples) for cache in caches for each in cache.stored]
        context_N1D = repeated(context_BTD[:, -1:], self.samples)
        return center_B1C, scale_B1C, token_BT2, self.model.time_emb(ahead_P5), context_N1D, *stored

    def _tokens(self, x_BTC: Tensor) -> Tensor:
        positive = (self.tokenizer.latent(x_BTC) > 0).long()
        halves = positive.split([self.tokenizer.s1_bits, self.tokenizer.s2_bits], dim=-1)
        return torch.stack([(bits * self.get_buffer(f"digits_{part}")).sum(-1) for part, bits in enumerate(halves)], -1)


class NextBar(nn.Module):
    """One bar of every path: its tokens are drawn, and read."""

    def __init__(self, pair: PathForecaster) -> None:
        super().__init__()
        self.model, self.samples = pair.model, pair.samples
        self.temperature, self.top_p = pair.temperature, pair.top_p
        self.rotated = self.model.dep_layer.rotated(1)
        for part, order in enumerate(close_order(pair.tokenizer)):
            self.register_buffer(f"order_{part}", order)
        layers = {"asked": self.model.dep_layer.cross_attn, "block": self.model.transformer.blocks[0].self_attn}
        for name, layer in layers.items():
            angles = angles_of(layer.rotary, pair.num_ahead + 1, pair.lookback - 1)
            for kind, angle in zip(("cosine", "sine"), angles, strict=True):
                self.register_buffer(f"{name}_{kind}", angle)

    def forward(
        self, bar: Tensor, uniform_P2S: Tensor, times_PD: Tensor, context_N1D: Tensor, *stored: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the tokens (N, 1, 2) of the bar ahead with the number `bar`, the next context, keys and values."""
        model, caches = self.model, caches_of(stored)
        asked, uniform_2S = caches[-1], uniform_P2S[bar]
        s1_N1 = self._token(model.head.proj_s1(context_N1D)[:, 0], uniform_2S[0], 0)
        s2_logits = model.head.proj_s2(model.dep_layer.norm(context_N1D + self._answer(asked, s1_N1, bar)))
        token_N12 = torch.stack([s1_N1, self._token(s2_logits[:, 0], uniform_2S[1], 1)], dim=-1)
        x_N1D = model.embedding(token_N12[..., 0], token_N12[..., 1]) + times_PD[bar]
        angles = self._angles("block", bar + 1)
        for block, cache in zip(model.transformer.blocks, caches, strict=False):
            x_N1D = after_block(block, x_N1D, angles, cache)
        context_N1D = model.norm(x_N1D)
        attention = model.dep_layer.cross_attn
        key, value = (attention.split(project(context_N1D)) for project in (attention.k_proj, attention.v_proj))
        asked.append(self._turned(key, bar + 1), value)
        return token_N12, context_N1D, *(each for cache in caches for each in cache.stored)

    def _angles(self, layer: str, place: Tensor) -> Angles:
        """Those of a place, counted from the last of the bars so far."""
        cosine, sine = (self.get_buffer(f"{layer}_{part}")[place].unsqueeze(0) for part in ("cosine", "sine"))
        return cosine, sine

    def _answer(self, asked: KeyValueCache, s1_N1: Tensor, bar: Tensor) -> Tensor:
        attention = self.model.dep_layer.cross_attn
        query = attention.split(attention.q_proj(self.model.embedding.emb_s1(s1_N1)))
        return attention.mix(self._turned(query, bar), *asked.stored, None, False)

    def _turned(self, x_NHTE: Tensor, place: Tensor) -> Tensor:
        return rotate(x_NHTE, self._angles("asked", place)) if self.rotated else x_NHTE

    def _token(self, logits_NV: Tensor, uniform_S: Tensor, part: int) -> Tensor:
        """The token (N, 1) at a share of each row's distribution function, as `CoupledDraws.draw`.

        Sums go on in double, as torch's do.
        """
        order = self.get_buffer(f"order_{part}")
        logits_NV = logits_NV / self.temperature
        probability_NV = (nucleus(logits_NV, self.top_p) if self.top_p < 1.0 else logits_NV).softmax(-1)
        cumulative_NV = probability_NV.index_select(-1, order).double().cumsum(-1).float()
        cumulative_BSV = cumulative_NV.unflatten(0, (-1, self.samples))
        total_BS1 = cumulative_BSV[..., -1:]
        place = (cumulative_BSV <= uniform_S.unsqueeze(-1) * total_BS1).long().sum(-1)
        last = (cumulative_BSV < total_BS1).long().sum(-1)
        return order[torch.minimum(place, last)].flatten(0, 1).unsqueeze(-1)


class Said(nn.Module):
    """What the paths say of each label."""

    def __init__(self, pair: PathForecaster, labels: Sequence[PathLabel]) -> None:
        super().__init__()
        self.tokenizer, self.samples, self.labels = pair.tokenizer, pair.samples, tuple(labels)
        for part, size in enumerate((self.tokenizer.s1_bits, self.tokenizer.s2_bits)):
            sign = (torch.arange(2**size)[:, None] >> torch.arange(size)) & 1
            self.register_buffer(f"code_{part}", (2.0 * sign - 1.0) * self.tokenizer.codebook_dim**-0.5)

    def forward(
        self, bars_BTC: Tensor, center_B1C: Tensor, scale_B1C: Tensor, token_BT2: Tensor, drawn_PN12: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return forecasts (B, L), and the tokens of the paths (B, S, P, 2)."""
        drawn_NP2 = drawn_PN12.squeeze(2).transpose(0, 1)
        shared = self.tokenizer.decoder.remember(self._read(token_BT2))
        caches = caches_of([repeated(each, self.samples) for cache in shared for each in cache.stored])
        made_NPC = self.tokenizer.head(self.tokenizer.decoder.run(self._read(drawn_NP2), caches=caches))
        made_BSPC = made_NPC.unflatten(0, (-1, self.samples)) * scale_B1C.unsqueeze(1) + center_B1C.unsqueeze(1)
        last_B = bars_BTC[:, -1, CLOSE]
        said = [forecast_of(label, made_BSPC[..., COLUMN_OF_PRICE[label.price]], last_B) for label in self.labels]
        return torch.stack(said, dim=1), drawn_NP2.unflatten(0, (-1, self.samples))

    def _read(self, token_2: Tensor) -> Tensor:
        """Inputs of the decoder, (..., D), of tokens (..., 2)."""
        halves = [self.get_buffer(f"code_{part}")[token_2[..., part]] for part in (0, 1)]
        return self.tokenizer.post_quant_embed(torch.cat(halves, dim=-1))


def angles_of(rotary: RotaryEmbedding, num_positions: int, start: int) -> Angles:
    """Return the angles of some positions, on the CPU."""
    cosine, sine = rotary.angles(num_positions, start)
    return cosine.cpu(), sine.cpu()


def repeated(x: Tensor, samples: int) -> Tensor:
    """Return what belongs to a series (B, ...) for each of its samples (N, ...)."""
    return x.unsqueeze(1).expand(-1, samples, *[-1] * (x.ndim - 1)).flatten(0, 1)


def caches_of(stored: Sequence[Tensor]) -> list[KeyValueCache]:
    """Return caches of keys and values, which come in turn."""
    found = []
    for key, value in zip(stored[::2], stored[1::2], strict=True):
        found.append(KeyValueCache())
        found[-1].append(key, value)
    return found


def after_block(block: TransformerBlock, x_N1D: Tensor, angles: Angles, cache: KeyValueCache) -> Tensor:
    """Return one bar of each row after a block, which looks at all bars so far."""
    attention, normed = block.self_attn, block.norm1(x_N1D)
    query = rotate(attention.split(attention.q_proj(normed)), angles)
    key, value = cache.append(*attention.keys_values(normed, angles))
    x_N1D = x_N1D + attention.mix(query, key, value, None, False)
    return x_N1D + block.ffn(block.norm2(x_N1D))


def nucleus(logits_NV: Tensor, top_p: float) -> Tensor:
    """Return the logits with the tokens that are not drawn at -inf, as `filter_logits`.

    Of equal ones the first comes first, which is how `TopK` of ONNX orders them.
    """
    ordered, order = logits_NV.topk(logits_NV.shape[-1], dim=-1)
    share = ordered.softmax(-1).double().cumsum(-1).float()
    before = functional.pad(share[:, :-1], (1, 0))
    removed = before.scatter(-1, order, (before > top_p).to(before.dtype))
    return logits_NV.masked_fill(removed > 0.5, -torch.inf)


def normalised(bars_BTC: Tensor, clip: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return bars in units of themselves, centre and scale (B, 1, C), as `normalise` does for a lookback."""
    newest = bars_BTC[:, -1:]
    center = newest + _mean(bars_BTC - newest)
    unit = _mean(bars_BTC.abs())
    size = torch.where(unit > 0.0, unit, torch.ones_like(unit))
    spread = _mean(((bars_BTC - center) / size).square()).sqrt()
    scale = (spread + float(np.float32(SCALE_EPSILON))) * unit
    x = (bars_BTC - center) / torch.where(scale > 0.0, scale, torch.ones_like(scale))
    x = torch.where((scale > 0.0) | (x == 0.0), x, x.sign() * clip)
    return x.clamp(-clip, clip), center, scale


def _mean(x_BTC: Tensor) -> Tensor:
    """Mean over bars (B, 1, C), summed bar by bar as numpy does."""
    return x_BTC.cumsum(1)[:, -1:] / float(x_BTC.shape[1])


def forecast_of(label: PathLabel, prices_BSP: Tensor, last_B: Tensor) -> Tensor:
    """Return the mean return of the paths of a label, or their volatility (B,), as `path_factors`."""
    exit_bar = label.delay + (label.horizon or 0)
    floor_B1 = (MIN_PRICE_SHARE * last_B).unsqueeze(1)
    if label.measure == "volatility":
        upto = torch.maximum(prices_BSP[:, :, :exit_bar], floor_B1.unsqueeze(2)).log()
        step_BN = (upto[:, :, 1:] - upto[:, :, :-1]).flatten(1)
        return (step_BN - step_BN.mean(dim=1, keepdim=True)).square().mean(dim=1).sqrt()
    leave = torch.maximum(prices_BSP[:, :, exit_bar - 1], floor_B1)
    enter = torch.maximum(prices_BSP[:, :, label.delay - 1], floor_B1) if label.delay else last_B.unsqueeze(1)
    return (leave.double() / enter.double() - 1.0).mean(dim=1).float()
