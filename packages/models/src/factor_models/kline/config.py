"""Sizes of tokenizer and predictor, as they stand in params."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from factor_models.checks import check_at_least, check_at_most, check_one_of, check_share

FORBID: dict = {"extra": "forbid"}
NUM_COLUMNS = 6
Trainable = Literal["all", "lora", "last_layers"]
Learned = Literal["all", "ahead"]


@dataclass(frozen=True, kw_only=True)
class KlineTokenizerConfig:
    """The tokenizer's sizes; its dropouts are 0, as in the published ones."""

    __pydantic_config__: ClassVar[dict] = FORBID

    d_model: int = 32
    """Width."""
    n_heads: int = 2
    """Attention heads; d_model is an even multiple of them."""
    ff_dim: int = 64
    """Width inside the feed-forward part."""
    n_enc_layers: int = 2
    """Encoder: one projection and n - 1 blocks."""
    n_dec_layers: int = 2
    """Decoder: one projection and n - 1 blocks."""
    s1_bits: int = 5
    """Bits of the coarse token."""
    s2_bits: int = 5
    """Bits of the fine token."""
    beta: float = 0.05
    """Weight of the distance between unit vectors and their codes."""
    gamma0: float = 1.0
    """Weight of the entropy of a bar's bits, which is to be low."""
    gamma: float = 1.1
    """Weight of the codebook's entropy, which is to be high."""
    zeta: float = 0.05
    """Weight of both entropies."""
    group_size: int = 1
    """Divides the bits; plays no part in the numbers and is kept for the published files."""

    def __post_init__(self) -> None:
        names = ("d_model", "n_heads", "ff_dim", "n_enc_layers", "n_dec_layers", "s1_bits", "s2_bits")
        check_at_least(self, dict.fromkeys((*names, "group_size"), 1))
        _check_heads(self.d_model, self.n_heads)
        if (self.s1_bits + self.s2_bits) % self.group_size:
            raise ValueError(
                f"group_size = {self.group_size}: must divide s1_bits + s2_bits = {self.s1_bits + self.s2_bits}"
            )

    def arguments(self) -> dict[str, Any]:
        """The arguments of `KronosTokenizer`."""
        dropouts = dict.fromkeys(("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p"), 0.0)
        return {"d_in": NUM_COLUMNS, **asdict(self), **dropouts}


@dataclass(frozen=True, kw_only=True)
class KronosConfig:
    """The predictor: sizes, where it starts, what of it is trained, and how it predicts."""

    __pydantic_config__: ClassVar[dict] = FORBID

    d_model: int = 32
    """Width; a multiple of 8, since the dependency layer has 4 heads."""
    n_layers: int = 2
    """Transformer blocks."""
    n_heads: int = 2
    """Attention heads of the blocks; d_model is an even multiple of them."""
    ff_dim: int = 64
    """Width inside the feed-forward part."""
    dropout: float = 0.0
    """Share of units dropped after attention, inside the feed-forward part and of the embeddings."""
    max_context: int = 512
    """Bars that the model can look back on, those it has generated included."""
    pretrained: str | None = None
    """folder@hash of a config.json and model.safetensors to start from; its sizes replace those above."""
    trainable: Trainable = "all"
    """all, lora (low-rank additions to the attention projections) or last_layers (blocks at the end, and the heads)."""
    learn: Learned = "all"
    """Bars of a window whose tokens are learned: all, as published, or ahead, only those after the lookback. A lookback
    is normalised by its own mean, so inside it prices come back to 0, and paths of a model that learns this do too."""
    lora_rank: int = 8
    """Rank of the additions (lora)."""
    num_last_layers: int = 1
    """Blocks that are trained (last_layers)."""
    samples: int = 2
    """Futures of each window; their mean return is the prediction."""
    temperature: float = 1.0
    """Sampling temperature of the draws."""
    top_p: float = 1.0
    """Share of probability that is drawn from; below 1 the mean of the paths is no longer the model's expectation."""
    valid_every: int = 1
    """Every n-th valid date is predicted, since they only serve to compare; all test dates are."""

    def __post_init__(self) -> None:
        names = ("d_model", "n_layers", "n_heads", "ff_dim", "max_context", "lora_rank", "num_last_layers")
        minimums = dict.fromkeys((*names, "samples", "valid_every"), 1)
        check_at_least(self, minimums)
        check_at_most(self, {"samples": 10_000, "lora_rank": self.d_model})
        check_share(self, "dropout")
        check_one_of(self, "trainable", ("all", "lora", "last_layers"))
        check_one_of(self, "learn", ("all", "ahead"))
        _check_heads(self.d_model, self.n_heads)
        if self.d_model % 8:
            raise ValueError(f"d_model = {self.d_model}: must be a multiple of 8")
        if not self.temperature > 0:
            raise ValueError(f"temperature = {self.temperature}: must be > 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p}: must be in (0, 1]")

    def arguments(self, s1_bits: int, s2_bits: int) -> dict[str, Any]:
        """The arguments of `Kronos`, for a tokenizer of these bits."""
        names = ("ffn_dropout_p", "resid_dropout_p", "token_dropout_p")
        sizes = {name: getattr(self, name) for name in ("d_model", "n_layers", "n_heads", "ff_dim")}
        dropouts = {**dict.fromkeys(names, self.dropout), "attn_dropout_p": 0.0}
        return {"s1_bits": s1_bits, "s2_bits": s2_bits, "learn_te": True, **sizes, **dropouts}


def check_context(lookback: int, num_ahead: int, max_context: int) -> None:
    """Refuse windows that do not fit the context, in which paths are exact."""
    if lookback + num_ahead > max_context:
        raise ValueError(
            f"lookback {lookback} + bars ahead {num_ahead} (to the farthest exit) = {lookback + num_ahead} exceed "
            f"max_context = {max_context}"
        )


def _check_heads(d_model: int, n_heads: int) -> None:
    if d_model % n_heads or (d_model // n_heads) % 2:
        raise ValueError(f"d_model = {d_model}: must be an even multiple of n_heads = {n_heads}")
