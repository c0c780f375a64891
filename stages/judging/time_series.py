"""Scoring over time (`evaluate.scoring: time_series`), where a date has too few symbols to be ordered.

A block of consecutive test dates of one fold is one cross-section: its cells (date, symbol) are ordered against each
other. All that is made of a series per date, as intervals, floors and gates, is made of the series per block. Beside it
stand scores over all cells at once, and per symbol, with intervals by blocks of dates (`factor_metrics.over_time`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import FeatureStore, direction
from factor_metrics import (
    Evaluation,
    EvaluationConfig,
    OrderedMatrix,
    auc,
    evaluate_predictions,
    over_time,
    over_time_by_symbol,
)
from stages.params.evaluate import EvaluateParams
from stages.predictions import OutOfFold
from stages.scoring import TIME_SERIES

OPPOSITE = "reversal_1"
"""The floor that calls the opposite of the last move."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """How matrices (num_dates, num_symbols) are scored: as they are, or in blocks of dates."""

    dates: NDArray[np.datetime64]
    """(num_points,) date of each cross-section that is scored; of a block its first."""
    fold: NDArray[np.int64]
    """(num_points,) the fold that tests it."""
    point_of_date: NDArray[np.int64] | None = None
    """(num_dates,) the block of each date; None: each date is scored by itself."""
    block_dates: int = 1
    """Dates of a block, at most."""

    def __call__(self, matrix: NDArray) -> NDArray:
        """Return (num_points, num_cells) of a matrix (num_dates, num_symbols); cells that a short block lacks are NaN.

        The cells of a block come date by date.
        """
        if self.point_of_date is None:
            return matrix
        first = np.searchsorted(self.point_of_date, np.arange(len(self.dates)))
        place = np.arange(len(matrix)) - first[self.point_of_date]
        blocks = np.full((len(self.dates), self.block_dates, matrix.shape[1]), np.nan, dtype=matrix.dtype)
        blocks[self.point_of_date, place] = matrix
        return blocks.reshape(len(self.dates), -1)

    def last_places(self, num_dates: int) -> NDArray[np.int64]:
        """Return (num_points,) at which of the dates each point ends."""
        if self.point_of_date is None:
            return np.arange(num_dates)
        return np.append(np.flatnonzero(np.diff(self.point_of_date)), num_dates - 1)

    def ordered(self, matrix: NDArray) -> OrderedMatrix:
        """Return (num_points, num_cells) of a matrix, put in order once for all that ranks it."""
        return OrderedMatrix(self(matrix))

    def total(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (num_points,) sums of (num_dates,) whole numbers; they wrap around."""
        if self.point_of_date is None:
            return values
        return np.add.reduceat(values, np.searchsorted(self.point_of_date, np.arange(len(self.dates))))

    def overlap(self, overlap: int) -> int:
        """Return over how many points labels overlap that overlap over so many dates."""
        return overlap if self.point_of_date is None else 1 + -(-(overlap - 1) // self.block_dates)

    def judge(
        self, prediction: OrderedMatrix, outcome: OrderedMatrix, overlap: int, config: EvaluationConfig
    ) -> Evaluation:
        """Judge predictions of a label, both as `ordered` returns them; a block has no turnover."""
        judged = evaluate_predictions(prediction, outcome, horizon=self.overlap(overlap), config=config)
        if self.point_of_date is None:
            return judged
        return replace(judged, turnover=np.full(len(judged.turnover), np.nan))


Ordered = tuple[OrderedMatrix, OrderedMatrix]
"""A forecast and its label, as `View.ordered` returns them."""

BY_DATE = View(dates=np.array([], dtype="datetime64[ns]"), fold=np.array([], dtype=np.int64))
"""Each date by itself, whichever dates they are."""


def scoring_view(config: EvaluationConfig, dates: NDArray[np.datetime64], fold: NDArray[np.int64]) -> View:
    """Return how section `evaluate` scores these test dates, `fold` (num_dates,) being the fold that tests each."""
    if not is_over_time(config):
        return View(dates=dates, fold=fold)
    assert isinstance(config, EvaluateParams)
    points = np.zeros(len(dates), dtype=np.int64)
    for number in np.unique(fold):
        mine = fold == number
        points[mine] = np.arange(mine.sum()) // config.block_dates
    keys, point_of_date = np.unique(np.stack([fold, points], axis=1), axis=0, return_inverse=True)
    first = np.searchsorted(point_of_date.ravel(), np.arange(len(keys)))
    return View(
        dates=dates[first], fold=keys[:, 0], point_of_date=point_of_date.ravel(), block_dates=config.block_dates
    )


def is_over_time(config: EvaluationConfig) -> bool:
    """Return whether section `evaluate` scores over time."""
    return isinstance(config, EvaluateParams) and config.scoring == TIME_SERIES


def pooled_scores(
    score: NDArray,
    label: str,
    dates: NDArray[np.datetime64],
    store: FeatureStore,
    config: EvaluationConfig,
    opposite: NDArray | None = None,
) -> dict[str, float]:
    """Scores over all cells of a forecast (num_dates, num_symbols), and those of the opposite of the last move."""
    outcome, known = outcomes_of(label, dates, store)
    scores = over_time(score, outcome, known, horizon=store.overlap(label), config=config).to_dict()
    named = {(f"pooled_{name}" if "ic" in name.split("_") else name): value for name, value in scores.items()}
    if opposite is not None:
        covered = np.where(np.isnan(score), np.nan, opposite)
        floor = over_time(covered, outcome, known, horizon=store.overlap(label), config=config)
        named |= {"opposite_auc": floor.auc, "opposite_accuracy": floor.accuracy}
    return named


def outcomes_of(label: str, dates: NDArray[np.datetime64], store: FeatureStore) -> tuple[NDArray, NDArray]:
    """Return (num_dates, num_symbols) directions by the label's own rule, and the label itself."""
    known, rule = store.matrix(store.label(label), dates), store.heads[label].direction
    return direction(known, rule.up, rule.down), known


def symbol_table(forecasts: Mapping[str, tuple[NDArray[np.datetime64], NDArray]], store: FeatureStore) -> pd.DataFrame:
    """symbols.csv: per label and symbol the scores over the symbol's own test dates."""
    tables = []
    for label, (dates, score) in forecasts.items():
        outcome, known = outcomes_of(label, dates, store)
        scores = over_time_by_symbol(score, outcome, known)
        count = (np.isfinite(score) & np.isfinite(known)).sum(axis=0)
        tables.append(pd.DataFrame({"label": label, "symbol": store.symbols, "num_dates": count, **scores}))
    return pd.concat(tables, ignore_index=True)


def valid_auc(store: FeatureStore, oof: OutOfFold, label: str) -> float:
    """Mean over folds of the AUC over all cells of the fold's valid dates; NaN where none is known."""
    dates = oof.dates("valid")
    known = [auc_of(oof.matrix(label, "valid", fold), label, dates, store) for fold in oof.folds()]
    known = [value for value in known if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def tested_auc(store: FeatureStore, oof: OutOfFold, label: str) -> float:
    """AUC over all cells of the test dates."""
    return auc_of(oof.matrix(label, "test"), label, oof.dates("test"), store)


def auc_of(score: NDArray, label: str, dates: NDArray[np.datetime64], store: FeatureStore) -> float:
    """AUC of a forecast (num_dates, num_symbols) over all its cells."""
    outcome, _ = outcomes_of(label, dates, store)
    return float(auc(score.reshape(1, -1), outcome.reshape(1, -1))[0])
