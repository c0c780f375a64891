"""evaluate: one model's out-of-fold predictions judged per horizon, beside floors that need no model."""

import sys
from typing import Any

import numpy as np
import pandas as pd
from factor_data import FeatureStore
from factor_metrics import Evaluation, evaluate_predictions, random_ranking, rank_ic
from numpy.typing import NDArray

from stages.oof import OutOfFold
from stages.params import EvaluateParams, read_params
from stages.run import RESULTS, StageError, run, stage_output, write_json

# Floors need no model: a feature and its sign.
FLOORS = {
    "reversal_1": ("return_1", -1.0),
    "reversal_to_mean_5": ("close_to_mean_5", -1.0),
    "momentum_60_5": ("momentum_60_5", 1.0),
    "far_from_high_60": ("distance_to_high_60", -1.0),
}


def main() -> None:
    params = read_params()
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in params.zoo:
        raise StageError(f"say which model: python -m stages.evaluate <one of {', '.join(params.zoo)}>")
    store = FeatureStore(RESULTS / "tokenize")
    params.check_universe(len(store.symbols))
    oof = OutOfFold(RESULTS / "train" / name / "predictions.parquet", store)
    dates = oof.dates("test")
    metrics, floors, series, quantiles = {}, {}, [], []
    with stage_output(f"evaluate/{name}") as folder:
        for head, horizon in enumerate(store.horizons):
            prediction = oof.matrix(horizon, "test")
            label = store.matrix(store.labels[:, head], dates)
            judged = judge(prediction, label, horizon, params.evaluate)
            floors[f"h{horizon}"] = judge_floors(store, dates, prediction, label, horizon, params.evaluate)
            metrics[f"h{horizon}"] = {
                **summary(judged),
                "valid_rank_ic": valid_rank_ic(store, oof, head, params.evaluate.min_symbols),
                "best_floor_rank_ic": max(floor["rank_ic"] for floor in floors[f"h{horizon}"].values()),
            }
            series.append(per_date(dates, horizon, judged))
            mean_return = np.nanmean(judged.quantile_returns, axis=0)
            quantiles += [(horizon, f"h{horizon} q{q + 1}", value) for q, value in enumerate(mean_return)]
        frame = pd.concat(series)
        frame.to_parquet(folder / "ic.parquet", index=False)
        chart = frame[frame["horizon"] == store.horizons[0]]
        chart[["timestamp", "rank_ic", "cumulative_rank_ic"]].to_csv(folder / "rank_ic.csv", index=False)
        pd.DataFrame(quantiles, columns=["horizon", "quantile", "mean_return"]).to_csv(
            folder / "quantiles.csv", index=False
        )
        write_json(folder / "floors.json", floors)
        write_json(folder / "metrics.json", metrics)
    for key, values in metrics.items():
        print(
            f"{name} {key}: rank IC {values['rank_ic']:+.4f} [{values['ci_low']:+.4f}, {values['ci_high']:+.4f}], "
            f"t {values['t_stat']:.1f}, best floor {values['best_floor_rank_ic']:+.4f}"
        )


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


def judge_floors(
    store: FeatureStore,
    dates: NDArray[np.datetime64],
    prediction: NDArray,
    label: NDArray,
    horizon: int,
    config: EvaluateParams,
) -> dict[str, dict[str, Any]]:
    """Each floor on exactly the dates and symbols that the model predicted."""
    signals = {
        floor: sign * store.matrix(store.feature(feature), dates)
        for floor, (feature, sign) in FLOORS.items()
        if feature in store.feature_names
    }
    signals["random"] = random_ranking(prediction.shape, config.seed)
    covered = {floor: np.where(np.isnan(prediction), np.nan, signal) for floor, signal in signals.items()}
    return {floor: summary(judge(signal, label, horizon, config)) for floor, signal in covered.items()}


def valid_rank_ic(store: FeatureStore, oof: OutOfFold, head: int, min_symbols: int) -> float:
    """Mean rank IC on the valid dates, for the overfit gap; never a result."""
    label = store.matrix(store.labels[:, head], oof.dates("valid"))
    folds = [oof.matrix(store.horizons[head], "valid", fold) for fold in oof.folds()]
    return float(np.nanmean([rank_ic(prediction, label, min_symbols) for prediction in folds]))


def per_date(dates: NDArray[np.datetime64], horizon: int, judged: Evaluation) -> pd.DataFrame:
    """One row per date: IC, rank IC, spread and turnover; NaN where undefined."""
    return pd.DataFrame(
        {
            "timestamp": dates,
            "horizon": np.int16(horizon),
            "ic": judged.ic,
            "rank_ic": judged.rank_ic,
            "cumulative_rank_ic": np.nancumsum(judged.rank_ic),
            "spread": judged.spread,
            "turnover": judged.turnover,
        }
    )


if __name__ == "__main__":
    run("evaluate", main)
