"""The stack's results in the form that its page shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from factor_data import FoldConfig, checked, needed_purge
from factor_metrics import overfit_gap, promoted, redundant_pairs
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
from stages.drawing.shared import picture_of_folds, quality_rules, shared_facts, universe
from stages.json_files import read_json
from stages.judging.pages import StackedHorizon, StackPage, forecasts, result_rows
from stages.params.evaluate import EvaluateParams
from stages.running.planned import Plan


def stack_page(page: StackPage, plan: Plan, split: Path) -> ReportData:
    """Gather everything the page shows; `split` is the folder with dataset.json, quality.json and folds.json."""
    dataset, models = read_json(checked(split, "dataset.json")), list(page.horizons[0].models)
    horizons = {one.subject.horizon: one for one in page.horizons}
    stack = "their stack" if page.horizons[0].has_stack else "no stack"
    return ReportData(
        title="Factorcast: out-of-fold results",
        subtitle=f"{dataset['name']} · {len(models)} models and {stack}",
        promoted=promoted(page.gates),
        facts=facts(page, plan),
        gates=page.gates,
        rows=[row for one in page.horizons for row in result_rows(one)],
        floors=page.floors,
        attained=[
            row
            for one in page.horizons
            for name, judged in forecasts(one).items()
            for row in attained_row(name, judged, one.subject)
        ],
        ic_series={h: series(one, "rank_ic", one.subject.attainable) for h, one in horizons.items()},
        standard_errors={h: standard_error(one.subject) for h, one in horizons.items()},
        spread_series={h: series(one, "spread") for h, one in horizons.items()},
        turnover_series={h: series(one, "turnover") for h, one in horizons.items()},
        profiles={h: one.subject.profile for h, one in horizons.items()},
        weights={
            h: WeightTable(folds=[f"fold {fold}" for fold in one.folds], models=models, matrix=one.weights)
            for h, one in horizons.items()
        },
        diversity={h: diversity(one, models, plan) for h, one in horizons.items()},
        overfit=[line for h in horizons for line in overfit(h, page, plan)],
        fold_picture=picture_of_folds(split, page.calendar),
        universe=universe(dataset),
        row_counts=[one.subject.row_counts for one in page.horizons],
        quality=quality_rules(split),
    )


def facts(page: StackPage, plan: Plan) -> dict[str, str]:
    """Return the facts at the head of the page."""
    first = page.horizons[0]
    training = (
        f"seed {plan.value('train.seed')}, ZeRO stage {plan.value('train.zero.stage')}, loss {plan.value('train.loss')}"
    )
    folds = "the first one only teaches the stack its weights" if first.has_stack else page.gates[0].rule
    left_out = {f"Left out: {name}": reason for name, reason in page.left_out.items()}
    return {
        "Folds": f"{len(first.folds)}; {folds}",
        **left_out,
        "Purge and embargo": purge_and_embargo(page, plan),
        "Training": training,
        **shared_facts(first.subject.dates, page.delay, plan.section("evaluate", EvaluateParams)),
    }


def series(one: StackedHorizon, name: str, attainable: NDArray[np.float64] | None = None) -> DateSeries:
    """A series of the stack and every model, and what is attainable where that is known."""
    values = {forecast: getattr(judged, name) for forecast, judged in forecasts(one).items()}
    if attainable is not None:
        values["attainable"] = attainable
    return date_series(one.subject.dates, values)


def diversity(one: StackedHorizon, models: Sequence[str], plan: Plan) -> Diversity:
    """Return the rank correlations between the models, with the pairs that the gate calls redundant."""
    pairs = redundant_pairs(one.correlation, models, plan.value("stack.gates.max_correlation"))
    return Diversity(
        names=models,
        correlation=one.correlation,
        redundant=[(first, second) for first, second, _ in pairs],
    )


def overfit(horizon: int, page: StackPage, plan: Plan) -> list[Overfit]:
    """Return the gap between validation and test of each model at one horizon, with the gate's threshold."""
    return [
        Overfit(
            name=name,
            horizon=horizon,
            valid_rank_ic=metrics[f"h{horizon}"]["valid_rank_ic"],
            test_rank_ic=metrics[f"h{horizon}"]["rank_ic"],
            gap=overfit_gap(metrics[f"h{horizon}"]),
            threshold=plan.value("stack.gates.max_overfit_gap"),
        )
        for name, metrics in page.valid.items()
    ]


def purge_and_embargo(page: StackPage, plan: Plan) -> str:
    """Return purge and embargo in words; by default those that the labels need."""
    folds = plan.section("split.folds", FoldConfig)
    needed = needed_purge([one.subject.horizon for one in page.horizons], page.delay)
    purge = needed if folds.purge is None else folds.purge
    embargo = "the scheme's own embargo" if folds.embargo is None else f"an embargo of {folds.embargo}"
    return f"{purge} dates and {embargo} ({folds.scheme} folds)"
