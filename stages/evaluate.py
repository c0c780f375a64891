"""evaluate: one model's out-of-fold predictions judged per horizon, beside floors that need no model. Numbers only."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from factor_data import FeatureStore
from factor_metrics import EvaluationConfig, to_json_safe
from stages.json_files import write_json
from stages.judging.model import beside_floors, judge_heads, model_metrics, valid_rank_ic
from stages.judging.pages import ModelPage
from stages.judging.tables import per_fold, write_tables
from stages.params.evaluate import EvaluateParams
from stages.predictions import OutOfFold
from stages.records import write_record
from stages.running.files import RESULTS, stage_output
from stages.running.planned import check_loaded, read_plan
from stages.running.stage import StageError, run


def main() -> None:
    """Run the stage `evaluate` for one model."""
    if len(sys.argv) != 2:
        raise StageError("say which model: python -m stages.evaluate <model>")
    name = sys.argv[1]
    plan = read_plan("evaluate", name)
    config, store = plan.section("evaluate", EvaluateParams), FeatureStore(RESULTS / "tokenize")
    check_universe(config, len(store.symbols))
    oof = OutOfFold(RESULTS / "train" / name / "predictions.parquet", store)
    with stage_output(f"evaluate/{name}") as folder:
        subjects = judge_heads(name, oof, store, plan, config)
        floors = [row for one in subjects for row in beside_floors(one, config)]
        valid = {
            horizon: valid_rank_ic(store, oof, head, config.min_symbols) for head, horizon in enumerate(store.horizons)
        }
        metrics = to_json_safe(model_metrics(subjects, valid, oof, store, plan, config))
        write_tables(subjects, floors, folder)
        windows = per_fold(subjects, oof.fold_of_date())
        windows.to_csv(folder / "windows.csv", index=False)
        write_json(folder / "metrics.json", metrics)
        page = ModelPage(
            subjects=tuple(subjects),
            floors=tuple(floors),
            metrics=metrics,
            valid=valid,
            fold_of_date=oof.fold_of_date(),
            calendar=store.dates,
            delay=store.delay,
        )
        write_record(folder / "page.json", page)
        check_loaded(plan)
    print(windows.to_string(index=False, float_format=lambda value: f"{value:+.4f}"))
    tell(name, metrics)


def check_universe(config: EvaluationConfig, num_symbols: int) -> None:
    """Refuse an evaluation that the data cannot carry."""
    for key, value in (("quantiles", config.quantiles), ("min_symbols", config.min_symbols)):
        if value > num_symbols:
            raise StageError(
                f"params.yaml: evaluate.{key}: {value} must be at most the number of symbols, {num_symbols}"
            )


def tell(name: str, metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """The result in a line or two per horizon."""
    for key, values in metrics.items():
        print(
            f"{name} {key}: rank IC {signed(values['rank_ic'])} [{signed(values['ci_low'])}, "
            f"{signed(values['ci_high'])}], t {signed(values['t_stat'], 1)} over {effective(values)} effective dates, "
            f"best floor {signed(values['best_floor_rank_ic'])}"
        )
        if "accuracy" in values:
            print(
                f"{name} {key}: accuracy {values['accuracy']:.4f}, always the commoner "
                f"{values['majority_accuracy']:.4f}, MCC {signed(values['mcc'])}, AUC {values['auc']:.4f}"
            )


def effective(values: Mapping[str, Any]) -> str:
    """Return how many independent dates the dates are worth."""
    return "undefined" if values["effective_dates"] is None else f"{values['effective_dates']:,.0f}"


def signed(value: float | None, digits: int = 4) -> str:
    """Return a number with its sign, "undefined" for None."""
    return "undefined" if value is None else f"{value:+.{digits}f}"


if __name__ == "__main__":
    run("evaluate", main)
