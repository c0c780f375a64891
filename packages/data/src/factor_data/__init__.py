"""Bars and news in; clean panel, causal features, labels, folds, normalisers, tokens and windows out."""

from factor_data.chunks.clean_parts import clean_to_folder
from factor_data.chunks.saved_panel import SavedPanel, open_panel
from factor_data.chunks.sorting import SortedBars, sort_bars
from factor_data.chunks.workers import Workers
from factor_data.chunks.write_store import FitConfig, StoreWriter
from factor_data.cleaning import RULES, CleanRules, Rule, clean_bars, clean_symbols, rule_hits
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
from factor_data.importing import ImportSummary, import_data
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
from factor_data.normalise import Normaliser, fit_normaliser, window_zscore
from factor_data.panel import REQUIRED_COLUMNS, UNIVERSE, Panel
from factor_data.quality import Offender, QualityReport, RuleResult
from factor_data.reading.bars import iter_bar_tables, read_bars
from factor_data.reading.config import ReadConfig
from factor_data.reading.layouts import LAYOUTS
from factor_data.reading.news import iter_news_tables, read_news
from factor_data.reading.table import Table
from factor_data.simulate import (
    MarketConfig,
    SimulatedMarket,
    simulate_market,
    stylised_facts,
    write_market,
)
from factor_data.store import FeatureStore
from factor_data.tokens import QuantileTokenizer
from factor_data.windows import Batch, WindowDataset

__all__ = [
    "ALPHA158_NAMES",
    "ALPHA360_NAMES",
    "DATE_FEATURES",
    "FEATURES",
    "FEATURE_SETS",
    "LAYOUTS",
    "NEWS_FEATURES",
    "REQUIRED_COLUMNS",
    "RULES",
    "SEGMENTS",
    "UNIVERSE",
    "Batch",
    "CleanRules",
    "DateFeature",
    "FeatureMatrix",
    "FeaturePlan",
    "FeatureStore",
    "FitConfig",
    "Fold",
    "FoldConfig",
    "ImportSummary",
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
    "ReadConfig",
    "Rule",
    "RuleResult",
    "SavedPanel",
    "Scheme",
    "Segment",
    "SimulatedMarket",
    "SortedBars",
    "StoreWriter",
    "Table",
    "TargetKind",
    "WindowDataset",
    "Workers",
    "alpha158",
    "alpha360",
    "assert_no_lookahead",
    "available_features",
    "check_folds",
    "check_labels",
    "check_labels_apart",
    "check_purge",
    "check_tested_once",
    "clean_bars",
    "clean_symbols",
    "clean_to_folder",
    "compute_features",
    "cpcv_paths",
    "cross_sectional_rank",
    "cross_sectional_target",
    "cross_sectional_zscore",
    "direction",
    "expand_features",
    "fit_news_scorer",
    "fit_normaliser",
    "fold_picture",
    "forward_return",
    "import_data",
    "iter_bar_tables",
    "iter_news_tables",
    "label_report",
    "make_folds",
    "multi_step_direction",
    "needed_purge",
    "neutralise",
    "open_panel",
    "plan_features",
    "read_bars",
    "read_folds",
    "read_news",
    "ready_made_targets",
    "rule_hits",
    "simulate_market",
    "sort_bars",
    "stylised_facts",
    "walk_forward",
    "window_zscore",
    "winsorise",
    "write_folds",
    "write_market",
]
