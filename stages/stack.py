"""stack: combine the models out of fold, nested in time; judge the result, hold it against the gates, report.

The weights of a fold are fitted on earlier folds' out-of-fold predictions, so the first fold has no stack: every
number of this stage, also those of models and floors, is on the dates of the later folds.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from factor_data import FeatureStore, Panel
from factor_metrics import Gate, build_report, evaluate_gates, promoted, to_json_safe
from stages.ensemble import HorizonResult, combine, stack_metrics
from stages.judge import overfit_gap
from stages.oof import OutOfFold
from stages.params import Params, read_params
from stages.run import RESULTS, read_json, run, stage_output, write_json
from stages.stack_report import stack_report


def main() -> None:
    params = read_params()
    store = FeatureStore(RESULTS / "tokenize")
    panel = Panel.load(RESULTS / "split" / "panel")
    models = {
        name: OutOfFold(RESULTS / "train" / name / "predictions.parquet", store) for name in params.models
    }
    valid = {name: read_json(RESULTS / "evaluate" / name / "metrics.json") for name in params.models}
    with stage_output("stack") as folder:
        results = [combine(head, store, panel, models, params) for head in range(len(store.horizons))]
        gates = hold_against_gates(results, valid, params)
        write_predictions(results, store, models, folder)
        weights = {f"h{result.horizon}": weights_by_fold(result, params) for result in results}
        write_json(folder / "weights.json", to_json_safe(weights))
        write_json(folder / "gates.json", to_json_safe({"promoted": promoted(gates), "gates": gates}))
        write_json(
            folder / "metrics.json", to_json_safe({f"h{r.horizon}": stack_metrics(r) for r in results})
        )
        write_bundle(results, weights, store, params, gates, folder / "bundle")
        data = stack_report(results, valid, gates, store, params, split=RESULTS / "split")
        write_json(folder / "comparison.json", to_json_safe(data.rows))
        write_json(folder / "floors.json", to_json_safe(data.floors))
        (folder / "report.html").write_text(build_report(data), encoding="utf-8")


def hold_against_gates(
    results: list[HorizonResult], valid: dict[str, Any], params: Params
) -> tuple[Gate, ...]:
    """Every condition for promotion, at the first horizon."""
    result = results[0]
    return evaluate_gates(
        params.stack.gates,
        num_oof_rows=int(np.isfinite(result.prediction).sum()),
        stack_ic=result.stack.rank_ic,
        floor_ics={name: floor.rank_ic for name, floor in result.floors.items()},
        overfit_gaps={name: overfit_gap(metrics[f"h{result.horizon}"]) for name, metrics in valid.items()},
        constant_shares=result.constant_shares,
        correlation=result.correlation,
        model_names=params.models,
        horizon=result.horizon,
        num_looks=(len(params.models) + 1) * len(results),
    )


def weights_by_fold(result: HorizonResult, params: Params) -> dict[str, dict[str, float]]:
    """NaN for the first fold, which has none before it to learn from."""
    return {
        f"fold {fold}": dict(zip(params.models, map(float, row), strict=True))
        for fold, row in zip(result.weights.folds, result.weights.weights, strict=True)
    }


def write_predictions(
    results: list[HorizonResult], store: FeatureStore, models: dict[str, OutOfFold], folder: Path
) -> None:
    """The stack in the long form that every model has."""
    any_model = next(iter(models.values()))
    fold_of = dict(zip(any_model.dates("test"), any_model.fold_of_date(), strict=True))
    frames = []
    for result in results:
        row, column = np.nonzero(np.isfinite(result.prediction))
        frames.append(
            pd.DataFrame(
                {
                    "timestamp": result.dates[row],
                    "symbol": pd.Categorical.from_codes(column, pd.Index(store.symbols)),
                    "fold": np.array([fold_of[date] for date in result.dates], dtype=np.int16)[row],
                    "segment": pd.Categorical(["test"] * len(row)),
                    "horizon": np.int16(result.horizon),
                    "prediction": result.prediction[row, column].astype(np.float32),
                }
            )
        )
    pd.concat(frames).to_parquet(folder / "predictions.parquet", index=False)


def write_bundle(
    results: list[HorizonResult],
    weights: dict[str, dict[str, dict[str, float]]],
    store: FeatureStore,
    params: Params,
    gates: tuple[Gate, ...],
    folder: Path,
) -> None:
    """What is needed to predict on: the last fold's models, what was fitted with them, and their weights."""
    number = int(results[0].weights.folds[-1])
    last = f"fold_{number:02d}"
    for name in params.models:
        shutil.copytree(RESULTS / "train" / name / "folds" / last, folder / "models" / name)
    (folder / "inputs").mkdir()
    for path in sorted((RESULTS / "tokenize" / last).glob("*.json")):
        shutil.copyfile(path, folder / "inputs" / path.name)
    manifest = {
        "promoted": promoted(gates),
        "horizons": [result.horizon for result in results],
        "delay": store.delay,
        "weights": {horizon: by_fold[f"fold {number}"] for horizon, by_fold in weights.items()},
    }
    write_json(folder / "manifest.json", manifest)


if __name__ == "__main__":
    run("stack", main)
