"""How far a refitted stack says what the judged one says, on dates that neither was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_metrics import rank_ic
from factor_models import Members, combine_levels
from stages.judging.members import without_constant_dates
from stages.scoring import Scoring

Forecasts = Mapping[str, Mapping[str, NDArray[np.floating]]]
"""Member -> label -> (num_dates, num_symbols)."""
STACK = "stack"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Rank correlation of refitted and judged forecasts, the mean over dates; NaN where none is defined."""

    label: str
    model: str
    correlation: float
    num_dates: int
    """Dates, or blocks of them, on which it is defined."""


def stacked(manifest: Mapping[str, Any], forecasts: Forecasts, label: str) -> NDArray[np.float64]:
    """Return the stack of a label by the recipe of a bundle, (num_dates, num_symbols); NaN without any member.

    A date is combined by itself, as the bundle is served.
    """
    weights: dict[str, float] = manifest["weights"][label]
    recipe, shares = manifest["recipe"], np.array(list(weights.values()), dtype=np.float64)
    said = [forecasts[name][label] for name in weights]
    shape = said[0].shape
    if recipe["kind"] == "weighted_levels":
        levels = np.array([recipe["levels"][label][name] for name in weights], dtype=np.float64)
        flat = np.stack([one.reshape(-1) for one in said])
        return combine_levels(flat, shares[:, None], levels[:, :1], levels[:, 1:]).reshape(shape)
    rows = np.stack([without_constant_dates(one) for one in said])
    result = np.full(shape, np.nan)
    for date in range(shape[0]):
        nothing = np.zeros(shape[1], dtype=np.int64)
        members = Members(rows[:, date], np.full(shape[1], np.nan), nothing, nothing)
        found, combined = members.combine(0, shares, np.ones(len(rows), dtype=bool))
        result[date, found] = float(recipe["scales"][label]) * combined
    return result


def agreements(
    refitted: tuple[Mapping[str, Any], Forecasts], judged: tuple[Mapping[str, Any], Forecasts], scoring: Scoring
) -> list[Agreement]:
    """Compare the stack of every label, and each member; both sides are (manifest, forecasts) on the same dates."""
    found = []
    for label in judged[0]["heads"]:
        pairs = {name: (refitted[1][name][label], judged[1][name][label]) for name in judged[1]}
        pairs[STACK] = (stacked(*refitted, label), stacked(*judged, label))
        for name, (new, old) in pairs.items():
            by_date = rank_ic(scoring.rows(new), scoring.rows(old), scoring.min_symbols)
            known = by_date[np.isfinite(by_date)]
            mean = float(known.mean()) if len(known) else float("nan")
            found.append(Agreement(label=label, model=name, correlation=mean, num_dates=len(known)))
    return found


def disagreements(found: list[Agreement], least: float) -> list[str]:
    """Say in words for which labels the stacks agree by less than `least`, or cannot be compared."""
    return [
        f"{one.label}: {one.correlation:+.3f} over {one.num_dates} dates must be >= {least:g}"
        for one in found
        if one.model == STACK and not one.correlation >= least
    ]
