"""Bars and news in; clean panel, causal features, labels, folds, normalisers, tokens and windows out."""

from factor_data.clean import CleanRules, clean_bars
from factor_data.cross_section import (
    cross_sectional_rank,
    cross_sectional_zscore,
    neutralise,
    winsorise,
)
from factor_data.features import (
    ALPHA158_NAMES,
    ALPHA360_NAMES,
    DATE_FEATURES,
    FEATURE_SETS,
    FEATURES,
    DateFeature,
    FeatureMatrix,
    FeaturePlan,
    alpha158,
    alpha360,
    available_features,
    compute_features,
    expand_features,
    plan_features,
)
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
from factor_data.news import NEWS_FEATURES, NewsConfig, NewsScorer, fit_news_scorer
from factor_data.normalise import Normaliser, fit_normaliser, window_zscore
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
from factor_data.windows import Batch, WindowDataset

__all__ = [
    "ALPHA158_NAMES",
    "ALPHA360_NAMES",
    "DATE_FEATURES",
    "FEATURES",
    "FEATURE_SETS",
    "NEWS_FEATURES",
    "REQUIRED_COLUMNS",
    "SEGMENTS",
    "UNIVERSE",
    "Batch",
    "CleanRules",
    "DateFeature",
    "FeatureMatrix",
    "FeaturePlan",
    "FeatureStore",
    "Fold",
    "FoldInputs",
    "LookAheadError",
    "MarketConfig",
    "NewsConfig",
    "NewsScorer",
    "Normaliser",
    "Panel",
    "QualityReport",
    "QuantileTokenizer",
    "RuleResult",
    "Segment",
    "SimulatedMarket",
    "WindowDataset",
    "alpha158",
    "alpha360",
    "assert_no_lookahead",
    "available_features",
    "check_folds",
    "check_labels",
    "check_purge",
    "clean_bars",
    "compute_features",
    "cross_sectional_rank",
    "cross_sectional_target",
    "cross_sectional_zscore",
    "expand_features",
    "fit_news_scorer",
    "fit_normaliser",
    "forward_return",
    "neutralise",
    "plan_features",
    "read_bars",
    "read_folds",
    "read_news",
    "simulate_market",
    "stylised_facts",
    "walk_forward",
    "window_zscore",
    "winsorise",
    "write_fold",
    "write_folds",
    "write_market",
    "write_shared",
]
