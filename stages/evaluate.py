"""evaluate: one model's out-of-fold predictions judged per horizon, beside floors that need no model; its report."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import FeatureStore, Panel
from factor_metrics import build_report, rank_ic, to_json_safe
from factor_metrics.report import FloorRow
from stages.judge import (
    attainable_rank_ic,
    best_floor_rank_ic,
    direction_summary,
    floor_signals,
    judge,
    judge_floors,
    summary,
)
from stages.model_card import evaluated_card
from stages.model_report import model_report
from stages.oof import OutOfFold
from stages.params import Params, read_params
from stages.report_data import Subject, floor_rows, profile, row_counts
from stages.run import RESULTS, StageError, run, stage_output, write_json
from stages.targets import directions, training_targets


def main() -> None:
    params = read_params()
    if len(sys.argv) != 2:
        raise StageError("say which model: python -m stages.evaluate <model>")
    name = sys.argv[1]
    store = FeatureStore(RESULTS / "tokenize")
    params.check_universe(len(store.symbols))
    oof = OutOfFold(RESULTS / "train" / name / "predictions.parquet", store)
    targets = training_targets(store, params.train.target, params.train.direction)
    heads = range(len(store.horizons))
    signals = floor_signals(Panel.load(RESULTS / "split" / "panel"), oof.dates("test"), params.evaluate.seed)
    with stage_output(f"evaluate/{name}") as folder:
        subjects = [judge_head(name, head, oof, targets[:, head], signals, store, params) for head in heads]
        floors = [
            row
            for one in subjects
            for row in floor_rows({name: one.judged}, one.floors, one.horizon, params.evaluate)
        ]
        valid = {
            store.horizons[head]: valid_rank_ic(store, oof, head, params.evaluate.min_symbols)
            for head in heads
        }
        metrics = {
            f"h{one.horizon}": {
                **summary(one.judged),
                "valid_rank_ic": float(np.nanmean(valid[one.horizon])),
                "best_floor_rank_ic": best_floor_rank_ic(one.floors),
            }
            for one in subjects
        }
        if params.train.target == "direction":
            outcomes = directions(store, params.train.direction)
            for head, one in enumerate(subjects):
                outcome = store.matrix(outcomes[:, head], one.dates)
                metrics[f"h{one.horizon}"] |= direction_summary(
                    oof.matrix(one.horizon, "test"), outcome, one.horizon, params.evaluate
                )
        write_tables(subjects, floors, folder)
        windows = pd.concat([per_window(one, oof.fold_of_date()) for one in subjects])
        windows.to_csv(folder / "windows.csv", index=False)
        write_json(folder / "metrics.json", to_json_safe(metrics))
        data = model_report(subjects, floors, oof.fold_of_date(), valid, store, params, RESULTS / "split")
        (folder / "report.html").write_text(build_report(data), encoding="utf-8")
        card = evaluated_card(RESULTS / "train" / name / "folds", subjects, metrics, floors)
        (folder / "model_card.md").write_text(card, encoding="utf-8")
    print(windows.to_string(index=False, float_format=lambda value: f"{value:+.4f}"))
    for key, values in metrics.items():
        print(
            f"{name} {key}: rank IC {values['rank_ic']:+.4f} [{values['ci_low']:+.4f}, {values['ci_high']:+.4f}], "
            f"t {values['t_stat']:.1f}, best floor {values['best_floor_rank_ic']:+.4f}"
        )
        if params.train.target == "direction":
            print(
                f"{name} {key}: accuracy {values['accuracy']:.4f}, always the commoner "
                f"{values['majority_accuracy']:.4f}, MCC {values['mcc']:+.4f}, AUC {values['auc']:.4f}"
            )


def judge_head(
    name: str,
    head: int,
    oof: OutOfFold,
    target: NDArray,
    signals: Mapping[str, NDArray],
    store: FeatureStore,
    params: Params,
) -> Subject:
    """The model and its floors at one horizon; `target` (num_rows,) is what it was fitted to."""
    horizon, dates, config = store.horizons[head], oof.dates("test"), params.evaluate
    prediction = oof.matrix(horizon, "test")
    label = store.matrix(store.labels[:, head], dates)
    return Subject(
        name=name,
        horizon=horizon,
        dates=dates,
        judged=judge(prediction, label, horizon, config),
        floors=judge_floors(signals, prediction, label, horizon, config),
        attainable=attainable_rank_ic(RESULTS / "split" / "truth.parquet", horizon, dates),
        profile=profile(prediction, store.matrix(target, dates), horizon, dates, store, config),
        row_counts=row_counts(prediction, horizon, dates, store),
    )


def valid_rank_ic(store: FeatureStore, oof: OutOfFold, head: int, min_symbols: int) -> NDArray[np.float64]:
    """(num_folds, num_valid_dates) rank IC on the valid dates, for the overfit gap; never a result."""
    label = store.matrix(store.labels[:, head], oof.dates("valid"))
    folds = [oof.matrix(store.horizons[head], "valid", fold) for fold in oof.folds()]
    return np.stack([rank_ic(prediction, label, min_symbols) for prediction in folds])


def write_tables(subjects: Sequence[Subject], rows: Sequence[FloorRow], folder: Path) -> None:
    """Series per date, quantile means, and the floors with their distance from the model."""
    frame = pd.concat([per_date(one) for one in subjects])
    frame.to_parquet(folder / "ic.parquet", index=False)
    chart = frame[frame["horizon"] == subjects[0].horizon]
    chart[["timestamp", "rank_ic", "cumulative_rank_ic"]].to_csv(folder / "rank_ic.csv", index=False)
    means = [
        (one.horizon, f"h{one.horizon} q{quantile + 1}", value)
        for one in subjects
        for quantile, value in enumerate(np.nanmean(one.judged.quantile_returns, axis=0))
    ]
    table = pd.DataFrame(means, columns=["horizon", "quantile", "mean_return"])
    table.to_csv(folder / "quantiles.csv", index=False)
    beside = {(row.horizon, row.floor): row for row in rows}
    floors = {
        f"h{one.horizon}": {
            floor: {**summary(judged), **difference(beside[one.horizon, floor])}
            for floor, judged in one.floors.items()
        }
        for one in subjects
    }
    write_json(folder / "floors.json", to_json_safe(floors))


def difference(row: FloorRow) -> dict[str, float | str | None]:
    """The model less the floor."""
    return {
        "difference": row.difference,
        "difference_low": row.low,
        "difference_high": row.high,
        "model_is": row.status,
    }


def per_window(subject: Subject, fold_of_date: NDArray[np.integer]) -> pd.DataFrame:
    """One row per fold: what the model was worth on its test dates; means over dates, NaN where undefined."""
    judged = subject.judged
    rows = []
    for fold in np.unique(fold_of_date):
        of = fold_of_date == fold
        mean, spread = float(np.nanmean(judged.rank_ic[of])), float(np.nanstd(judged.rank_ic[of], ddof=1))
        rows.append(
            {
                "horizon": subject.horizon,
                "fold": int(fold),
                "first": subject.dates[of].min(),
                "last": subject.dates[of].max(),
                "dates": int(of.sum()),
                "ic": float(np.nanmean(judged.ic[of])),
                "rank_ic": mean,
                "rank_icir": mean / spread if spread > 0 else float("nan"),
                "hit_rate": float(np.mean(judged.rank_ic[of & np.isfinite(judged.rank_ic)] > 0)),
                "spread": float(np.nanmean(judged.spread[of])),
                "turnover": float(np.nanmean(judged.turnover[of])),
            }
        )
    return pd.DataFrame(rows)


def per_date(subject: Subject) -> pd.DataFrame:
    """One row per date: IC, rank IC, spread and turnover; NaN where undefined."""
    judged = subject.judged
    return pd.DataFrame(
        {
            "timestamp": subject.dates,
            "horizon": np.int16(subject.horizon),
            "ic": judged.ic,
            "rank_ic": judged.rank_ic,
            "cumulative_rank_ic": np.nancumsum(judged.rank_ic),
            "spread": judged.spread,
            "turnover": judged.turnover,
        }
    )


if __name__ == "__main__":
    run("evaluate", main)
