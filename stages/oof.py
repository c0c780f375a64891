"""Out-of-fold predictions as matrices (num_dates, num_symbols), for the stages that judge and combine them."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import FeatureStore
from factor_metrics import to_matrix


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
