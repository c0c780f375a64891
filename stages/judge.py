"""Predictions and floors judged the same way, for the stages that report them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from factor_data import Panel
from factor_metrics import (
    Evaluation,
    accuracy,
    best_floor,
    classification_scores,
    evaluate_predictions,
    price_floors,
    random_ranking,
    summarize,
)
from stages.params import EvaluateParams


def judge(prediction: NDArray, label: NDArray, horizon: int, config: EvaluateParams) -> Evaluation:
    return evaluate_predictions(
        prediction,
        label,
        horizon=horizon,
        num_quantiles=config.quantiles,
        min_symbols=config.min_symbols,
        confidence=config.confidence,
        num_bootstrap=config.bootstrap,
        seed=config.seed,
    )


def summary(judged: Evaluation) -> dict[str, Any]:
    """The numbers a person compares between experiments; `ci_low` and `ci_high` bound the mean rank IC."""
    rank = judged.rank_ic_summary
    return {
        "ic": judged.ic_summary.mean,
        "rank_ic": rank.mean,
        "ci_low": rank.ci_low,
        "ci_high": rank.ci_high,
        "icir": rank.icir,
        "t_stat": rank.t_stat,
        "hit_rate": rank.hit_rate,
        "spread": float(np.nanmean(judged.spread)),
        "turnover": float(np.nanmean(judged.turnover)),
        "num_dates": rank.num_dates,
    }


def direction_summary(
    logit: NDArray, outcome: NDArray, horizon: int, config: EvaluateParams
) -> dict[str, float | int]:
    """How well the sign of a forecast says the direction: pooled scores beside always saying the commoner class.

    `logit` and `outcome` (1 up, 0 down) are (num_dates, num_symbols); a cell counts where both are known. The interval
    is that of the mean over dates of each date's accuracy.
    """
    scores = classification_scores(expit(logit), outcome)
    called = np.where(np.isnan(logit), np.nan, logit > 0)
    by_date = summarize(
        accuracy(called, outcome),
        horizon=horizon,
        confidence=config.confidence,
        num_bootstrap=config.bootstrap,
        seed=config.seed,
    )
    return {
        "accuracy": scores.accuracy,
        "majority_accuracy": scores.majority_accuracy,
        "mcc": scores.mcc,
        "f1": scores.f1,
        "auc": scores.auc,
        "share_up": scores.share_up,
        "num_directions": scores.num_pairs,
        "accuracy_by_date": by_date.mean,
        "accuracy_by_date_low": by_date.ci_low,
        "accuracy_by_date_high": by_date.ci_high,
    }


def best_floor_rank_ic(floors: Mapping[str, Evaluation]) -> float:
    """Mean rank IC of the floor that is hardest to beat."""
    return floors[best_floor({name: floor.rank_ic for name, floor in floors.items()})].rank_ic_summary.mean


def overfit_gap(metrics: Mapping[str, float]) -> float:
    """Mean valid minus mean test rank IC, of one horizon in a model's metrics.json."""
    return metrics["valid_rank_ic"] - metrics["rank_ic"]


def floor_signals(panel: Panel, dates: NDArray[np.datetime64], seed: int) -> dict[str, NDArray[np.float64]]:
    """Signals (len(dates), num_symbols) that need no model: of adjusted closes up to each date, and a random one."""
    floors = price_floors(panel.to_matrix(panel.adjusted("close")))
    position = np.searchsorted(panel.dates, dates)
    signals = {name: signal[position] for name, signal in floors.items()}
    return {**signals, "random": random_ranking((len(dates), panel.num_symbols), seed)}


def judge_floors(
    signals: Mapping[str, NDArray], prediction: NDArray, label: NDArray, horizon: int, config: EvaluateParams
) -> dict[str, Evaluation]:
    """Each floor on exactly the dates and symbols that the model predicted."""
    covered = {floor: np.where(np.isnan(prediction), np.nan, signal) for floor, signal in signals.items()}
    return {floor: judge(signal, label, horizon, config) for floor, signal in covered.items()}


def attainable_rank_ic(path: Path, horizon: int, dates: NDArray[np.datetime64]) -> NDArray[np.float64] | None:
    """Rank IC per date of the true expectation on a simulated market; None on real data and without a signal."""
    if not path.exists():
        return None
    truth = pd.read_parquet(path)
    truth = truth[truth["horizon"] == horizon]
    known = pd.Series(
        truth["attainable_rank_ic"].to_numpy(), index=truth["timestamp"].to_numpy().astype("datetime64[ns]")
    )
    on_dates = known.reindex(dates).to_numpy(dtype=np.float64)
    return on_dates if np.isfinite(on_dates).any() else None
