"""Section `tokenize`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from factor_data import (
    RANK_KINDS,
    ColumnFeatures,
    Label,
    NewsConfig,
    NewsVectorConfig,
    NormaliserKind,
    OwnFeatures,
    check_label_names,
    in_head_order,
    longest_reach,
    same_for_all_symbols,
)
from stages.params.checking import validate

NOT_LABELS = ("attained", "break_even", "net_sharpe", "promoted")
"""Names of the numbers that stand beside the labels in results/summary.json."""

MOST_DIMENSIONS = 4096
"""Numbers of a text vector: each is an input of every bar."""


@dataclass(frozen=True, kw_only=True)
class TokenizeParams:
    """Section `tokenize`: inputs and labels of the models."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    features: tuple[str, ...]
    """Features and sets of features (docs/features.md); an empty list means the set "bars", or, where the next three
    keys name any, those alone."""
    labels: dict[str, Label]
    """What is forecast, by name (docs/labels.md): one head each, shown in this order, the first one held against the
    gates."""
    normaliser: NormaliserKind
    """How features are brought to one scale, fitted on the training dates of each fold."""
    clip: float
    """Normalised values are clipped to [-clip, clip] (robust_zscore)."""
    num_tokens: int
    """Quantile tokens per feature, besides 0 = missing."""
    strict: bool = False
    """Refuse an input that is unknown on all training rows of a fold; false: it is left out of that fold, and named."""
    use_news: bool
    """False: no news are read, even if the data have some."""
    news: NewsConfig
    """How texts become numbers, and until when they count for a bar."""
    news_vectors: NewsVectorConfig | None
    """Mean text vectors as further inputs, fitted per fold on training documents, and the documents one by one
    for models that read texts; null: none."""

    columns: tuple[Any, ...] = ()
    """Ready-made factors: columns of the bars by name or pattern, or {names, missing, max_age, values}."""
    expressions: dict[str, str] = field(default_factory=dict)
    """Feature name -> expression of columns, such as Mean($close, 20) / $close - 1."""
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Python file in features/ -> its functions that are features."""

    def __post_init__(self) -> None:
        self._check_features()
        if taken := [name for name in self.labels if name in NOT_LABELS]:
            raise ValueError(f"labels: {taken[0]} is the name of a number of the summary")
        try:
            check_label_names(self.labels)
        except ValueError as error:
            raise ValueError(f"labels: {error}") from None
        if not 2 <= self.num_tokens <= 255:
            raise ValueError(f"num_tokens: {self.num_tokens} must be in 2..255")
        if not self.clip > 0:
            raise ValueError(f"clip: {self.clip} must be > 0")
        if self.news_vectors is not None and self.news_vectors.kind == "encoder":
            raise ValueError("news_vectors.kind: encoder is handed in from Python; use transformer with its folder")
        if self.news_vectors is not None and self.news_vectors.dimensions > MOST_DIMENSIONS:
            raise ValueError(f"news_vectors.dimensions: {self.news_vectors.dimensions} must be <= {MOST_DIMENSIONS}")

    @property
    def reads_with_transformer(self) -> bool:
        """Whether a pretrained encoder makes vectors of the texts."""
        return self.use_news and self.news_vectors is not None and self.news_vectors.kind == "transformer"

    @property
    def heads(self) -> dict[str, Label]:
        """The labels in the order of columns and heads, which is not that of the list."""
        return in_head_order(self.labels)

    @property
    def reach(self) -> int:
        """Dates after t that the farthest label of t is made of."""
        return longest_reach(self.labels)

    @property
    def ahead_columns(self) -> tuple[str, ...]:
        """Columns of the bars that labels are made of: no feature may read them."""
        labels = self.labels.values()
        return tuple(dict.fromkeys(name for one in labels for name in one.columns if name != one.neutral))

    @property
    def own(self) -> OwnFeatures:
        """The features that the user brings."""
        columns = [
            one if isinstance(one, str) else validate(ColumnFeatures, one, where=f"columns.{number}.")
            for number, one in enumerate(self.columns)
        ]
        return OwnFeatures(columns=tuple(columns), expressions=self.expressions, functions=self.functions)

    def _check_features(self) -> None:
        own = self.own
        names = () if own and not self.features else self.features or None
        try:
            same = same_for_all_symbols(names, own.named)
        except ValueError as error:
            raise ValueError(f"features: {error}") from None
        if same and self.normaliser in RANK_KINDS:
            raise ValueError(
                f"normaliser: {self.normaliser} within a date would make {', '.join(same[:3])} 0, since they are the "
                "same for all symbols of a date; use robust_zscore, zscore or quantile_gauss with such features"
            )
