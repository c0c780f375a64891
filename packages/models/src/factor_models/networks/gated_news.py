"""News beside any price model: market and news are weighed by a gate, and what comes out goes into the price model.

A bar's documents are attended to one vector and brought to the width of the features. Then, with the two gates of a bar
summing to 1,

    fused = market + gate_market * market + gate_news * news,

so the price model always sees the market, and where a bar has no document it sees the market alone.

Shapes: B windows, L bars, F features, K documents, D numbers of a document, E width of its embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share, check_windows
from factor_models.networks.documents import DocumentAttention, read_documents
from factor_models.networks.pretrained import ZooNetwork
from factor_models.training.inputs import TensorBatch
from factor_models.training.objective import Criterion, OwnTraining
from factor_models.zoo import build_model, input_kind, model_sizes


@dataclass(frozen=True, kw_only=True)
class GatedNewsConfig:
    """Price model and width of the news."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 10
    """Bars a window holds, also those of the price model."""
    base: str = "lstm"
    """The price model: any model of the zoo that reads windows of features."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the price model, without its lookback."""
    text_width: int = 32
    """Width of a document's embedding."""
    dropout: float = 0.0
    """Share of units of the embeddings dropped while training."""

    def __post_init__(self) -> None:
        check_at_least(self, {"lookback": 1, "text_width": 1})
        check_share(self, "dropout")
        if "lookback" in self.settings:
            raise ValueError("settings has a lookback: the price model takes that beside it")


class NewsGate(nn.Module):
    """market + gate_market * market + gate_news * news; the gates of a bar are a softmax over both."""

    def __init__(self, num_features: int, text_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.text_dim = text_dim
        self.attention = DocumentAttention(text_dim, width, dropout)
        self.project = nn.Linear(width, num_features)
        self.gate = nn.Linear(2 * num_features, 2)

    def forward(self, x_BLF: Tensor, texts: Tensor | None) -> tuple[Tensor, Tensor]:
        """The fused inputs (B, L, F) and the gates (B, L, 2): of the market, of the news."""
        documents_BLKD, present_BLK = read_documents(texts, x_BLF, self.text_dim)
        news_BLF = self.project(self.attention(documents_BLKD, present_BLK)[0])
        has_news_BL1 = present_BLK.any(dim=2, keepdim=True)
        gate_BL2 = self.gate(torch.cat([x_BLF, news_BLF], dim=-1)).softmax(dim=-1)
        fused_BLF = x_BLF * (1.0 + gate_BL2[..., :1]) + gate_BL2[..., 1:] * news_BLF
        return torch.where(has_news_BL1, fused_BLF, 2.0 * x_BLF), gate_BL2


class GatedNewsForecaster(ZooNetwork):
    """A price model behind a gate for news; with text_dim 0 the price model alone."""

    input_kind = "features"

    def __init__(self, config: GatedNewsConfig, base: nn.Module, num_features: int, text_dim: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.news = NewsGate(num_features, text_dim, config.text_width, config.dropout) if text_dim else None
        self.base = base
        self.extra_inputs: tuple[str, ...] = ("texts", *getattr(base, "extra_inputs", ()))

    def fused(self, x_BLF: Tensor, texts: Tensor | None = None) -> Tensor:
        """Return the inputs of the price model, (B, L, F)."""
        check_windows(x_BLF, self.lookback, self.num_features)
        return x_BLF if self.news is None else self.news(x_BLF, texts)[0]

    def forward(self, x_BLF: Tensor, texts: Tensor | None = None, **extras: Tensor | None) -> Tensor:
        """Predictions (B, H) of the price model; `extras` are what else it reads."""
        return self.base(self.fused(x_BLF, texts), **extras)

    def training_terms(self, batch: TensorBatch, criterion: Criterion) -> dict[str, Tensor]:
        """Return the loss of the price model on the fused inputs."""
        fused = replace(batch, windows=self.fused(batch.windows, batch.texts))
        if hasattr(self.base, "training_terms"):
            return cast(OwnTraining, self.base).training_terms(fused, criterion)
        return criterion(self.base(fused.windows, **fused.extras(self.base)))


def build_gated_news(config: GatedNewsConfig, num_features: int, text_dim: int, **sizes: int) -> GatedNewsForecaster:
    """The price model that the configuration names, behind a gate for news."""
    if input_kind(config.base) != "features" or "text_dim" in model_sizes(config.base):
        raise ValueError(f"base = {config.base!r}: must read windows of features and no texts")
    own = {name: sizes[name] for name in ("num_horizons", *model_sizes(config.base))}
    model = build_model(config.base, lookback=config.lookback, num_features=num_features, **own, **config.settings)
    assert isinstance(model, nn.Module)
    return GatedNewsForecaster(config, model, num_features, text_dim)
