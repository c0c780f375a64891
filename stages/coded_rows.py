"""Forecasts in the long form as numbers: where each row belongs among dates, symbols, labels, segments and folds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import SEGMENTS, FeatureStore

NO_KEY = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class CodedRows:
    """The rows of a frame of forecasts as positions; (num_rows,) each."""

    calendar: NDArray[np.datetime64]
    """(num_dates,) the dates that occur, sorted."""
    date: NDArray[np.int64]
    """Position in `calendar`; -1 for a missing one."""
    symbol: NDArray[np.int64]
    """Position among the symbols of the store; -1 for another."""
    key: NDArray[np.int16]
    """Number of label and segment; `NO_KEY` where one is missing."""
    key_of: dict[tuple[str, str], int]
    fold: NDArray[np.int64]
    prediction: NDArray[np.floating]

    @classmethod
    def of(cls, frame: pd.DataFrame, store: FeatureStore) -> CodedRows:
        """Return those of a frame; nothing of it is refused yet."""
        date, calendar = pd.factorize(frame["timestamp"], sort=True)
        (symbol, symbols), (label, labels), (segment, segments) = (
            coded(frame[name]) for name in ("symbol", "label", "segment")
        )
        place = np.append(pd.Index(store.symbols.astype(object)).get_indexer(symbols), -1)
        return cls(
            calendar=np.asarray(calendar, dtype="datetime64[ns]"),
            date=date,
            symbol=place[symbol],
            key=np.where((label < 0) | (segment < 0), NO_KEY, label * len(segments) + segment).astype(np.int16),
            key_of={
                (one, other): first * len(segments) + second
                for first, one in enumerate(labels)
                for second, other in enumerate(segments)
            },
            fold=frame["fold"].to_numpy(dtype=np.int64),
            prediction=frame["prediction"].to_numpy(),
        )

    @cached_property
    def dates_and_folds(self) -> dict[str, tuple[NDArray[np.integer], NDArray[np.integer]]]:
        """By segment each date with each fold that has it there, sorted; empty arrays for a segment without rows."""
        num_dates, num_folds = len(self.calendar), int(self.fold.max(initial=0)) + 1
        num_keys = len(self.key_of)
        there = np.zeros((num_keys, num_dates, num_folds), dtype=bool)
        rows = (
            slice(None)
            if min(self.key.min(initial=0), self.date.min(initial=0)) >= 0
            else ((self.key >= 0) & (self.date >= 0))
        )
        there[self.key[rows], self.date[rows], self.fold[rows]] = True
        found: dict[str, tuple[NDArray[np.integer], NDArray[np.integer]]] = {}
        for segment in SEGMENTS:
            keys = [number for (_, one), number in self.key_of.items() if one == segment]
            date, fold = np.nonzero(there[keys].any(axis=0))
            found[segment] = date, fold
        return found

    def chosen(self, label: str, segment: str, fold: int | None) -> NDArray[np.int64]:
        """Return the rows of a label and a segment, of one fold or of all."""
        if (label, segment) not in self.key_of:
            return np.zeros(0, dtype=np.int64)
        wanted = self.key == self.key_of[label, segment]
        return np.flatnonzero(wanted if fold is None else wanted & (self.fold == fold))

    def cells(
        self, chosen: NDArray[np.int64], dates: NDArray[np.datetime64], num_symbols: int
    ) -> NDArray[np.int64] | None:
        """Return where in a flat matrix (dates, symbols) rows belong; None if one is outside of it, or two in one."""
        row_of_date = pd.Index(dates).get_indexer(pd.Index(self.calendar))
        row, column = row_of_date[self.date[chosen]], self.symbol[chosen]
        if not len(chosen):
            return row
        if min(self.date[chosen].min(), row.min(), column.min()) < 0:
            return None
        cell = row * num_symbols + column
        taken = np.zeros(len(dates) * num_symbols, dtype=bool)
        taken[cell] = True
        return cell if np.count_nonzero(taken) == len(cell) else None


def coded(column: pd.Series) -> tuple[NDArray[np.integer], list[str]]:
    """Return the values of a column of names as positions, -1 for a missing one, and the names."""
    names = column.astype("category").cat
    return names.codes.to_numpy(dtype=np.int64), [str(name) for name in names.categories]
