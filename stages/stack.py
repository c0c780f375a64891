"""stack: combine the models out of fold, nested in time; judge the result, hold it against the gates. Numbers only.

The weights of a fold are learned on earlier folds' out-of-fold predictions and on what the first fold's models forecast
on its valid dates. Every number of this stage, also those of models and floors, is on the dates of all folds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from factor_data import FeatureStore, Panel, read_folds
from factor_metrics import format_gates, promoted, to_json_safe
from stages.json_files import read_json, write_json
from stages.judging.anatomy import anatomies
from stages.judging.books import judge_books, kept_books
from stages.judging.bundle import write_bundle
from stages.judging.drift import input_drift
from stages.judging.ensemble import combine, stack_metrics
from stages.judging.floor_members import floor_members, is_floor, scores_alone
from stages.judging.floors import kept_floors
from stages.judging.judge import kept_labels
from stages.judging.origin import origin
from stages.judging.pages import THIS_RUN, StackPage, looks_of_run, result_rows
from stages.judging.stacked import beside_floors, stacked_label
from stages.judging.summary import write_summary
from stages.judging.tables import scored_symbols, write_curve, write_series, write_stack_bars
from stages.judging.verdict import hold_against_gates
from stages.params.evaluate import EvaluateParams
from stages.params.stack import StackParams
from stages.predictions import OutOfFold, write_stack
from stages.records import write_record
from stages.running.files import RESULTS, stage_output, stored
from stages.running.planned import check_loaded, read_plan
from stages.running.stage import StageError, run
from stages.running.trials import note_trial
from stages.scoring import Scoring


def main() -> None:
    """Run the stage `stack`: combine the models, judge the combination and hold it against the gates."""
    plan = read_plan("stack")
    params, config = plan.section("stack", StackParams), plan.section("evaluate", EvaluateParams)
    store, panel = FeatureStore(RESULTS / "tokenize"), Panel.load(RESULTS / "split" / "panel")
    trained = {name: OutOfFold(stored(f"train/{name}", "predictions.parquet"), store) for name in plan.value("models")}
    floors = floor_members(params.floors, store, read_folds(stored("split", "folds.json")))
    models, left_out = with_signal(trained | floors, Scoring.of(vars(config)))
    names, listed = list(models), plan.value("labels")
    known = [name for name in names if not is_floor(name)]
    valid = {name: read_json(stored(f"evaluate/{name}", "metrics.json")) for name in known}
    valid |= scores_alone({name: models[name] for name in names if is_floor(name)}, store, config.min_symbols)
    with stage_output("stack") as folder:
        kept = kept_floors(plan)
        results = [combine(label, store, panel, models, params, config, kept) for label in listed]
        stacked = {one.label: (one.dates, one.prediction) for one in results}
        books = judge_books(stacked, store, panel, config, stored("split", "expected.parquet"), kept_books(plan))
        net = {one.label: books.scores(one.label) for one in results}
        gates = hold_against_gates(results, models, store, params, config, measured=net, alone=valid)
        if params.on_fail == "stop" and not promoted(gates):
            raise StageError(f"not promoted, and stack.on_fail is stop:\n{format_gates(gates)}")
        weights = {result.label: result.weights_by_fold() for result in results}
        of_labels = kept_labels(plan)
        labels = [stacked_label(result, results, store, panel, config, of_labels) for result in results]
        page = StackPage(
            labels=tuple(labels),
            gates=gates,
            floors=tuple(row for one in labels for row in beside_floors(one, config)),
            valid=valid,
            left_out=left_out,
            calendar=store.dates,
            anatomies=anatomies(stacked, store, panel, config, {one.label: one.ordered for one in results}),
            books=books,
            drift=tuple(input_drift(store, read_folds(stored("split", "folds.json")))),
            origin=origin(plan, ("split/panel", "tokenize", *(f"train/{name}" for name in known))),
            pooled={one.label: one.pooled for one in results if one.pooled},
        )
        metrics = to_json_safe({one.label: stack_metrics(one) | net[one.label] for one in results})
        write_stack(results, store, models.values(), folder / "predictions.parquet")
        write_json(folder / "weights.json", to_json_safe(weights))
        looks = {"num": looks_of_run(len(names), len(listed)), "counted": THIS_RUN}
        verdict = {"promoted": promoted(gates), "gates": gates, "left_out": left_out, "looks": looks}
        write_json(folder / "gates.json", to_json_safe(verdict))
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "comparison.json", to_json_safe([row for one in labels for row in result_rows(one)]))
        write_json(folder / "floors.json", to_json_safe(page.floors))
        scored = {
            one.label: one.view.total(
                scored_symbols(one.prediction, store.matrix(store.label(one.label), one.dates), store.symbols)
            )
            for one in results
        }
        equal = {one.subject.label: one.equal.rank_ic for one in labels}
        write_series([one.subject for one in labels], scored, books, folder, equal)
        write_curve(labels[0].subject, folder / "rank_ic.csv")
        write_stack_bars(labels, folder / "models.csv")
        write_record(folder / "page.json", page)
        write_bundle(results, weights, store, panel, models, left_out, gates, plan, folder / "bundle")
        check_loaded(plan)
        with TemporaryDirectory(prefix=".summary-", dir=folder) as aside:
            summary = write_summary(Path(aside), metrics, labels, promoted(gates))
            summary.replace(RESULTS / "summary.json")
    note_trial("stack", plan, RESULTS / "stack")


def with_signal(models: Mapping[str, OutOfFold], scoring: Scoring) -> tuple[dict[str, OutOfFold], dict[str, str]]:
    """Models that take part, and those that have no signal, each with its reason. StageError where none takes part."""
    reasons = {name: model.no_signal(scoring) for name, model in models.items()}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    for name, reason in left_out.items():
        print(f"{name} is left out of the ensemble: {reason}", file=sys.stderr)
    if len(left_out) == len(models):
        said = "; ".join(f"{name} ({reason})" for name, reason in left_out.items())
        raise StageError(f"no model has a signal, so there is nothing to combine: {said}")
    return {name: model for name, model in models.items() if name not in left_out}, left_out


if __name__ == "__main__":
    run("stack", main)
