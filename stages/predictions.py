"""predictions.parquet, the one schema of it: written, scored and read.

A long frame (timestamp, symbol, fold, segment, horizon, prediction), out of fold only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import SEGMENTS, FeatureStore, Fold, Segment
from factor_metrics import constant_dates, rank_ic, to_matrix


def prediction_frame(store: FeatureStore, fold: Fold, segment: Segment, rows: NDArray, values: NDArray) -> pd.DataFrame:
    """Predictions (num_rows, num_horizons) as the long frame that a model's `predictions.parquet` holds."""
    heads = len(store.horizons)
    codes = np.tile(store.symbol_code[rows], heads)
    return pd.DataFrame(
        {
            "timestamp": np.tile(store.dates[store.date_code[rows]], heads),
            "symbol": pd.Categorical.from_codes(codes, pd.Index(store.symbols)),
            "fold": np.int16(fold.index),
            "segment": pd.Categorical([segment] * len(codes), categories=SEGMENTS),
            "horizon": np.repeat(np.array(store.horizons, dtype=np.int16), len(rows)),
            "prediction": values.T.reshape(-1),
        }
    )


def quantile_column(level: float) -> str:
    """Name of a level's column: q5, q50, q97.5."""
    return f"q{100 * level:g}"


def checked_rank_ic(name: str, store: FeatureStore, fold: Fold, rows: NDArray, values: NDArray) -> dict[int, float]:
    """Return `mean_rank_ic` on the valid dates of a trained model's forecasts (num_rows, num_horizons).

    ValueError if the forecasts of a horizon do not tell symbols apart (`refuse_constant`).
    """
    scores = mean_rank_ic(store, fold.valid, rows, values)
    refuse_constant(name, fold, scores)
    return scores


def refuse_constant(name: str, fold: Fold, scores: dict[int, float]) -> None:
    """Raise ValueError if a horizon has no score: on no valid date do its forecasts differ by more than rounding."""
    if refused := [horizon for horizon, score in scores.items() if np.isnan(score)]:
        raise ValueError(
            f"fold {fold.index}: predictions of {name} at horizon {', '.join(map(str, refused))} are constant on every "
            "valid date, up to rounding, or not finite"
        )


def mean_rank_ic(
    store: FeatureStore, dates: NDArray[np.datetime64], rows: NDArray, values: NDArray
) -> dict[int, float]:
    """Return the mean rank IC per horizon of values (num_rows, num_horizons) on the dates.

    NaN where none is defined, and where on no date the values differ by more than float32 rounds equal ones: whether
    these come out equal or not depends on the CPU.
    """
    scores = {}
    for head, horizon in enumerate(store.horizons):
        spread = np.full(len(store.date_code), np.nan)
        spread[rows] = values[:, head]
        label = store.matrix(store.labels[:, head], dates)
        forecast = store.matrix(spread, dates)
        per_date = rank_ic(forecast, label)
        is_scored = np.isfinite(per_date).any() and not constant_dates(forecast, np.float32).all()
        scores[horizon] = float(np.nanmean(per_date)) if is_scored else float("nan")
    return scores


class OutOfFold:
    """One model's `predictions.parquet`, on the calendar and symbols of the feature store."""

    def __init__(self, path: Path, store: FeatureStore) -> None:
        self.frame = pd.read_parquet(path)
        self.store = store

    def dates(self, segment: str) -> NDArray[np.datetime64]:
        """The dates of a segment over all folds, sorted."""
        stamps = self.frame.loc[self.frame["segment"] == segment, "timestamp"].unique()
        return np.sort(np.asarray(stamps, dtype="datetime64[ns]"))

    def fold_of_date(self) -> NDArray[np.int64]:
        """(num_dates,) the fold that tests each of `dates("test")`."""
        test = self.frame.loc[self.frame["segment"] == "test", ["timestamp", "fold"]]
        return test.drop_duplicates().sort_values("timestamp")["fold"].to_numpy(dtype=np.int64)

    def folds(self) -> list[int]:
        """Return the numbers of the folds, sorted."""
        return sorted(int(fold) for fold in self.frame["fold"].unique())

    def matrix(self, horizon: int, segment: str, fold: int | None = None) -> NDArray[np.float64]:
        """Predictions of a horizon on `dates(segment)` and all symbols; NaN where there is none."""
        wanted = (self.frame["horizon"] == horizon) & (self.frame["segment"] == segment)
        if fold is not None:
            wanted &= self.frame["fold"] == fold
        frame = self.frame[wanted]
        matrix, _, _ = to_matrix(
            frame["timestamp"],
            frame["symbol"],
            frame["prediction"],
            dates=self.dates(segment),
            symbols=self.store.symbols,
        )
        return matrix


class Stacked(Protocol):
    """A stack at one horizon: predictions (num_dates, num_symbols), NaN where there is none."""

    @property
    def horizon(self) -> int:
        """Return the horizon in bars."""

    @property
    def dates(self) -> NDArray[np.datetime64]:
        """Return the dates of the rows."""

    @property
    def prediction(self) -> NDArray[np.float64]:
        """Return (num_dates, num_symbols) predictions of the stack."""


def write_stack(results: Sequence[Stacked], store: FeatureStore, model: OutOfFold, path: Path) -> None:
    """The stack in the long form that every model has; the folds are those of `model`."""
    fold_of = dict(zip(model.dates("test"), model.fold_of_date(), strict=True))
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
                    "horizon": np.int16(result.horizon),
                    "prediction": result.prediction[row, column].astype(np.float32),
                }
            )
        )
    pd.concat(frames).to_parquet(path, index=False)
