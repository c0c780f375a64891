"""stack: combine the models out of fold, nested in time; judge the result, hold it against the gates, report.

The weights of a fold are fitted on earlier folds' out-of-fold predictions, so the first fold has no stack: every
number of this stage, also those of models and floors, is on the dates of the later folds.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import FeatureStore
from factor_metrics import (
    Evaluation,
    Gate,
    build_report,
    constant_share,
    evaluate_gates,
    prediction_correlation,
    promoted,
)
from factor_models import StackResult, stack_oof
from stages.judge import judge, judge_floors, summary
from stages.oof import OutOfFold
from stages.params import Params, read_params
from stages.report_data import report_data
from stages.run import RESULTS, StageError, read_json, run, stage_output, write_json


@dataclass(frozen=True, kw_only=True)
class HorizonResult:
    """All there is to say of one horizon, on the dates that have a stack."""

    horizon: int
    dates: NDArray[np.datetime64]
    prediction: NDArray[np.float64]
    stack: Evaluation
    models: dict[str, Evaluation]
    floors: dict[str, Evaluation]
    weights: StackResult
    correlation: NDArray[np.float64]
    constant_shares: dict[str, float]
    attainable: NDArray[np.float64] | None


def main() -> None:
    params = read_params()
    store = FeatureStore(RESULTS / "tokenize")
    models = {
        name: OutOfFold(RESULTS / "train" / name / "predictions.parquet", store) for name in params.models
    }
    valid = {name: read_json(RESULTS / "evaluate" / name / "metrics.json") for name in params.models}
    with stage_output("stack") as folder:
        results = [combine(head, store, models, params) for head in range(len(store.horizons))]
        gates = hold_against_gates(results[0], valid, params)
        write_predictions(results, store, models, folder)
        write_json(folder / "weights.json", {f"h{r.horizon}": weights_by_fold(r, params) for r in results})
        write_json(
            folder / "gates.json", {"promoted": promoted(gates), "gates": [asdict(gate) for gate in gates]}
        )
        write_json(folder / "metrics.json", {f"h{r.horizon}": stack_metrics(r) for r in results})
        write_bundle(results, params, gates, folder / "bundle")
        data = report_data(results, valid, gates, params, split=RESULTS / "split")
        (folder / "report.html").write_text(build_report(data), encoding="utf-8")


def combine(head: int, store: FeatureStore, models: dict[str, OutOfFold], params: Params) -> HorizonResult:
    """Stack one horizon and judge stack, models and floors on the dates that have a stack."""
    horizon, any_model = store.horizons[head], next(iter(models.values()))
    dates, fold = any_model.dates("test"), any_model.fold_of_date()
    predictions = np.stack([model.matrix(horizon, "test") for model in models.values()])
    label = store.matrix(store.labels[:, head], dates)
    num_symbols = label.shape[1]
    weights = stack_oof(
        predictions.reshape(len(models), -1),
        label.reshape(-1),
        np.repeat(np.searchsorted(store.dates, dates), num_symbols),
        np.repeat(fold, num_symbols),
        alpha=params.stack.alpha,
        purge=store.delay + horizon,
        positive=params.stack.positive,
    )
    stacked = weights.prediction.reshape(label.shape)
    scored = np.isfinite(stacked).any(axis=1)
    if not scored.any():
        raise StageError(
            f"horizon {horizon}: no fold has an earlier one to fit weights on; the stack needs two folds"
        )
    stacked, label, predictions, dates = stacked[scored], label[scored], predictions[:, scored], dates[scored]
    config = params.evaluate
    return HorizonResult(
        horizon=horizon,
        dates=dates,
        prediction=stacked,
        stack=judge(stacked, label, horizon, config),
        models={name: judge(predictions[i], label, horizon, config) for i, name in enumerate(models)},
        floors=judge_floors(store, dates, stacked, label, horizon, config),
        weights=weights,
        correlation=prediction_correlation(predictions, config.min_symbols),
        constant_shares={name: constant_share(predictions[i]) for i, name in enumerate(models)}
        | {"stack": constant_share(stacked)},
        attainable=attainable_rank_ic(RESULTS / "split" / "truth.parquet", horizon, dates),
    )


def attainable_rank_ic(path: Path, horizon: int, dates: NDArray[np.datetime64]) -> NDArray[np.float64] | None:
    """Rank IC per date of the true expectation, on a simulated market; None on real data."""
    if not path.exists():
        return None
    truth = pd.read_parquet(path)
    truth = truth[truth["horizon"] == horizon]
    known = pd.Series(
        truth["attainable_rank_ic"].to_numpy(), index=truth["timestamp"].to_numpy().astype("datetime64[ns]")
    )
    return known.reindex(dates).to_numpy(dtype=np.float64)


def hold_against_gates(result: HorizonResult, valid: dict[str, Any], params: Params) -> tuple[Gate, ...]:
    """Every condition for promotion, at the first horizon."""
    gaps = {
        name: metrics[f"h{result.horizon}"]["valid_rank_ic"] - metrics[f"h{result.horizon}"]["rank_ic"]
        for name, metrics in valid.items()
    }
    return evaluate_gates(
        params.stack.gates,
        num_oof_rows=int(np.isfinite(result.prediction).sum()),
        stack_ic=result.stack.rank_ic,
        floor_ics={name: floor.rank_ic for name, floor in result.floors.items()},
        overfit_gaps=gaps,
        constant_shares=result.constant_shares,
        correlation=result.correlation,
        model_names=params.models,
        horizon=result.horizon,
        num_looks=(len(params.models) + 1) * len(params.tokenize.horizons),
    )


def stack_metrics(result: HorizonResult) -> dict[str, Any]:
    """The summary of a horizon; on a simulated market with what was attainable on the same dates."""
    metrics = summary(result.stack)
    metrics["best_floor_rank_ic"] = max(floor.rank_ic_summary.mean for floor in result.floors.values())
    if result.attainable is not None:
        attainable = float(np.nanmean(result.attainable))
        metrics["attainable_rank_ic"] = attainable
        metrics["attained"] = metrics["rank_ic"] / attainable
    return metrics


def weights_by_fold(result: HorizonResult, params: Params) -> dict[str, dict[str, float]]:
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


def write_bundle(results: list[HorizonResult], params: Params, gates: tuple[Gate, ...], folder: Path) -> None:
    """What is needed to predict on: the last fold's models, what was fitted with them, and their weights."""
    last = f"fold_{int(results[0].weights.folds[-1]):02d}"
    for name in params.models:
        shutil.copytree(RESULTS / "train" / name / "folds" / last, folder / "models" / name)
    (folder / "inputs").mkdir()
    for path in sorted((RESULTS / "tokenize" / last).glob("*.json")):
        shutil.copyfile(path, folder / "inputs" / path.name)
    manifest = {
        "promoted": promoted(gates),
        "horizons": [result.horizon for result in results],
        "delay": params.tokenize.delay,
        "weights": {
            f"h{r.horizon}": dict(zip(params.models, map(float, r.weights.weights[-1]), strict=True))
            for r in results
        },
    }
    write_json(folder / "manifest.json", manifest)


if __name__ == "__main__":
    run("stack", main)
