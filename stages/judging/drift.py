"""Whether what models read and say is distributed as it was: inputs between train and test, forecasts after valid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold
from factor_metrics import adjusted_p_values, drift
from factor_metrics.report import DriftRow
from stages.predictions import OutOfFold

MOST_ROWS = 100_000
"""Rows of a side that are looked at, drawn at random: quantiles of more are the same."""

Side = tuple[NDArray[np.floating], int]
"""Values, and the dates that they are of."""


def input_drift(store: FeatureStore, folds: Sequence[Fold]) -> list[DriftRow]:
    """Return per fold and input how its test rows differ from its training rows, as computed, before any normaliser."""

    def sides() -> Iterator[tuple[str, int, Side, Side]]:
        for fold in folds:
            train, test = (  # rows at a time: a column lies spread over the whole file
                np.ascontiguousarray(store.features[thinned(np.flatnonzero(store.rows(fold, segment)))].T)
                for segment in ("train", "test")
            )
            for name, before, after in zip(store.feature_names, train, test, strict=True):
                yield name, fold.index, (before, len(fold.train)), (after, len(fold.test))

    return drift_rows("input", sides())


def forecast_drift(oof: OutOfFold) -> list[DriftRow]:
    """Return per label and fold how a model's test forecasts differ from those of its valid dates."""
    rows = oof.rows

    def by_fold(label: str, segment: str) -> dict[int, Side]:
        chosen = rows.chosen(label, segment, None)  # once for all folds: millions of rows are gone through
        fold_of_row = rows.fold[chosen]
        found = {}
        for fold in oof.folds():
            mine = chosen[fold_of_row == fold]
            values, num_dates = rows.prediction[mine], len(np.unique(rows.date[mine]))
            found[fold] = values[thinned(np.flatnonzero(np.isfinite(values)))], num_dates
        return found

    def sides() -> Iterator[tuple[str, int, Side, Side]]:
        for label in oof.store.heads:
            before, after = by_fold(label, "valid"), by_fold(label, "test")
            for fold in oof.folds():
                yield label, fold, before[fold], after[fold]

    return drift_rows("forecast", sides())


def drift_rows(what: str, sides: Iterator[tuple[str, int, Side, Side]]) -> list[DriftRow]:
    """Return a row for each pair, p-values corrected for their number (Benjamini and Hochberg)."""
    found = [
        (name, fold, drift(before, after, independent=(max(dates, 1), max(later, 1))))
        for name, fold, (before, dates), (after, later) in sides
    ]
    adjusted = adjusted_p_values([one.p_value for _, _, one in found]) if found else np.zeros(0)
    return [
        DriftRow(what=what, name=name, fold=fold, psi=one.psi, distance=one.distance, adjusted_p_value=float(p))
        for (name, fold, one), p in zip(found, adjusted, strict=True)
    ]


def thinned(places: NDArray[np.int64], most: int = MOST_ROWS) -> NDArray[np.int64]:
    """Return at most so many places, in order; not every so many-th, which may all be of one weekday or hour."""
    if len(places) <= most:
        return places
    return places[np.sort(np.random.default_rng(0).choice(len(places), most, replace=False))]
