"""evaluate: one model's out-of-fold predictions judged per label, beside floors that need no model. Numbers only."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from factor_data import FeatureStore, Panel
from factor_metrics import Importance, format_interval, to_json_safe
from factor_models import KLINE_MODELS
from stages.json_files import write_json
from stages.judging.anatomy import anatomies
from stages.judging.books import judge_books, kept_books
from stages.judging.drift import forecast_drift
from stages.judging.model import beside_floors, judge_heads, model_metrics, valid_rank_ic
from stages.judging.origin import origin
from stages.judging.pages import Books, ModelPage, on_page
from stages.judging.seeds import read_seeds, seed_scores, seeds_in_words
from stages.judging.tables import per_fold, scored_symbols, write_series, write_tables
from stages.judging.time_series import scoring_view, symbol_table
from stages.params.evaluate import EvaluateParams
from stages.predictions import OutOfFold
from stages.records import write_record
from stages.running.files import RESULTS, stage_output, stored
from stages.running.planned import check_loaded, read_plan
from stages.running.stage import StageError, run
from stages.running.trials import note_trial
from stages.universe import check_benchmark, check_symbols


def main() -> None:
    """Run the stage `evaluate` for one model."""
    if len(sys.argv) != 2:
        raise StageError("say which model: python -m stages.evaluate <model>")
    name = sys.argv[1]
    plan = read_plan("evaluate", name)
    config, store = plan.section("evaluate", EvaluateParams), FeatureStore(RESULTS / "tokenize")
    check_symbols(vars(config), len(store.symbols))
    check_benchmark({"portfolio": vars(config.portfolio)}, store.symbols)
    oof = OutOfFold(stored(f"train/{name}", "predictions.parquet"), store)
    with stage_output(f"evaluate/{name}") as folder:
        dates, panel = oof.dates("test"), Panel.load(RESULTS / "split" / "panel")
        view = scoring_view(config, dates, oof.fold_of_date())
        predictions = {label: (dates, oof.matrix(label, "test")) for label in plan.value("labels")}
        subjects, ordered = judge_heads(name, predictions, view, store, panel, plan, config)
        floors = [row for one in subjects for row in beside_floors(one, config)]
        valid = {label: valid_rank_ic(store, oof, label, config) for label in plan.value("labels")}
        books = judge_books(predictions, store, panel, config, stored("split", "expected.parquet"), kept_books(plan))
        found = model_metrics(subjects, valid, oof, store, plan, config)
        of_seeds = seed_scores(
            read_seeds(stored(f"train/{name}", "folds"), store), subjects, store, view, config.min_symbols
        )
        metrics = to_json_safe(
            {label: {**scores, **books.scores(label), **of_seeds.get(label, {})} for label, scores in found.items()}
        )
        write_tables(subjects, floors, folder)
        scored = {
            label: view.total(scored_symbols(prediction, store.matrix(store.label(label), dates), store.symbols))
            for label, (_, prediction) in predictions.items()
        }
        write_series(subjects, scored, books, folder)
        symbol_table(predictions, store).to_csv(folder / "symbols.csv", index=False)
        windows = per_fold(subjects, view.fold)
        windows.to_csv(folder / "windows.csv", index=False)
        write_json(folder / "metrics.json", metrics)
        page = ModelPage(
            subjects=tuple(on_page(one) for one in subjects),
            floors=tuple(floors),
            metrics=metrics,
            valid=valid,
            fold_of_date=view.fold,
            calendar=store.dates,
            left_out=left_out_of_folds(store, oof),
            anatomies=anatomies(predictions, store, panel, config, ordered),
            books=books,
            drift=tuple(forecast_drift(oof)),
            origin=origin(plan, ("split/panel", "tokenize", f"train/{name}")),
            importances=importances_of(name, store, config),
        )
        write_record(folder / "page.json", page)
        check_loaded(plan)
    note_trial(name, plan, RESULTS / "evaluate" / name)
    print(windows.to_string(index=False, float_format=lambda value: f"{value:+.4f}"))
    tell_books(name, books)
    tell(name, metrics, {one.label: one.judged.rank_ic_summary.undefined for one in subjects})


def importances_of(name: str, store: FeatureStore, config: EvaluateParams) -> dict[str, Importance]:
    """Return by label what the model's forecasts rest on; nothing where params.yaml does not ask for it."""
    if config.importance is None:
        return {}
    if name in KLINE_MODELS:
        print(f"{name} reads bars and no inputs with names: nothing to shuffle for evaluate.importance")
        return {}
    room = import_module("stages.judging.importance")
    found: dict[str, Importance] = room.importances(name, store, config, config.importance)
    return found


def left_out_of_folds(store: FeatureStore, oof: OutOfFold) -> dict[int, tuple[str, ...]]:
    """Fold -> the inputs that no model of it could learn from."""
    folds = np.unique(oof.fold_of_date()).tolist()
    return {fold: names for fold in folds if (names := store.left_out(fold))}


def tell(name: str, metrics: Mapping[str, Mapping[str, Any]], undefined: Mapping[str, str]) -> None:
    """The result in a line or two per label; `undefined` says why there is no t."""
    for key, values in metrics.items():
        t_stat = f"none ({undefined[key]})"
        if not undefined[key]:
            t_stat = f"{values['t_stat']:+.1f} ({values['effective_dates']:,.0f} effective dates)"
        print(
            f"{name} {key}: rank IC {signed(values['rank_ic'])} [{signed(values['ci_low'])}, "
            f"{signed(values['ci_high'])}], t {t_stat}, best floor {signed(values['best_floor_rank_ic'])}"
        )
        if "seeds" in values:
            print(f"{name} {key}: {seeds_in_words(values)}")
        if "accuracy" in values:
            print(
                f"{name} {key}: accuracy {values['accuracy']:.4f}, always the commoner "
                f"{values['majority_accuracy']:.4f}, MCC {signed(values['mcc'])}, AUC {values['auc']:.4f}"
            )


def tell_books(name: str, books: Books) -> None:
    """What is left after costs, in a line per label; where no label has a book, why, in one line."""
    for label, book in books.found.items():
        one = book.scores
        if not one.book_dates:
            print(f"{name} {label}: after costs nothing, since no date tells symbols apart")
            continue
        print(
            f"{name} {label}: after costs {one.net_return:+.1%} a year, before {one.gross_return:+.1%}; Sharpe ratio "
            f"{one.net_sharpe:+.2f} {format_interval(one.net_sharpe_low, one.net_sharpe_high, 2)}, break-even at "
            f"{one.break_even:+.1f} basis points a side"
        )
    reasons: dict[str, list[str]] = {}
    for label, reason in books.without.items():
        reasons.setdefault(reason, []).append(label)
    for reason, labels in reasons.items():
        print(f"{name} {', '.join(labels)}: no book after costs: {reason}")


def signed(value: float | None, digits: int = 4) -> str:
    """Return a number with its sign, "undefined" for None."""
    return "undefined" if value is None else f"{value:+.{digits}f}"


if __name__ == "__main__":
    run("evaluate", main)
