"""Bars and news in; clean panel, causal features, labels, folds, normalisers, tokens and windows out."""

from factor_data.clean import CleanRules, clean_bars
from factor_data.features import FEATURES, FeatureMatrix, available_features, compute_features
from factor_data.folds import (
    SEGMENTS,
    Fold,
    Segment,
    check_folds,
    check_purge,
    read_folds,
    walk_forward,
    write_folds,
)
from factor_data.labels import check_labels, cross_sectional_target, forward_return
from factor_data.lookahead import LookAheadError, assert_no_lookahead
from factor_data.news import (
    NEWS_FEATURES,
    CachedEncoder,
    FolderEncoder,
    HashingEncoder,
    NewsClock,
    NewsConfig,
    NewsCoverage,
    NewsScorer,
    NewsVectorConfig,
    NewsVectoriser,
    TextEncoder,
    TfidfEncoder,
    fit_news_scorer,
    fit_news_vectors,
    load_news,
    news_coverage,
)
from factor_data.normalise import Normaliser, fit_normaliser
from factor_data.panel import REQUIRED_COLUMNS, UNIVERSE, Panel
from factor_data.quality import QualityReport, RuleResult
from factor_data.read import read_bars, read_news
from factor_data.simulate import (
    MarketConfig,
    SimulatedMarket,
    simulate_market,
    stylised_facts,
    write_market,
)
from factor_data.store import FeatureStore, FoldInputs, write_fold, write_shared
from factor_data.tokens import QuantileTokenizer
from factor_data.vocabulary import SymbolVocabulary
from factor_data.windows import (
    Augmentation,
    Batch,
    BlockedMatrix,
    SampleReport,
    WindowDataset,
    prefetch,
    session_codes,
)

__all__ = [
    "FEATURES",
    "NEWS_FEATURES",
    "REQUIRED_COLUMNS",
    "SEGMENTS",
    "UNIVERSE",
    "Augmentation",
    "Batch",
    "BlockedMatrix",
    "CachedEncoder",
    "CleanRules",
    "FeatureMatrix",
    "FeatureStore",
    "Fold",
    "FoldInputs",
    "FolderEncoder",
    "HashingEncoder",
    "LookAheadError",
    "MarketConfig",
    "NewsClock",
    "NewsConfig",
    "NewsCoverage",
    "NewsScorer",
    "NewsVectorConfig",
    "NewsVectoriser",
    "Normaliser",
    "Panel",
    "QualityReport",
    "QuantileTokenizer",
    "RuleResult",
    "SampleReport",
    "Segment",
    "SimulatedMarket",
    "SymbolVocabulary",
    "TextEncoder",
    "TfidfEncoder",
    "WindowDataset",
    "assert_no_lookahead",
    "available_features",
    "check_folds",
    "check_labels",
    "check_purge",
    "clean_bars",
    "compute_features",
    "cross_sectional_target",
    "fit_news_scorer",
    "fit_news_vectors",
    "fit_normaliser",
    "forward_return",
    "load_news",
    "news_coverage",
    "prefetch",
    "read_bars",
    "read_folds",
    "read_news",
    "session_codes",
    "simulate_market",
    "stylised_facts",
    "walk_forward",
    "write_fold",
    "write_folds",
    "write_market",
    "write_shared",
]
