"""Settings of the news features: how texts become numbers, and until when they count for a bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from factor_data.news.join import NewsClock

HANDED_IN = ("transformer", "encoder")
"""Kinds of text vectors whose encoder is handed in."""


@dataclass(frozen=True, kw_only=True)
class NewsConfig(NewsClock):
    """How news becomes features, and until when it counts for a bar."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    min_count: int = 20
    """Training documents a word must occur in to get a tone."""
    shrinkage: float = 20.0
    """Number of neutral documents each word is averaged with."""
    half_life: float = 5.0
    """Calendar positions after which a document counts half."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_count < 1:
            raise ValueError(f"min_count must be at least 1, got {self.min_count}")
        if not self.shrinkage >= 0:
            raise ValueError(f"shrinkage must not be negative, got {self.shrinkage}")
        if not self.half_life > 0:
            raise ValueError(f"half_life must be positive, got {self.half_life}")


@dataclass(frozen=True, kw_only=True)
class NewsVectorConfig(NewsClock):
    """How the texts of a bar become numbers, and until when a text counts for a bar."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    kind: Literal["hashing", "tfidf_svd", "transformer", "encoder"] = "tfidf_svd"
    """Hashing: fitted on nothing; tfidf_svd: fitted on training documents; transformer: the pretrained one of `folder`;
    encoder: any other. The last two are handed in."""
    folder: str | None = None
    """Transformer: folder@hash of a Hugging Face encoder and its tokenizer, as `save_pretrained` writes them."""
    pooling: Literal["cls", "mean"] = "cls"
    """Transformer: a text's vector is that of its first token, or the mean over its tokens."""
    max_tokens: int = 512
    """Transformer: what is longer is cut."""
    dimensions: int = 32
    """Length of a vector (an encoder that is handed in has its own)."""
    memory: int = 1
    """Calendar dates a document stays known, its own included."""
    documents_per_bar: int = 8
    """Latest documents of a bar that models which read texts are given one by one; 0: none, the mean alone."""
    min_count: int = 5
    """Tfidf_svd: training documents a word must occur in."""
    max_words: int = 20_000
    """Tfidf_svd: the most frequent words that are kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("hashing", "tfidf_svd", *HANDED_IN):
            raise ValueError(f"kind must be hashing, tfidf_svd, transformer or encoder, got {self.kind!r}")
        if (self.kind == "transformer") != (self.folder is not None):
            raise ValueError(f"kind {self.kind} and folder {self.folder!r}: transformer has a folder, no other kind")
        for name in ("dimensions", "memory", "min_count", "max_words", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.documents_per_bar < 0:
            raise ValueError(f"documents_per_bar must not be negative, got {self.documents_per_bar}")
