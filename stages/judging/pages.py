"""What evaluate and stack write for the pages that are drawn of them: numbers, no words. Written and read by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from factor_metrics import Anatomy, BookResult, Evaluation, Gate, Importance
from factor_metrics.report import Contribution, DriftRow, FloorRow, ResultRow, Subject, result_row

EQUAL_WEIGHT = "equal_weight"
"""Name of the models' mean among the floors of a stack."""
THIS_RUN = "this run only: its models and their stack, for every label"
"""Results that a run counts as looked at: it cannot know of others and stay reproducible."""


@dataclass(frozen=True, kw_only=True)
class Books:
    """The book of each label, or why it has none."""

    found: Mapping[str, BookResult]
    without: Mapping[str, str]
    """Label -> the reason."""

    def scores(self, label: str) -> dict[str, float]:
        """Return the numbers of a label's book for metrics.json; none without a book."""
        return self.found[label].scores.to_dict() if label in self.found else {}


@dataclass(frozen=True, kw_only=True)
class ModelPage:
    """One model, judged."""

    subjects: tuple[Subject, ...]
    """Per label."""
    floors: tuple[FloorRow, ...]
    metrics: Mapping[str, Mapping[str, float | None]]
    """metrics.json."""
    valid: Mapping[str, NDArray[np.float64]]
    """Per label (num_folds, num_valid_dates) the rank IC on valid dates."""
    fold_of_date: NDArray[np.int64]
    """(num_dates,) the fold that tests each scored date."""
    calendar: NDArray[np.datetime64]
    """All dates of the panel."""
    left_out: Mapping[int, tuple[str, ...]]
    """Fold -> inputs that were unknown on all its training rows."""
    anatomies: Mapping[str, Anatomy]
    """Per label what its forecast is made of."""
    books: Books
    """The model as a book after costs, per label."""
    drift: tuple[DriftRow, ...]
    origin: Mapping[str, str]
    """Digests of what it was made of (`stages.judging.origin`)."""
    importances: Mapping[str, Importance] = field(default_factory=dict)
    """Per label what the forecast rests on; empty where it was not measured."""


@dataclass(frozen=True, kw_only=True)
class StackedLabel:
    """One label of the stack."""

    subject: Subject
    models: Mapping[str, Evaluation]
    """The models on the dates that have a stack."""
    folds: tuple[int, ...]
    weights: NDArray[np.float64]
    """(num_folds, num_models) of the stack."""
    learners: tuple[str, ...]
    """(num_folds,) the meta learner of each fold."""
    present: NDArray[np.float64]
    """(num_folds, num_models) share of the stacked rows on which a model takes part."""
    pruned: tuple[str, ...]
    """Models that folds go without as too much like another one, each in words."""
    equal: Evaluation
    """The models with equal weights."""
    correlation: NDArray[np.float64]
    """(num_models, num_models) between the models' predictions."""
    errors: NDArray[np.float64]
    """(num_models, num_models) between the models' errors."""
    contributions: tuple[Contribution, ...]
    """What each model adds to the stack."""


@dataclass(frozen=True, kw_only=True)
class StackPage:
    """The stack, judged."""

    labels: tuple[StackedLabel, ...]
    gates: tuple[Gate, ...]
    floors: tuple[FloorRow, ...]
    valid: Mapping[str, Mapping[str, Mapping[str, float]]]
    """metrics.json of each model."""
    left_out: Mapping[str, str]
    """Models without a part in the stack, each with its reason."""
    calendar: NDArray[np.datetime64]
    anatomies: Mapping[str, Anatomy]
    """Per label what its forecast is made of."""
    books: Books
    """The stack as a book after costs, per label."""
    drift: tuple[DriftRow, ...]
    origin: Mapping[str, str]
    """Digests of what it was made of (`stages.judging.origin`)."""
    pooled: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Per label the scores over all cells (date, symbol), where forecasts are scored over time."""


def on_page(subject: Subject) -> Subject:
    """Return a subject whose floors have what pages show of them (`outer_quantiles`)."""
    return replace(subject, floors={name: outer_quantiles(floor) for name, floor in subject.floors.items()})


def outer_quantiles(judged: Evaluation) -> Evaluation:
    """Return an evaluation with its lowest and highest quantile alone, of which the spread is made."""
    return replace(judged, quantile_returns=judged.quantile_returns[:, [0, -1]])


def looks_of_run(num_models: int, num_labels: int) -> int:
    """Return how many results a run shows: models and their stack for every label."""
    return (num_models + 1) * num_labels


def forecasts(one: StackedLabel) -> dict[str, Evaluation]:
    """Return the stack and all models for one label, by name."""
    return {"stack": one.subject.judged, **one.models}


def floors(one: StackedLabel) -> dict[str, Evaluation]:
    """Return what a stack of one label is held against: equal weights, then what needs no model."""
    return {EQUAL_WEIGHT: one.equal, **one.subject.floors}


def result_rows(one: StackedLabel) -> list[ResultRow]:
    """Stack, models and floors of one label."""
    return [
        *(
            result_row(name, "stack" if name == "stack" else "model", judged, one.subject)
            for name, judged in forecasts(one).items()
        ),
        *(result_row(name, "floor", judged, one.subject) for name, judged in floors(one).items()),
    ]
