"""The keys of section `train` that a tabular model is fitted with: the others are not in its plan."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from factor_data import TargetKind, WeightParams

NoSignal = Literal["leave_out", "fail"]


@dataclass(frozen=True, kw_only=True)
class TabularParams:
    """The keys of `train` that a linear model or trees are fitted with."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    seed: int
    """Seed of whatever the model draws."""
    target: TargetKind
    """Per-date transform of the label, or its direction by the label's own rule."""
    weights: WeightParams | None
    """How much windows and dates of training count; null: all the same."""
    threads: int
    """CPU threads of the process: part of the experiment, because it decides rounding."""
    determinism: Literal["bitwise", "fast"]
    """Written into the metadata; it does not change how a tabular model is fitted."""
    no_signal: NoSignal
    """A model whose forecasts are constant on every valid date of a fold has no part in the stack, or ends the run."""
    start: Literal["cold", "previous", "best_previous"]
    """Written into the metadata; every fold of a tabular model begins anew."""


TABULAR_KEYS = tuple(one.name for one in dataclasses.fields(TabularParams))
