"""Section `tokenize_kline`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from factor_models import EngineConfig
from factor_models.kline import KlineTokenizerConfig
from stages.params.rules import MOST_THREADS, check_at_least, check_at_most

MOST_BITS = 16
"""Tokens are written as 16-bit numbers."""


@dataclass(frozen=True, kw_only=True)
class TokenizeKlineParams(EngineConfig):
    """Section `tokenize_kline`: windows of bars and the tokenizer that is fitted on them; the engine's fields too."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    lookback: int
    """Bars a window starts from; it goes on to the exit of the farthest label."""
    clip: float
    """Normalised bars are clipped to [-clip, clip]."""
    every: int
    """Every n-th training date is the last one of a lookback."""
    pretrained: str | None
    """folder@hash of a config.json and model.safetensors to start from (see stages.kline.read_pretrained); null:
    random weights of the sizes of `model`."""
    model: KlineTokenizerConfig
    """Sizes of the tokenizer."""
    seed: int
    """Seed of the first weights and of the order of dates."""
    batch_dates: int
    """Dates in one optimiser step."""
    epochs: int
    """Largest number of passes over the training dates; 0: the pretrained weights as they are."""
    patience: int
    """Epochs without a smaller valid reconstruction error before training stops."""
    threads: int
    """CPU threads of the process: part of the experiment, because it decides rounding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, lookback=2, every=1, seed=0, batch_dates=1, epochs=0, patience=1, threads=1)
        check_at_most(self, threads=MOST_THREADS)
        if not self.epochs and self.pretrained is None:
            raise ValueError("epochs: 0 takes the weights as they are, so it needs pretrained: folder@hash")
        if not self.clip > 0:
            raise ValueError(f"clip: {self.clip} must be > 0")
        for name in ("s1_bits", "s2_bits"):
            if getattr(self.model, name) > MOST_BITS:
                raise ValueError(f"model.{name}: {getattr(self.model, name)} must be <= {MOST_BITS}")
