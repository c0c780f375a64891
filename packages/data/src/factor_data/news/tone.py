"""The tone of news: a word's tone learnt from training dates, a symbol's tone as decayed sum over its news.

Screening and shrinking words by how the label ranks of their documents came out follows the first steps of
Ke, Kelly & Xiu (2019), "Predicting Returns with Text Data"; the score of a text is the mean tone of its
words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.atomic import canonical_json
from factor_data.features.matrix import FeatureMatrix
from factor_data.fit.cross_section import group_ranks
from factor_data.kernel_cache import kernel
from factor_data.news.config import NewsConfig
from factor_data.news.join import document_rows
from factor_data.panel.panel import Panel

NEWS_FEATURES = ("news_tone", "news_count")
DEFAULT_CONFIG = NewsConfig()
WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, kw_only=True)
class NewsScorer:
    """A fitted scorer; made by `fit_news_scorer`. `tones` is word -> tone in about [-1, 1], sorted by word."""

    config: NewsConfig
    tones: Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features that `transform` gives."""
        return NEWS_FEATURES

    def score(self, text: str) -> float:
        """Return the mean tone of the different known words of a text, 0 if it has none."""
        known = [self.tones[word] for word in words_of(text) if word in self.tones]
        return sum(known) / len(known) if known else 0.0

    def transform(self, news: pd.DataFrame, panel: Panel) -> FeatureMatrix:
        """Return news_tone and news_count for every row of the panel.

        A document belongs to the first row of its symbol whose timestamp plus the cut-off is not before its
        stamp; from the calendar position it could first be known at it loses half its weight every
        `half_life` positions. news_tone is the sum of weight times score, news_count the sum of weights.
        Both are 0, not missing, where there was no news: that is known. Documents of other symbols, or after
        a symbol's last bar, are not used.
        """
        values = self.sums(news, panel).astype(np.float32)
        return FeatureMatrix(values=values, names=NEWS_FEATURES, panel=panel)

    def sums(self, news: pd.DataFrame, panel: Panel, first: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return what `transform` rounds to float32, (num_rows, 2) float64.

        `first` (num_rows, 2), 0 by default, is added to what arrives at each row: the sums of earlier bars at the first
        row of a symbol go on from there, with the same bits as if these bars were in the panel.
        """
        row, waited, kept = document_rows(news, panel, self.config)
        weight = 0.5 ** (waited / self.config.half_life)
        scores = np.array([self.score(text) for text in news["text"].to_numpy(dtype=object)[kept]], dtype=np.float64)
        arriving = np.zeros((panel.num_rows, 2))
        np.add.at(arriving, row, np.column_stack([weight * scores, weight]))
        if first is not None:
            arriving += first
        return _decay(arriving, panel.symbol_code, panel.date_code, 0.5 ** (1.0 / self.config.half_life))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"config": asdict(self.config), "tones": dict(self.tones)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> NewsScorer:
        """Rebuild what `to_dict` gave, exactly."""
        return cls(config=NewsConfig(**content["config"]), tones=dict(content["tones"]))

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON: equal for equal scorers, in any process."""
        return hashlib.sha256(canonical_json(self.to_dict()).encode()).hexdigest()


def fit_news_scorer(
    news: pd.DataFrame,
    panel: Panel,
    label: NDArray,
    train_rows: NDArray[np.bool_],
    config: NewsConfig = DEFAULT_CONFIG,
) -> NewsScorer:
    """Learn the tone of words from the documents that belong to training rows.

    Parameters
    ----------
    news : DataFrame(timestamp, symbol, text), as from `read_news`
    panel : bars
    label : (num_rows,) forward return, NaN = unknown; its rank within the date, centred and scaled to [-1,
        1], is learnt
    train_rows : (num_rows,) mask; no other row's label and no other document is looked at
    config : NewsConfig

    Returns
    -------
    NewsScorer with, for each word in at least `min_count` documents, the sum of the label ranks of its
    documents over (their number + `shrinkage`). No word may be frequent enough: all tones are then 0.
    """
    if label.shape != (panel.num_rows,) or train_rows.shape != (panel.num_rows,):
        raise ValueError(f"label {label.shape} and train_rows {train_rows.shape} must have shape ({panel.num_rows},)")
    outcome = label_outcomes(label, panel.date_code, train_rows)
    row, _, kept = document_rows(news, panel, config)
    learn = ~np.isnan(outcome[row])
    return learn_tones(news["text"].to_numpy(dtype=object)[kept][learn], outcome[row][learn], config)


def label_outcomes(
    label: NDArray, date_code: NDArray[np.integer], train_rows: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the rank of each training label within its date, centred and scaled to [-1, 1]; NaN on all other rows."""
    rank, count = group_ranks(np.where(train_rows, label, np.nan), date_code)
    return np.where(count > 1, (2.0 * rank - count - 1.0) / np.maximum(count - 1, 1), np.nan)


def learn_tones(texts: NDArray[np.object_], outcomes: NDArray[np.float64], config: NewsConfig) -> NewsScorer:
    """Learn the tone of words from training documents, in their order, and the outcomes of their rows."""
    documents: dict[str, int] = {}
    total: dict[str, float] = {}
    for text, result in zip(texts, outcomes, strict=True):
        for word in words_of(text):
            documents[word] = documents.get(word, 0) + 1
            total[word] = total.get(word, 0.0) + float(result)
    tones = {
        word: total[word] / (documents[word] + config.shrinkage)
        for word in sorted(documents)
        if documents[word] >= config.min_count
    }
    return NewsScorer(config=config, tones=tones)


def words_of(text: str) -> list[str]:
    """Return the different words of a text in alphabetical order: runs of two or more letters, in lower case."""
    return sorted(set(WORD.findall(text.lower())))


@kernel(nogil=True)
def _decay(
    arriving: NDArray[np.float64], symbol_code: NDArray[np.int32], date_code: NDArray[np.int32], decay: float
) -> NDArray[np.float64]:
    """Sum what arrives per symbol, decaying by `decay` per calendar position."""
    result = arriving.copy()
    for row in range(1, len(arriving)):
        if symbol_code[row] == symbol_code[row - 1]:
            factor = decay ** (date_code[row] - date_code[row - 1])
            for column in range(arriving.shape[1]):
                result[row, column] += factor * result[row - 1, column]
    return result
