"""What the page of the stack shows of one label, and the stack beside its floors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from factor_data import FeatureStore, Panel
from factor_metrics.report import FloorRow, Subject, floor_rows
from stages.judging.ensemble import LabelResult, pruned_in_words
from stages.judging.judge import ordered_outcomes, profile, row_counts
from stages.judging.kept import Kept
from stages.judging.pages import StackedLabel, on_page, outer_quantiles
from stages.judging.pages import floors as all_floors
from stages.params.evaluate import EvaluateParams


def stacked_label(
    result: LabelResult,
    results: Sequence[LabelResult],
    store: FeatureStore,
    panel: Panel,
    config: EvaluateParams,
    of_labels: Kept,
) -> StackedLabel:
    """The stack of one label with what its page shows; it is calibrated against what its weights are fitted to."""
    label, dates = result.label, result.dates
    target = store.matrix(store.target("zscore", label), dates)
    known = {one.label: one.ordered[1] for one in results if np.array_equal(one.dates, dates)}
    missing = [one.label for one in results if one.label not in known]
    others = ordered_outcomes(missing, dates, store, result.view)
    outcomes = {one.label: (known | others)[one.label] for one in results}
    subject = Subject(
        name="stack",
        label=label,
        overlap=result.overlap,
        dates=result.view.dates,
        judged=result.stack,
        floors=result.floors,
        attainable=result.attainable,
        profile=profile(result.ordered[0], target, label, outcomes, store, config, result.view),
        row_counts=row_counts(result.prediction, label, dates, store, panel, of_labels),
    )
    return StackedLabel(
        subject=on_page(subject),
        models={name: outer_quantiles(judged) for name, judged in result.models.items()},
        folds=tuple(int(fold) for fold in result.weights.folds),
        weights=result.weights.weights,
        learners=result.weights.learners,
        present=result.weights.present,
        pruned=pruned_in_words(result),
        equal=outer_quantiles(result.equal),
        correlation=result.correlation,
        errors=result.errors,
        contributions=result.contributions,
    )


def beside_floors(one: StackedLabel, config: EvaluateParams) -> list[FloorRow]:
    """The stack beside every floor, and each model beside the best one."""
    stack = one.subject
    rows = partial(floor_rows, label=stack.label, overlap=stack.overlap, config=config)
    best = {stack.best_floor: stack.floors[stack.best_floor]}
    return [*rows({"stack": stack.judged}, all_floors(one)), *rows(one.models, best)]
