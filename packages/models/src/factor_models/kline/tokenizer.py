"""The K-line tokenizer: bars to binary codes and back, by binary spherical quantisation.

A causal transformer encodes bars (B, T, d_in) into D = s1_bits + s2_bits numbers each, of which only the signs are
kept: a coarse token s1 from the first bits and a fine token s2 from the rest. A second transformer decodes either s1
alone or both. Published as Kronos (Shi et al., 2025); quantisation and loss after Zhao, Xiong and Krähenbühl (2024),
"Image and Video Tokenization with Binary Spherical Quantization".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.kline.blocks import KeyValueCache, Transformer
from factor_models.kline.dates import date_means, mean_over_dates
from factor_models.kline.pretrained import Pretrained
from factor_models.training.inputs import TensorBatch
from factor_models.training.objective import Criterion

_TINY = 1e-8
BARS_AT_ONCE = 2048  # that a CPU encodes


@dataclass(frozen=True, kw_only=True)
class QuantiserLoss:
    """The terms of the quantiser's loss, scalars; `loss = commit + zeta (gamma0 persample - gamma codebook)`."""

    loss: Tensor
    commit: Tensor
    """beta times the squared distance of the unit vectors to their codes, summed over dimensions."""
    persample_entropy: Tensor
    """Mean entropy of a bar's bits, nats: low when codes are decided."""
    codebook_entropy: Tensor
    """Entropy of the mean bit probabilities, nats: high when all codes are used."""


class BinarySphericalQuantizer(nn.Module):
    """Signs of a unit vector, with the gradient passed straight through.

    The buffers play no part in the numbers; published checkpoints hold them.
    """

    def __init__(self, dim: int, beta: float, gamma0: float, gamma: float, zeta: float, group_size: int) -> None:
        super().__init__()
        if group_size < 1 or dim % group_size:
            raise ValueError(f"group_size = {group_size} must divide s1_bits + s2_bits = {dim}")
        self.beta, self.gamma0, self.gamma, self.zeta = beta, gamma0, gamma, zeta
        self.register_buffer("basis", 2 ** torch.arange(dim - 1, -1, -1))
        self.register_buffer("group_basis", 2 ** torch.arange(group_size - 1, -1, -1))

    def forward(self, z_BTD: Tensor, batch: TensorBatch | None = None) -> tuple[Tensor, QuantiserLoss]:
        """Codes (B, T, D) with straight-through gradient, and the loss: of all windows, or a mean over dates."""
        unit = functional.normalize(z_BTD, dim=-1)
        scale = unit.shape[-1] ** -0.5
        sign = torch.where(unit > 0, 1.0, -1.0).to(unit.dtype)
        code = (unit + (sign - unit).detach()) * scale
        return code, self._loss(unit, (sign * scale).detach(), scale, batch)

    def _loss(self, unit: Tensor, code: Tensor, scale: float, batch: TensorBatch | None) -> QuantiserLoss:
        probability = torch.sigmoid(-4.0 * scale * unit)
        distance_BT, entropy_BT = (code - unit).square().sum(-1), _bit_entropy(probability).sum(-1)
        if batch is None:
            commit, persample = self.beta * distance_BT.mean(), entropy_BT.mean()
            codebook = _bit_entropy(probability.mean(dim=(0, 1))).sum()
        else:
            commit = self.beta * mean_over_dates(distance_BT.float().mean(1), batch)
            persample = mean_over_dates(entropy_BT.float().mean(1), batch)
            codebook = _bit_entropy(date_means(probability.float().mean(1), batch)).sum(-1).mean()
        loss = commit + self.zeta * (self.gamma0 * persample - self.gamma * codebook)
        return QuantiserLoss(loss=loss, commit=commit, persample_entropy=persample, codebook_entropy=codebook)


def _bit_entropy(probability: Tensor) -> Tensor:
    other = 1.0 - probability
    return -(probability * torch.log(probability + _TINY) + other * torch.log(other + _TINY))


class _Quantiser(nn.Module):
    """Only a level of names: checkpoints call the quantiser `tokenizer.bsq`."""

    def __init__(self, bsq: BinarySphericalQuantizer) -> None:
        super().__init__()
        self.bsq = bsq


class KronosTokenizer(Pretrained):
    """Tokenizer of K-line bars; arguments are those of a published config.json.

    Of the n_enc_layers and n_dec_layers one each is the projection: there are n - 1 transformer blocks.
    """

    def __init__(  # noqa: PLR0913 -- the published signature
        self,
        d_in: int,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        n_enc_layers: int,
        n_dec_layers: int,
        ffn_dropout_p: float,
        attn_dropout_p: float,
        resid_dropout_p: float,
        s1_bits: int,
        s2_bits: int,
        beta: float,
        gamma0: float,
        gamma: float,
        zeta: float,
        group_size: int,
    ) -> None:
        given = locals()
        super().__init__()
        self.config = {name: given[name] for name in self.stored_arguments()}
        for name in ("d_in", "n_enc_layers", "n_dec_layers", "s1_bits", "s2_bits"):
            if self.config[name] < 1:
                raise ValueError(f"{name} = {self.config[name]} must be at least 1")
        self.s1_bits, self.s2_bits = s1_bits, s2_bits
        self.codebook_dim = s1_bits + s2_bits
        dropouts = (ffn_dropout_p, attn_dropout_p, resid_dropout_p)
        self.embed = nn.Linear(d_in, d_model)
        self.head = nn.Linear(d_model, d_in)
        self.encoder = Transformer(n_enc_layers - 1, d_model, n_heads, ff_dim, *dropouts)
        self.decoder = Transformer(n_dec_layers - 1, d_model, n_heads, ff_dim, *dropouts)
        self.quant_embed = nn.Linear(d_model, self.codebook_dim)
        self.post_quant_embed_pre = nn.Linear(s1_bits, d_model)
        self.post_quant_embed = nn.Linear(self.codebook_dim, d_model)
        self.tokenizer = _Quantiser(BinarySphericalQuantizer(self.codebook_dim, beta, gamma0, gamma, zeta, group_size))

    @property
    def bsq(self) -> BinarySphericalQuantizer:
        """Return the quantiser, under the name that the published code gives it."""
        return self.tokenizer.bsq

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
        """Return ((reconstruction from s1, from s1 and s2), quantiser loss, codes, full token index).

        `x` (B, T, d_in) normalised bars; reconstructions have its shape, codes are (B, T, D), indices (B, T) int64.
        """
        self._check(x)
        code, loss = self.bsq(self.latent(x))
        coarse = self._decode(self.post_quant_embed_pre(code[..., : self.s1_bits]))
        fine = self._decode(self.post_quant_embed(code))
        return (coarse, fine), loss.loss, code, _indices(code > 0)

    def training_terms(self, batch: TensorBatch, criterion: Criterion) -> dict[str, Tensor]:
        """Return the terms to minimise: `training_loss` by its terms, each a mean over the dates of the batch.

        Windows (B, T, d_in) are both input and target. The codebook's entropy is that of a date's windows, so that it
        does not matter how dates are spread over micro batches and processes.
        """
        x = batch.windows
        code, quantiser = self.bsq(self.latent(x), batch)
        coarse = self._decode(self.post_quant_embed_pre(code[..., : self.s1_bits]))
        fine = self._decode(self.post_quant_embed(code))
        errors = {"reconstruction_s1": coarse, "reconstruction": fine}
        terms = {
            name: mean_over_dates((value - x).float().square().mean((1, 2)), batch) / 2.0
            for name, value in errors.items()
        }
        return terms | {"quantiser": quantiser.loss / 2.0}

    def training_loss(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(MSE of s1 alone + MSE of both + quantiser loss) / 2, and its terms by name."""
        code, quantiser = self.bsq(self.latent(x))
        coarse = functional.mse_loss(self._decode(self.post_quant_embed_pre(code[..., : self.s1_bits])), x)
        fine = functional.mse_loss(self._decode(self.post_quant_embed(code)), x)
        terms = {"reconstruction_s1": coarse, "reconstruction": fine, "quantiser": quantiser.loss}
        return (coarse + fine + quantiser.loss) / 2.0, terms

    def latent(self, x: Tensor) -> Tensor:
        """Return the numbers to be quantised, (B, T, D)."""
        return self.quant_embed(self.encoder.run(self.embed(x)))

    def encode(self, x: Tensor, half: bool = False) -> Tensor | list[Tensor]:
        """Token indices (B, T) int64: [s1, s2] with `half`, else s1 + s2 * 2^s1_bits. Bit j counts 2^j."""
        pairs = self.token_pairs(x)
        return list(pairs.unbind(-1)) if half else pairs[..., 0] + pairs[..., 1] * 2**self.s1_bits

    def token_pairs(self, x: Tensor) -> Tensor:
        """Tokens s1 and s2 side by side, (B, T, 2) int64."""
        self._check(x)
        # bf16 would change one token in sixty. A few series at a time: what is in work then stays in the cache.
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            pieces = x.split(max(1, BARS_AT_ONCE // x.shape[1])) if x.device.type == "cpu" else (x,)
            positive = torch.cat([self.latent(piece) > 0 for piece in pieces])
        halves = positive.split([self.s1_bits, self.s2_bits], dim=-1)
        return torch.stack([_indices(bits) for bits in halves], dim=-1)

    def decode(
        self,
        x: Tensor | Sequence[Tensor],
        half: bool = False,
        caches: list[KeyValueCache] | None = None,
    ) -> Tensor:
        """Normalised bars (B, T, d_in) of token indices, in either form of `encode`.

        `caches`, one a decoder block, hold the bars before them.
        """
        return self.decode_codes(self.indices_to_bits(x, half), caches)

    def remember(self, x: Sequence[Tensor]) -> list[KeyValueCache]:
        """Caches for `decode` that hold the bars of the tokens [s1, s2], (B, T) each."""
        return self.decoder.remember(self.post_quant_embed(self.indices_to_bits(x, half=True)))

    def decode_codes(self, code_BTD: Tensor, caches: list[KeyValueCache] | None = None) -> Tensor:
        """Normalised bars (B, T, d_in) of codes, of which each bit is +-1 / sqrt(D), or 0 where it is left open."""
        return self._decode(self.post_quant_embed(code_BTD), caches)

    def indices_to_bits(self, x: Tensor | Sequence[Tensor], half: bool = False) -> Tensor:
        """Codes +-1 / sqrt(D) (B, T, D) of token indices; s1_bits and s2_bits may differ."""
        if half:
            parts = [_bits(part, size) for part, size in zip(x, (self.s1_bits, self.s2_bits), strict=True)]
            bits = torch.cat(parts, dim=-1)
        else:
            assert isinstance(x, Tensor)
            bits = _bits(x, self.codebook_dim)
        return (bits.to(self.embed.weight.dtype) * 2.0 - 1.0) * self.codebook_dim**-0.5

    def _decode(self, z: Tensor, caches: list[KeyValueCache] | None = None) -> Tensor:
        return self.head(self.decoder.run(z, caches=caches))

    def _check(self, x: Tensor) -> None:
        if x.dim() != 3 or x.shape[-1] != self.config["d_in"]:
            raise ValueError(f"x must be (batch, bars, {self.config['d_in']}), got {tuple(x.shape)}")


def _indices(bits: Tensor) -> Tensor:
    return (bits * 2 ** torch.arange(bits.shape[-1], device=bits.device)).sum(-1)


def _bits(index: Tensor, num_bits: int) -> Tensor:
    if index.is_floating_point():
        raise ValueError(f"token indices must be integers, got {index.dtype}")
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= 2**num_bits):
        raise ValueError(
            f"token indices must lie in 0 .. {2**num_bits - 1}, got {int(index.min())} .. {int(index.max())}"
        )
    return (index.unsqueeze(-1) >> torch.arange(num_bits, device=index.device)) & 1
