"""evaluate: one model's out-of-fold predictions judged per horizon, beside floors that need no model."""

import sys

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import FeatureStore
from factor_metrics import Evaluation, rank_ic, to_json_safe
from stages.judge import best_floor_rank_ic, judge, judge_floors, summary
from stages.oof import OutOfFold
from stages.params import read_params
from stages.run import RESULTS, StageError, run, stage_output, write_json


def main() -> None:
    params = read_params()
    if len(sys.argv) != 2:
        raise StageError("say which model: python -m stages.evaluate <model>")
    name = sys.argv[1]
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
            judged_floors = judge_floors(store, dates, prediction, label, horizon, params.evaluate)
            floors[f"h{horizon}"] = {floor: summary(result) for floor, result in judged_floors.items()}
            metrics[f"h{horizon}"] = {
                **summary(judged),
                "valid_rank_ic": valid_rank_ic(store, oof, head, params.evaluate.min_symbols),
                "best_floor_rank_ic": best_floor_rank_ic(judged_floors),
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
        write_json(folder / "floors.json", to_json_safe(floors))
        write_json(folder / "metrics.json", to_json_safe(metrics))
    for key, values in metrics.items():
        print(
            f"{name} {key}: rank IC {values['rank_ic']:+.4f} [{values['ci_low']:+.4f}, {values['ci_high']:+.4f}], "
            f"t {values['t_stat']:.1f}, best floor {values['best_floor_rank_ic']:+.4f}"
        )


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
