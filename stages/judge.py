"""Predictions and floors judged the same way, for the stages that report them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import Panel
from factor_metrics import Evaluation, best_floor, evaluate_predictions, price_floors, random_ranking
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
