"""One model's results in the form that its page shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import checked
from factor_metrics import compare_samples
from factor_metrics.report import (
    DateSeries,
    Overfit,
    ReportData,
    ResultRow,
    Subject,
    attained_row,
    date_series,
    result_row,
    standard_error,
)
from stages.drawing.shared import (
    auc_facts,
    book_rule,
    origin_facts,
    parameters,
    picture_of_folds,
    quality_rules,
    quantile_series,
    shared_facts,
    universe,
)
from stages.json_files import read_json
from stages.judging.pages import ModelPage
from stages.judging.seeds import seeds_in_words
from stages.params.evaluate import EvaluateParams
from stages.running.planned import Plan

CURVES = ("loss", "score")
"""Numbers of an epoch that a page draws; the others are in DVCLive's files."""


def model_page(page: ModelPage, plan: Plan, split: Path, live: Path) -> ReportData:
    """Gather what the page of one model shows.

    `split` is the folder with dataset.json, quality.json and folds.json, `live` that of DVCLive's curves.
    """
    dataset, subjects, name = read_json(checked(split, "dataset.json")), page.subjects, page.subjects[0].name
    return ReportData(
        title=f"Factorcast: {name}",
        subtitle=f"{dataset['name']} · out-of-fold predictions of one model",
        subject=name,
        facts=facts(page, plan),
        rows=[row for one in subjects for row in result_rows(one)],
        floors=page.floors,
        attained=[row for one in subjects for row in attained_row(name, one.judged, one)],
        ic_series={one.label: beside_floor(one, "rank_ic", one.attainable) for one in subjects},
        standard_errors={one.label: standard_error(one) for one in subjects},
        spread_series={one.label: beside_floor(one, "spread") for one in subjects},
        turnover_series={one.label: beside_floor(one, "turnover") for one in subjects},
        overlaps={one.label: one.overlap for one in subjects},
        profiles={one.label: one.profile for one in subjects},
        overfit=[row for one in subjects for row in overfit(one, page.fold_of_date, page.valid[one.label])],
        quantile_series={one.label: quantile_series(one) for one in subjects},
        anatomies=page.anatomies,
        drift=page.drift,
        origin=origin_facts(page.origin, plan),
        parameters=parameters(plan.settings),
        curves=training_curves(live),
        importances=page.importances,
        books=page.books.found,
        no_books=page.books.without,
        book_rule=book_rule(plan.section("evaluate", EvaluateParams)),
        fold_picture=picture_of_folds(split, page.calendar),
        universe=universe(dataset),
        row_counts=[one.row_counts for one in subjects],
        quality=quality_rules(split),
    )


def facts(page: ModelPage, plan: Plan) -> dict[str, str]:
    """How the model was made and scored."""
    name = page.subjects[0].name
    zoo: dict[str, Any] = plan.value(f"zoo.{name}")
    settings = ", ".join(f"{key} {value}" for key, value in zoo.items())
    training = f"target {plan.value('train.target')}, seed {plan.value('train.seed')}"
    alone = {f"Seeds {label}": seeds_in_words(one) for label, one in page.metrics.items() if "seeds" in one}
    return {
        "Model": f"{name}: {settings}" if settings else name,
        "Training": f"{training}, loss {plan.value('train.loss')}, per fold",
        "Folds": f"{len(np.unique(page.fold_of_date))}, every date predicted by the fold that did not see it",
        **left_out_inputs(page.left_out),
        **alone,
        **auc_facts(page.metrics),
        **shared_facts(page.subjects, plan.section("evaluate", EvaluateParams)),
    }


def training_curves(live: Path) -> dict[str, DateSeries]:
    """Return the loss and the valid score of each epoch and fold; nothing of a model that has no epochs."""
    curves = {}
    for name in CURVES:
        found: dict[str, list[float]] = {}
        for path in sorted(live.glob(f"plots/metrics/fold_*/{name}.tsv"), key=numbers_in_name):
            rows = path.read_text(encoding="utf-8").splitlines()[1:]
            found[path.parent.name.replace("_", " ")] = [float(row.split("\t")[1]) for row in rows]
        longest = max(map(len, found.values()), default=0)
        if longest:
            padded = {fold: values + [np.nan] * (longest - len(values)) for fold, values in found.items()}
            curves[name] = DateSeries(dates=[f"epoch {epoch}" for epoch in range(1, longest + 1)], values=padded)
    return curves


def numbers_in_name(curve: Path) -> list[int]:
    """Fold and, where there are several, seed of a curve, by which curves are sorted."""
    return [int(part) for part in curve.parent.name.split("_") if part.isdigit()]


def left_out_inputs(left_out: Mapping[int, tuple[str, ...]]) -> dict[str, str]:
    """A line where inputs were unknown on all training rows of a fold; none where all were known."""
    said = "; ".join(f"fold {fold}: {', '.join(names)}" for fold, names in left_out.items())
    return {"Inputs left out": f"{said} (no known value on the training rows)"} if said else {}


def result_rows(subject: Subject) -> list[ResultRow]:
    """Return the rows of the model and of each floor for one label."""
    return [
        result_row(subject.name, "model", subject.judged, subject),
        *(result_row(name, "floor", judged, subject) for name, judged in subject.floors.items()),
    ]


def beside_floor(subject: Subject, series: str, attainable: NDArray[np.float64] | None = None) -> DateSeries:
    """A series of the model and of its best floor, and what is attainable where that is known."""
    floor = subject.best_floor
    values = {subject.name: getattr(subject.judged, series), floor: getattr(subject.floors[floor], series)}
    if attainable is not None:
        values["attainable"] = attainable
    return date_series(subject.dates, values)


def overfit(subject: Subject, folds: NDArray[np.int64], valid: NDArray[np.float64]) -> list[Overfit]:
    """Valid beside test rank IC: of all folds, then of each."""
    test, overlap = subject.judged.rank_ic, subject.overlap
    compared = {"all folds": compare_samples(valid[np.isfinite(valid)], test, overlap)}
    for position, fold in enumerate(np.unique(folds)):
        compared[f"fold {fold}"] = compare_samples(valid[position], test[folds == fold], overlap)
    return [
        Overfit(
            name=name,
            label=subject.label,
            valid_rank_ic=one.in_sample,
            test_rank_ic=one.out_of_sample,
            gap=one.degradation,
            t_stat=one.degradation_t_stat,
        )
        for name, one in compared.items()
    ]
