"""The stack's results in the form that its page shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import FoldConfig, checked
from factor_metrics import model_clusters, num_effective_models, overfit_gap, promoted, redundant_pairs
from factor_metrics.report import (
    DateSeries,
    Diversity,
    Overfit,
    ReportData,
    WeightTable,
    attained_row,
    date_series,
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
from stages.judging.pages import THIS_RUN, StackedLabel, StackPage, forecasts, looks_of_run, result_rows
from stages.params.evaluate import EvaluateParams
from stages.running.planned import Plan

FIRST_FOLD = {"valid": "what its valid dates teach", "equal": "equal weights"}
"""By `stack.first_fold`."""


def stack_page(page: StackPage, plan: Plan, split: Path) -> ReportData:
    """Gather everything the page shows; `split` is the folder with dataset.json, quality.json and folds.json."""
    dataset, models = read_json(checked(split, "dataset.json")), list(page.labels[0].models)
    labels = {one.subject.label: one for one in page.labels}
    return ReportData(
        title="Factorcast: out-of-fold results",
        subtitle=f"{dataset['name']} · {len(models)} models and their stack",
        promoted=promoted(page.gates),
        facts=facts(page, plan),
        gates=page.gates,
        rows=[row for one in page.labels for row in result_rows(one)],
        floors=page.floors,
        attained=[
            row
            for one in page.labels
            for name, judged in forecasts(one).items()
            for row in attained_row(name, judged, one.subject)
        ],
        ic_series={name: series(one, "rank_ic", one.subject.attainable) for name, one in labels.items()},
        standard_errors={name: standard_error(one.subject) for name, one in labels.items()},
        spread_series={name: series(one, "spread") for name, one in labels.items()},
        turnover_series={name: series(one, "turnover") for name, one in labels.items()},
        overlaps={name: one.subject.overlap for name, one in labels.items()},
        profiles={name: one.subject.profile for name, one in labels.items()},
        weights={
            name: WeightTable(folds=[f"fold {fold}" for fold in one.folds], models=models, matrix=one.weights)
            for name, one in labels.items()
        },
        diversity={name: diversity(one, models, plan) for name, one in labels.items()},
        overfit=[line for label in labels for line in overfit(label, page, plan)],
        quantile_series={name: quantile_series(one.subject) for name, one in labels.items()},
        anatomies=page.anatomies,
        drift=page.drift,
        origin=origin_facts(page.origin, plan),
        parameters=parameters(plan.settings),
        books=page.books.found,
        no_books=page.books.without,
        book_rule=book_rule(plan.section("evaluate", EvaluateParams)),
        fold_picture=picture_of_folds(split, page.calendar),
        universe=universe(dataset),
        row_counts=[one.subject.row_counts for one in page.labels],
        quality=quality_rules(split),
    )


def facts(page: StackPage, plan: Plan) -> dict[str, str]:
    """Return the facts at the head of the page."""
    first = page.labels[0]
    training = (
        f"seed {plan.value('train.seed')}, ZeRO stage {plan.value('train.zero.stage')}, loss {plan.value('train.loss')}"
    )
    by = ", learned by the AUC of directions" if plan.value("stack.learn_by") == "auc" else ""
    learners = {f"Weights for {one.subject.label}": " then ".join(one.learners) + by for one in page.labels}
    left_out = {f"Left out: {name}": reason for name, reason in page.left_out.items()}
    return {
        "Folds": f"{len(first.folds)}; the first one is stacked with {FIRST_FOLD[plan.value('stack.first_fold')]}",
        **learners,
        "Looks": looks(page),
        **left_out,
        "Purge and embargo": purge_and_embargo(plan),
        "Training": training,
        **{f"Training of {name}": words(own) for name, own in plan.value("own_train").items()},
        **auc_facts(page.pooled),
        **shared_facts([one.subject for one in page.labels], plan.section("evaluate", EvaluateParams)),
    }


def looks(page: StackPage) -> str:
    """Say how many results the gates count, and which."""
    count = looks_of_run(len(page.labels[0].models), len(page.labels))
    return f"looks counted: {count}, {THIS_RUN}; make gates counts those that git and DVC know as well"


def words(own: dict[str, Any]) -> str:
    """Return the keys of `train` that a model has of its own, as text."""
    return ", ".join(f"{key} {value}" for key, value in own.items())


def series(one: StackedLabel, name: str, attainable: NDArray[np.float64] | None = None) -> DateSeries:
    """A series of the stack and every model, and what is attainable where that is known."""
    values = {forecast: getattr(judged, name) for forecast, judged in forecasts(one).items()}
    if attainable is not None:
        values["attainable"] = attainable
    return date_series(one.subject.dates, values)


def diversity(one: StackedLabel, models: Sequence[str], plan: Plan) -> Diversity:
    """Return what each model adds and how alike they are, with the pairs that the gate calls redundant."""
    threshold = plan.value("stack.gates.max_correlation")
    pairs = redundant_pairs(one.correlation, models, threshold)
    return Diversity(
        names=models,
        correlation=one.correlation,
        redundant=[(first, second) for first, second, _ in pairs],
        errors=one.errors,
        clusters=model_clusters(one.correlation, models, threshold),
        effective=num_effective_models(one.correlation),
        contributions=one.contributions,
        pruned=one.pruned,
    )


def overfit(label: str, page: StackPage, plan: Plan) -> list[Overfit]:
    """Return the gap between validation and test of each model for one label, with the gate's threshold."""
    return [
        Overfit(
            name=name,
            label=label,
            valid_rank_ic=metrics[label]["valid_rank_ic"],
            test_rank_ic=metrics[label]["rank_ic"],
            gap=overfit_gap(metrics[label]),
            threshold=plan.value("stack.gates.max_overfit_gap"),
        )
        for name, metrics in page.valid.items()
    ]


def purge_and_embargo(plan: Plan) -> str:
    """Return purge and embargo in words; by default those that the labels need."""
    folds = plan.section("split.folds", FoldConfig)
    purge = plan.value("tokenize.reach") if folds.purge is None else folds.purge
    embargo = "the scheme's own embargo" if folds.embargo is None else f"an embargo of {folds.embargo}"
    return f"{purge} dates and {embargo} ({folds.scheme} folds)"
