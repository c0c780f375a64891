"""Reference of a bundle: how inputs and forecasts were spread, and what they were worth, by which decay is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factor_data import FeatureStore, Fold
from factor_metrics import Evaluation, mean_test
from stages.judging.drift import thinned
from stages.judging.ensemble import LabelResult
from stages.predictions import OutOfFold

MOST_ROWS = 200_000
"""Training rows that the spread of inputs is taken from, drawn at random."""
LEVELS = tuple(number / 10 for number in range(1, 10))


def reference(store: FeatureStore, models: Mapping[str, OutOfFold], fold: Fold) -> dict[str, Any]:
    """Return per input the share that is known and its deciles on training rows; per model the spread on test dates.

    The spread of forecasts is the mean over dates of their standard deviation among the symbols of a date, beside it
    the mean number of symbols that are forecast.
    """
    rows = thinned(np.flatnonzero(store.rows(fold, "train")), MOST_ROWS)
    names, inputs = store.normaliser(fold.index).names, store.inputs(fold.index)
    spread: dict[str, Any] = {}
    for column, name in enumerate(names):
        values = np.asarray(inputs[rows, column], dtype=np.float64)
        known = values[np.isfinite(values)]
        deciles = np.quantile(known, LEVELS) if len(known) else np.full(len(LEVELS), np.nan)
        spread[name] = {"known": len(known) / len(values), "deciles": deciles.tolist()}
    forecasts = {name: {label: of_label(oof, label, fold) for label in store.heads} for name, oof in models.items()}
    return {"levels": list(LEVELS), "inputs": spread, "forecasts": forecasts}


def out_of_fold(results: Sequence[LabelResult]) -> dict[str, Any]:
    """Return the rank IC of stack and models by label on all dates out of fold; none where levels are compared."""
    return {
        one.label: {name: rank_ic(judged, one.overlap) for name, judged in (("stack", one.stack), *one.models.items())}
        for one in results
        if not one.levels
    }


def rank_ic(judged: Evaluation, overlap: int) -> dict[str, float]:
    """Mean rank IC out of fold with its error and interval, and its number of dates."""
    summary, test = judged.rank_ic_summary, mean_test(judged.rank_ic, overlap)
    return {
        "mean": summary.mean,
        "standard_error": test.standard_error,
        "num_dates": summary.num_dates,
        "ci_low": summary.ci_low,
        "ci_high": summary.ci_high,
    }


def of_label(oof: OutOfFold, label: str, fold: Fold) -> dict[str, float]:
    """Spread and number of the test forecasts of a label in a fold."""
    matrix = oof.matrix(label, "test")[np.isin(oof.dates("test"), fold.test)].astype(np.float64)
    known = np.isfinite(matrix)
    some = known.any(axis=1)
    if not some.any():
        return {"deviation": float("nan"), "symbols": 0.0}
    return {
        "deviation": float(np.mean(np.nanstd(matrix[some], axis=1))),
        "symbols": float(known.sum(axis=1).mean()),
    }
