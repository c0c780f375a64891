"""Metrics of cross-sectional forecasts: arrays (num_dates, num_symbols) in, numbers and a report out."""

from factor_metrics.backtest import Backtest, TradingRules, backtest
from factor_metrics.bootstrap import (
    BlockLength,
    bootstrap_block_length,
    bootstrap_interval,
    optimal_block_length,
)
from factor_metrics.calibration import CalibrationCurve, calibration_curve
from factor_metrics.classification import (
    ClassificationScores,
    Confusion,
    accuracy,
    auc,
    balanced_accuracy,
    brier_score,
    classification_scores,
    confusion,
    f1_score,
    log_loss,
    mcc,
)
from factor_metrics.diversity import (
    constant_share,
    num_distinct_models,
    prediction_correlation,
    redundant_pairs,
)
from factor_metrics.evaluation import Evaluation, evaluate_horizons, evaluate_predictions
from factor_metrics.floors import (
    FloorComparison,
    best_floor,
    compare_with_floors,
    floor_table,
    format_floor_table,
    random_ranking,
    random_ranking_interval,
)
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
from factor_metrics.interop import ForecastMatrices, from_alphalens, from_qlib, to_alphalens, to_qlib
from factor_metrics.json_safe import to_json_safe
from factor_metrics.limits import PositionLimits, apply_limits, limit_excess
from factor_metrics.live import LiveICReporter, Sample
from factor_metrics.monotonicity import Monotonicity, monotonicity
from factor_metrics.multiple_testing import adjusted_p_values
from factor_metrics.neutral import neutralize
from factor_metrics.performance import (
    Performance,
    RelativePerformance,
    annual_return,
    annual_volatility,
    calmar_ratio,
    drawdown,
    equity_curve,
    hit_rate,
    max_drawdown,
    moments,
    performance,
    relative_performance,
    sharpe_ratio,
    sortino_ratio,
    total_return,
)
from factor_metrics.permutation import PermutationTest, permutation_test
from factor_metrics.portfolio import long_short_weights, proportional_weights, rebalance_every, top_k_weights
from factor_metrics.price_floors import (
    distance_from_high,
    last_return_reversal,
    majority_class,
    momentum,
    moving_average_gap,
    opposite_of_last_sign,
    price_floors,
)
from factor_metrics.profile import Estimates, Profile, ScaleCalibration, profile_forecast
from factor_metrics.quantiles import quantile_of, quantile_returns, spread
from factor_metrics.ranking import ndcg, precision_at_k, reciprocal_rank
from factor_metrics.ranks import rank_rows
from factor_metrics.regression import (
    RegressionErrors,
    mean_absolute_error,
    mean_squared_error,
    regression_errors,
)
from factor_metrics.report import ReportData, build_report
from factor_metrics.sample_comparison import SampleComparison, compare_samples
from factor_metrics.selection import Trial, TrialSelection, judge_trials
from factor_metrics.significance import NeweyWest, naive_t, newey_west_interval, newey_west_t
from factor_metrics.summary import ICSummary, paired_difference, summarize
from factor_metrics.superior_ability import SuperiorAbility, reality_check, superior_predictive_ability
from factor_metrics.system import record_system_figures, system_figures
from factor_metrics.tail_risk import conditional_value_at_risk, value_at_risk
from factor_metrics.thresholds import Threshold, check_thresholds, exit_status, format_gates
from factor_metrics.trials import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
    overfitting_logits,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
)
from factor_metrics.turnover import turnover

__all__ = [
    "Backtest",
    "BlockLength",
    "CalibrationCurve",
    "ClassificationScores",
    "Confusion",
    "Estimates",
    "Evaluation",
    "FloorComparison",
    "ForecastMatrices",
    "Gate",
    "GateConfig",
    "GroupedIC",
    "ICDecay",
    "ICSummary",
    "LiveICReporter",
    "Monotonicity",
    "NeweyWest",
    "Performance",
    "PermutationTest",
    "PositionLimits",
    "Profile",
    "RegressionErrors",
    "RelativePerformance",
    "ReportData",
    "Sample",
    "SampleComparison",
    "ScaleCalibration",
    "SuperiorAbility",
    "Threshold",
    "TradingRules",
    "Trial",
    "TrialSelection",
    "accuracy",
    "adjusted_p_values",
    "annual_return",
    "annual_volatility",
    "apply_limits",
    "auc",
    "backtest",
    "balanced_accuracy",
    "best_floor",
    "bootstrap_block_length",
    "bootstrap_interval",
    "brier_score",
    "build_report",
    "calibration_curve",
    "calmar_ratio",
    "check_thresholds",
    "classification_scores",
    "compare_samples",
    "compare_with_floors",
    "conditional_value_at_risk",
    "confusion",
    "constant_share",
    "deflated_sharpe_ratio",
    "delay_decay",
    "distance_from_high",
    "drawdown",
    "equity_curve",
    "evaluate_gates",
    "evaluate_horizons",
    "evaluate_predictions",
    "exit_status",
    "expected_maximum_sharpe",
    "f1_score",
    "floor_table",
    "format_floor_table",
    "format_gates",
    "from_alphalens",
    "from_qlib",
    "grouped_ic",
    "hit_rate",
    "horizon_decay",
    "ic",
    "ic_by_horizon",
    "judge_trials",
    "last_return_reversal",
    "limit_excess",
    "log_loss",
    "long_short_weights",
    "majority_class",
    "max_drawdown",
    "mcc",
    "mean_absolute_error",
    "mean_squared_error",
    "minimum_track_record_length",
    "moments",
    "momentum",
    "monotonicity",
    "moving_average_gap",
    "naive_t",
    "ndcg",
    "neutralize",
    "newey_west_interval",
    "newey_west_t",
    "num_distinct_models",
    "opposite_of_last_sign",
    "optimal_block_length",
    "overfitting_logits",
    "paired_difference",
    "performance",
    "permutation_test",
    "precision_at_k",
    "prediction_autocorrelation",
    "prediction_correlation",
    "price_floors",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "profile_forecast",
    "promoted",
    "proportional_weights",
    "quantile_ic",
    "quantile_of",
    "quantile_returns",
    "random_ranking",
    "random_ranking_interval",
    "rank_ic",
    "rank_ic_by_horizon",
    "rank_rows",
    "reality_check",
    "rebalance_every",
    "reciprocal_rank",
    "record_system_figures",
    "redundant_pairs",
    "regression_errors",
    "relative_performance",
    "rolling_mean_ic",
    "sharpe_ratio",
    "sortino_ratio",
    "spread",
    "summarize",
    "superior_predictive_ability",
    "system_figures",
    "to_alphalens",
    "to_json_safe",
    "to_matrix",
    "to_qlib",
    "top_k_weights",
    "total_return",
    "turnover",
    "value_at_risk",
    "weighted_ic",
    "weighted_rank_ic",
]
