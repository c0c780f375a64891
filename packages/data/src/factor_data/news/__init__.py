"""News: joined point in time, and turned into features: tone, text vectors, factors named by a language model."""

from factor_data.news.encoder import CachedEncoder, FolderEncoder
from factor_data.news.features import NewsVectorConfig, NewsVectoriser, fit_news_vectors, fit_vectoriser
from factor_data.news.join import DocumentRows, NewsClock, NewsCoverage, document_rows, news_coverage
from factor_data.news.load import load_news
from factor_data.news.tone import (
    NEWS_FEATURES,
    NewsConfig,
    NewsScorer,
    fit_news_scorer,
    label_outcomes,
    learn_tones,
    words_of,
)
from factor_data.news.vectors import HashingEncoder, TextEncoder, TfidfEncoder

__all__ = [
    "NEWS_FEATURES",
    "CachedEncoder",
    "DocumentRows",
    "FolderEncoder",
    "HashingEncoder",
    "NewsClock",
    "NewsConfig",
    "NewsCoverage",
    "NewsScorer",
    "NewsVectorConfig",
    "NewsVectoriser",
    "TextEncoder",
    "TfidfEncoder",
    "document_rows",
    "fit_news_scorer",
    "fit_news_vectors",
    "fit_vectoriser",
    "label_outcomes",
    "learn_tones",
    "load_news",
    "news_coverage",
    "words_of",
]
