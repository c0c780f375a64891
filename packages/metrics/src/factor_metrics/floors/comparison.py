"""Floors: signals without a model that every model has to beat.

A floor is a plain matrix (num_dates, num_symbols), such as the reversed return of the last five bars
(`price_floors` has them for closes). Which floors are used is a table of the caller; here are the one that knows
nothing, and the comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import as_series
from factor_metrics.inline import inline_html, inline_table
from factor_metrics.labels import same_labels
from factor_metrics.significance.summary import ICSummary, format_interval, paired_difference


@dataclass(frozen=True, kw_only=True)
class FloorComparison:
    """A model beside a floor, on the dates where both have an IC."""

    model: str
    """Name of the model."""
    floor: str
    """Name of the floor."""
    model_mean: float
    """Mean IC of the model on the common dates."""
    floor_mean: float
    """Mean IC of the floor on the common dates."""
    difference: float
    """model_mean - floor_mean."""
    ci_low: float
    """Lower end of the block-bootstrap interval of the difference."""
    ci_high: float
    """Upper end."""
    p_value: float
    """Two-sided p-value of the difference, see `mean_test`; NaN where the dates are too few."""
    effective_dates: float
    """Independent dates that would give the difference the same error."""
    num_dates: int
    """Common dates."""
    below_floor: bool
    """Not above the floor: the difference is 0, negative or unknown."""
    proven: bool
    """The whole interval of the difference is above 0."""

    def _repr_html_(self) -> str:
        verdict = "below the floor" if self.below_floor else "above the floor" if self.proven else "not proven"
        columns = ["", "mean IC", "difference", "low", "high", "p", "dates"]
        rows = [
            [self.model, self.model_mean, self.difference, self.ci_low, self.ci_high, self.p_value, self.num_dates],
            [self.floor, self.floor_mean, None, None, None, None, self.num_dates],
        ]
        return inline_html("FloorComparison", {"verdict": verdict}, inline_table(columns, rows))


@same_labels("floor_ics")
def best_floor(floor_ics: Mapping[str, ArrayLike]) -> str:
    """Return the name of the floor with the highest mean IC (the first by name on equal means).

    Floors whose IC is NaN on every date come last.
    """
    if not floor_ics:
        raise ValueError("floor_ics must name at least one floor, got none")
    return min(floor_ics, key=lambda name: (-_mean_or_worst(name, floor_ics[name]), name))


@same_labels("model_ic", "floor_ics")
def compare_with_floors(
    model_ic: ArrayLike,
    floor_ics: Mapping[str, ArrayLike],
    horizon: int = 1,
    confidence: float = 0.95,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, ICSummary]:
    """Return, per floor, the paired difference model - floor on common dates (see `paired_difference`)."""
    return {
        name: paired_difference(model_ic, floor_ics[name], horizon, confidence, num_bootstrap, seed)
        for name in floor_ics
    }


@same_labels("model_ics", "floor_ics")
def floor_table(
    model_ics: Mapping[str, ArrayLike],
    floor_ics: Mapping[str, ArrayLike],
    horizon: int = 1,
    confidence: float = 0.95,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> tuple[FloorComparison, ...]:
    """Return one row per model and floor, models and floors in their order, with the interval of the difference.

    Parameters
    ----------
    model_ics, floor_ics
        Per name (num_dates,) IC over the same dates, NaN where undefined.
    horizon, confidence, num_bootstrap, seed
        How the interval of the difference is made, see `paired_difference`.
    """
    rows = []
    for model, model_ic in model_ics.items():
        differences = compare_with_floors(model_ic, floor_ics, horizon, confidence, num_bootstrap, seed)
        for floor, difference in differences.items():
            series, reference = as_series(model, model_ic), as_series(floor, floor_ics[floor])
            both = ~(np.isnan(series) | np.isnan(reference))
            rows.append(
                FloorComparison(
                    model=model,
                    floor=floor,
                    model_mean=float(series[both].mean()) if both.any() else math.nan,
                    floor_mean=float(reference[both].mean()) if both.any() else math.nan,
                    difference=difference.mean,
                    ci_low=difference.ci_low,
                    ci_high=difference.ci_high,
                    p_value=difference.p_value,
                    effective_dates=difference.effective_dates,
                    num_dates=difference.num_dates,
                    below_floor=not difference.mean > 0.0,
                    proven=difference.ci_low > 0.0,
                )
            )
    return tuple(rows)


def format_floor_table(rows: Sequence[FloorComparison]) -> str:
    """Return the rows as a plain text table with a mark: "BELOW" its floor, "above" (proven) or "unproven"."""
    names = [(row.model, row.floor) for row in rows]
    width_model = max([len("model"), *(len(model) for model, _ in names)])
    width_floor = max([len("floor"), *(len(floor) for _, floor in names)])
    lines = [f"{'model':<{width_model}}  {'floor':<{width_floor}}  difference  interval            mark"]
    for row in rows:
        mark = "BELOW" if row.below_floor else "above" if row.proven else "unproven"
        lines.append(
            f"{row.model:<{width_model}}  {row.floor:<{width_floor}}  {row.difference:>+10.4f}  "
            f"{format_interval(row.ci_low, row.ci_high):<18}  {mark}"
        )
    return "\n".join(lines)


def _mean_or_worst(name: str, series: ArrayLike) -> float:
    values = as_series(name, series)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else -np.inf
