"""What evaluate and stack write for the pages that are drawn of them: numbers, no words. Written and read by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_metrics import Evaluation, Gate
from factor_metrics.report import FloorRow, ResultRow, Subject, result_row


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


@dataclass(frozen=True, kw_only=True)
class StackedLabel:
    """One label of the stack."""

    subject: Subject
    models: Mapping[str, Evaluation]
    """The models on the dates that have a stack."""
    folds: tuple[int, ...]
    weights: NDArray[np.float64]
    """(num_folds, num_models); NaN for the first fold."""
    correlation: NDArray[np.float64]
    """(num_models, num_models) between the models' predictions."""

    @property
    def has_stack(self) -> bool:
        """Return whether any fold has weights: a single one has no earlier fold to learn them from."""
        return bool(np.isfinite(self.weights).any())


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


def forecasts(one: StackedLabel) -> dict[str, Evaluation]:
    """Return the stack, where there is one, and all models for one label, by name."""
    return {**({"stack": one.subject.judged} if one.has_stack else {}), **one.models}


def result_rows(one: StackedLabel) -> list[ResultRow]:
    """Stack, models and floors of one label."""
    return [
        *(
            result_row(name, "stack" if name == "stack" else "model", judged, one.subject)
            for name, judged in forecasts(one).items()
        ),
        *(result_row(name, "floor", judged, one.subject) for name, judged in one.subject.floors.items()),
    ]
