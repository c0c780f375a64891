"""Bars and news in; clean panel, causal features, labels, folds, normalisers, tokens and windows out."""

from factor_data.cleaning import RULES, CleanRules, Rule, clean_bars, clean_symbols
from factor_data.features import FEATURES, FeatureMatrix, available_features, compute_features
from factor_data.folds import (
    SEGMENTS,
    Fold,
    FoldConfig,
    Scheme,
    Segment,
    check_folds,
    check_labels_apart,
    check_purge,
    check_tested_once,
    cpcv_paths,
    fold_picture,
    make_folds,
    needed_purge,
    read_folds,
    walk_forward,
    write_folds,
)
from factor_data.labels import (
    LabelReport,
    TargetKind,
    check_labels,
    cross_sectional_target,
    direction,
    forward_return,
    label_report,
    multi_step_direction,
    ready_made_targets,
)
from factor_data.lookahead import LookAheadError, assert_no_lookahead
from factor_data.news import NEWS_FEATURES, NewsConfig, NewsScorer, fit_news_scorer
from factor_data.normalise import Normaliser, fit_normaliser
from factor_data.panel import REQUIRED_COLUMNS, UNIVERSE, Panel
from factor_data.quality import Offender, QualityReport, RuleResult
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
    "FEATURES",
    "NEWS_FEATURES",
    "REQUIRED_COLUMNS",
    "RULES",
    "SEGMENTS",
    "UNIVERSE",
    "Batch",
    "CleanRules",
    "FeatureMatrix",
    "FeatureStore",
    "Fold",
    "FoldConfig",
    "FoldInputs",
    "LabelReport",
    "LookAheadError",
    "MarketConfig",
    "NewsConfig",
    "NewsScorer",
    "Normaliser",
    "Offender",
    "Panel",
    "QualityReport",
    "QuantileTokenizer",
    "Rule",
    "RuleResult",
    "Scheme",
    "Segment",
    "SimulatedMarket",
    "TargetKind",
    "WindowDataset",
    "assert_no_lookahead",
    "available_features",
    "check_folds",
    "check_labels",
    "check_labels_apart",
    "check_purge",
    "check_tested_once",
    "clean_bars",
    "clean_symbols",
    "compute_features",
    "cpcv_paths",
    "cross_sectional_target",
    "direction",
    "fit_news_scorer",
    "fit_normaliser",
    "fold_picture",
    "forward_return",
    "label_report",
    "make_folds",
    "multi_step_direction",
    "needed_purge",
    "read_bars",
    "read_folds",
    "read_news",
    "ready_made_targets",
    "simulate_market",
    "stylised_facts",
    "walk_forward",
    "write_fold",
    "write_folds",
    "write_market",
    "write_shared",
]
