"""predictions.parquet, the one schema of it: written and read.

A long frame (timestamp, symbol, fold, segment, label, prediction), out of fold only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import SEGMENTS, FeatureStore, Fold, Segment, read_parquet, write_parquet
from factor_metrics import to_matrix
from stages.coded_rows import CodedRows
from stages.scoring import Scoring, told, why_unscored

SEEDS_FILE = "seeds.parquet"
"""Beside a network that was trained from several seeds: the test forecasts of each, with the column seed."""


def prediction_frame(store: FeatureStore, fold: Fold, segment: Segment, rows: NDArray, values: NDArray) -> pd.DataFrame:
    """Predictions (num_rows, num_labels) as the long frame that a model's `predictions.parquet` holds."""
    heads = len(store.heads)
    codes = np.tile(store.symbol_code[rows], heads)
    return pd.DataFrame(
        {
            "timestamp": np.tile(store.dates[store.date_code[rows]], heads),
            "symbol": pd.Categorical.from_codes(codes, pd.Index(store.symbols)),
            "fold": np.int16(fold.index),
            "segment": pd.Categorical([segment] * len(codes), categories=SEGMENTS),
            "label": pd.Categorical.from_codes(np.repeat(np.arange(heads), len(rows)), pd.Index(store.heads)),
            "prediction": values.T.reshape(-1),
        }
    )


def quantile_column(level: float) -> str:
    """Name of a level's column: q5, q50, q97.5."""
    return f"q{100 * level:g}"


class OutOfFold:
    """One model's `predictions.parquet`, on the calendar and symbols of the feature store."""

    def __init__(self, path: Path, store: FeatureStore) -> None:
        self.frame = read_parquet(path)
        self.store = store

    @classmethod
    def of(cls, frame: pd.DataFrame, store: FeatureStore) -> OutOfFold:
        """Return the forecasts of a frame that is read already."""
        made = cls.__new__(cls)
        made.frame, made.store = frame, store
        return made

    @cached_property
    def rows(self) -> CodedRows:
        """The rows by numbers, found once for all matrices of them."""
        return CodedRows.of(self.frame, self.store)

    def dates(self, segment: str, fold: int | None = None) -> NDArray[np.datetime64]:
        """The dates of a segment of a fold, or of all folds, sorted."""
        date, folds = self.rows.dates_and_folds[segment]
        return self.rows.calendar[np.unique(date if fold is None else date[folds == fold])]

    def fold_of_date(self) -> NDArray[np.int64]:
        """(num_dates,) the fold that tests each of `dates("test")`."""
        _, fold = self.rows.dates_and_folds["test"]
        return fold.astype(np.int64)

    def folds(self) -> list[int]:
        """Return the numbers of the folds, sorted."""
        return sorted({int(fold) for _, folds in self.rows.dates_and_folds.values() for fold in folds})

    def values(self, label: str, segment: str, fold: int) -> tuple[NDArray[np.floating], int]:
        """Return the forecasts of a label in a segment of a fold, row by row, and on how many dates they were made."""
        chosen = self.rows.chosen(label, segment, fold)
        return self.rows.prediction[chosen], len(np.unique(self.rows.date[chosen]))

    def no_signal(self, scoring: Scoring) -> str | None:
        """Return why this model has no part in an ensemble, where no fold has a signal for any label; else None.

        A model that has one in some folds or labels takes part there.
        """
        dates, store = self.dates("valid"), self.store
        outcomes = {label: store.matrix(store.label(label), dates) for label in store.heads}
        first: str | None = None
        for fold in self.folds():
            forecasts = {label: scoring.rows(self.matrix(label, "valid", fold)) for label in outcomes}
            reasons = {
                one: why_unscored(forecasts[one], scoring.rows(outcomes[one]), scoring.min_symbols, "valid")
                for one in outcomes
            }
            if not all(reasons.values()):
                return None
            first = first or f"fold {fold}: {told(reasons)}"
        return first

    def matrix(
        self, label: str, segment: str, fold: int | None = None, dates: NDArray[np.datetime64] | None = None
    ) -> NDArray[np.floating]:
        """Predictions of a label on `dates`, by default `dates(segment)`, and all symbols; NaN where there is none.

        Of the type that they were computed in, which says by how much equal ones may differ.
        """
        axis = self.dates(segment) if dates is None else dates
        chosen = self.rows.chosen(label, segment, fold)
        values = self.rows.prediction[chosen]
        matrix = np.full((len(axis), len(self.store.symbols)), np.nan, dtype=values.dtype)
        cell = self.rows.cells(chosen, axis, matrix.shape[1])
        if cell is None:  # of which this tells the rows and the reason
            frame = self.frame.iloc[chosen]
            keys = (frame["timestamp"], frame["symbol"], frame["prediction"])
            return to_matrix(*keys, dates=axis, symbols=self.store.symbols)[0].astype(values.dtype, copy=False)
        matrix.reshape(-1)[cell] = values
        return matrix


def tested_dates(models: Iterable[OutOfFold]) -> tuple[NDArray[np.datetime64], NDArray[np.int64]]:
    """Return the test dates that any model forecasts, sorted, and (num_dates,) the fold that tests each."""
    fold_of: dict[np.datetime64, int] = {}
    for model in models:
        fold_of |= dict(zip(model.dates("test"), map(int, model.fold_of_date()), strict=True))
    dates = np.array(sorted(fold_of), dtype="datetime64[ns]")
    return dates, np.array([fold_of[date] for date in dates], dtype=np.int64)


class Stacked(Protocol):
    """A stack of one label: predictions (num_dates, num_symbols), NaN where there is none."""

    @property
    def label(self) -> str:
        """Return the name of the label."""

    @property
    def dates(self) -> NDArray[np.datetime64]:
        """Return the dates of the rows."""

    @property
    def prediction(self) -> NDArray[np.float64]:
        """Return (num_dates, num_symbols) predictions of the stack."""


def write_stack(results: Sequence[Stacked], store: FeatureStore, models: Iterable[OutOfFold], path: Path) -> None:
    """The stack in the long form that every model has; the folds are those of `models`."""
    fold_of = dict(zip(*tested_dates(models), strict=True))
    frames = []
    for result in results:
        row, column = np.nonzero(np.isfinite(result.prediction))
        frames.append(
            pd.DataFrame(
                {
                    "timestamp": result.dates[row],
                    "symbol": pd.Categorical.from_codes(column, pd.Index(store.symbols)),
                    "fold": np.array([fold_of[date] for date in result.dates], dtype=np.int16)[row],
                    "segment": pd.Categorical(["test"] * len(row)),
                    "label": pd.Categorical([result.label] * len(row), categories=list(store.heads)),
                    "prediction": result.prediction[row, column].astype(np.float32),
                }
            )
        )
    write_parquet(path, pd.concat(frames))
