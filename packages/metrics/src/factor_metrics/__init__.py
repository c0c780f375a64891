"""Metrics of cross-sectional forecasts: arrays (num_dates, num_symbols) in, numbers and a report out."""

from factor_metrics.diversity import (
    constant_share,
    num_distinct_models,
    prediction_correlation,
    redundant_pairs,
)
from factor_metrics.evaluation import Evaluation, evaluate_predictions
from factor_metrics.floors import best_floor, compare_with_floors, random_ranking
from factor_metrics.frames import to_matrix
from factor_metrics.gates import Gate, GateConfig, evaluate_gates, promoted
from factor_metrics.ic import ic, ic_by_horizon, rank_ic, rank_ic_by_horizon
from factor_metrics.ic_decay import (
    ICDecay,
    delay_decay,
    horizon_decay,
    prediction_autocorrelation,
    rolling_mean_ic,
)
from factor_metrics.ic_groups import GroupedIC, grouped_ic, quantile_ic
from factor_metrics.ic_weighted import weighted_ic, weighted_rank_ic
from factor_metrics.json_safe import to_json_safe
from factor_metrics.live import LiveICReporter
from factor_metrics.overfit import OverfitGap, overfit_gap
from factor_metrics.profile import Calibration, Estimates, Profile, profile_forecast
from factor_metrics.quantiles import quantile_of, quantile_returns, spread
from factor_metrics.ranks import rank_rows
from factor_metrics.report import ReportData, build_report
from factor_metrics.sample_comparison import SampleComparison, compare_samples
from factor_metrics.significance import NeweyWest, bootstrap_interval, newey_west_t
from factor_metrics.summary import ICSummary, paired_difference, summarize
from factor_metrics.system import record_system_figures, system_figures
from factor_metrics.trials import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    overfitting_logits,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
)
from factor_metrics.turnover import turnover

__all__ = [
    "Calibration",
    "Estimates",
    "Evaluation",
    "Gate",
    "GateConfig",
    "GroupedIC",
    "ICDecay",
    "ICSummary",
    "LiveICReporter",
    "NeweyWest",
    "OverfitGap",
    "Profile",
    "ReportData",
    "SampleComparison",
    "best_floor",
    "bootstrap_interval",
    "build_report",
    "compare_samples",
    "compare_with_floors",
    "constant_share",
    "deflated_sharpe_ratio",
    "delay_decay",
    "evaluate_gates",
    "evaluate_predictions",
    "expected_maximum_sharpe",
    "grouped_ic",
    "horizon_decay",
    "ic",
    "ic_by_horizon",
    "newey_west_t",
    "num_distinct_models",
    "overfit_gap",
    "overfitting_logits",
    "paired_difference",
    "prediction_autocorrelation",
    "prediction_correlation",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "profile_forecast",
    "promoted",
    "quantile_ic",
    "quantile_of",
    "quantile_returns",
    "random_ranking",
    "rank_ic",
    "rank_ic_by_horizon",
    "rank_rows",
    "record_system_figures",
    "redundant_pairs",
    "rolling_mean_ic",
    "spread",
    "summarize",
    "system_figures",
    "to_json_safe",
    "to_matrix",
    "turnover",
    "weighted_ic",
    "weighted_rank_ic",
]
