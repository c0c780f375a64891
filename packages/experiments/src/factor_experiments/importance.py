"""Which parameters of a sweep its scores depend on: permutation importance in a forest of regression trees."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_TRIALS = 8
"""Fewer trials say nothing of a parameter."""
TREES, SHUFFLES = 100, 10


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much the scores depend on each parameter that varies; empty with too few trials, or scores that are equal."""

    share: Mapping[str, tuple[float, float, float]]
    """Per parameter (mean, low, high) over shuffles of its part in all that R2 falls by; most important first."""
    r2: float
    """R2 of the forest on trials that a tree has not seen (out of bag): near 0, the shares mean nothing."""


def parameter_importance(points: Sequence[Mapping[str, Any]], scores: NDArray[np.float64], seed: int = 0) -> Importance:
    """Return the importance of each parameter by permutation (Breiman, 2001, "Random forests").

    Parameters
    ----------
    points
        Values of each trial; a parameter that a trial lacks counts as a value of its own.
    scores
        (num_trials,) rank IC on valid dates; trials with NaN are left out.
    """
    known = np.isfinite(scores)
    points = [point for point, kept in zip(points, known, strict=True) if kept]
    scores = scores[known]
    columns = varying(points)
    if len(scores) < LEAST_TRIALS or not columns or float(np.ptp(scores)) == 0.0:
        return Importance(share={}, r2=float("nan"))
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    table = np.column_stack(list(columns.values()))
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=seed, n_jobs=1).fit(table, scores)
    drops = permutation_importance(forest, table, scores, n_repeats=SHUFFLES, random_state=seed, n_jobs=1).importances
    drops = np.maximum(drops, 0.0)
    shares = drops / max(float(drops.mean(axis=1).sum()), 1e-12)
    found = {
        key: (float(row.mean()), float(np.quantile(row, 0.05)), float(np.quantile(row, 0.95)))
        for key, row in zip(columns, shares, strict=True)
    }
    return Importance(share=dict(sorted(found.items(), key=lambda item: -item[1][0])), r2=float(forest.oob_score_))


def varying(points: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Return per parameter that trials differ in (num_trials,) numbers: its own, or places of its texts in order."""
    found = {}
    for key in dict.fromkeys(key for point in points for key in point):
        values = [point.get(key) for point in points]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            found[key] = np.array(values, dtype=np.float64)
        else:
            texts = [json.dumps(value, sort_keys=True) for value in values]
            order = {text: place for place, text in enumerate(sorted(set(texts)))}
            found[key] = np.array([order[text] for text in texts], dtype=np.float64)
    return {key: column for key, column in found.items() if len(np.unique(column)) > 1}
