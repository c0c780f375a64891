"""Boosted trees (LightGBM) pooled over symbols that also see the other assets of the date.

To a row's own features come, for each feature, its mean and its standard deviation over the date's rows (the state
and the dispersion of the market), and the values of a few leading symbols on that date: 3 + leaders columns per
feature. All are functions of rows of the same date, so a table to predict must hold whole dates. What is the same for
all symbols of a date cannot rank them by itself; it tells the trees when a feature counts. Per-date ranks have the
same mean and dispersion on each date: with such a normaliser only the leaders add something.

Leaders are chosen on training rows: the symbols whose features tell most of the later returns of the others, by the
squared correlation with their targets, less its expectation under no relation. The idea of lead and lag between
assets is Lo & MacKinlay (1990), "When Are Contrarian Profits Due to Stock Market Overreaction?".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from factor_models.checks import check_at_least
from factor_models.tabular.base import Table, check_features, check_targets, row_chunks
from factor_models.tabular.lightgbm_trees import LightGBMConfig, LightGBMTrees


@dataclass(frozen=True, kw_only=True)
class CrossAssetConfig(LightGBMConfig):
    """Size of the trees and of the ensemble, and how many symbols lead."""

    leaders: int = 3
    """Symbols whose features every row sees; 0: none, and no symbols are needed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, {"leaders": 0})


class CrossAssetTrees(LightGBMTrees):
    """One LightGBM booster per horizon on own, market and leaders' features.

    Attributes
    ----------
    leaders : (num_leaders,) ids of the leading symbols, ascending. They are written as names of columns in the
        boosters ("leader17_0": feature 0 of symbol 17)
    """

    def __init__(self, config: CrossAssetConfig, num_features: int, num_horizons: int, num_symbols: int) -> None:
        super().__init__(config, num_features, num_horizons)
        self.num_leaders = config.leaders if num_symbols else 0
        self.leaders = np.empty(0, np.int64)

    def fit(self, train: Table, valid: Table | None = None) -> Self:
        """Choose the leaders on the training rows, then fit."""
        check_features(train, self.num_features, "train")
        targets = check_targets(train, self.num_horizons)
        self.leaders = np.empty(0, np.int64)
        if self.num_leaders:
            symbols = _need_symbols(train)
            self.leaders = choose_leaders(np.asarray(train.features), targets, _dates(train), symbols, self.num_leaders)
        return super().fit(train, valid)

    def _columns(self, table: Table) -> np.ndarray:
        dates, features = _dates(table), np.asarray(table.features)
        by_date = list(date_moments(features, dates))
        if len(self.leaders):
            symbols = _need_symbols(table)
            by_date += [_values_of(int(leader), features, dates, symbols) for leader in self.leaders]
        width = self.num_features
        columns = np.empty((len(table), width * (1 + len(by_date))), np.float32)
        columns[:, :width] = features
        for rows in row_chunks(len(table)):
            for place, values in enumerate(by_date, start=1):
                columns[rows, place * width : (place + 1) * width] = values[dates[rows]]
        return columns

    def _column_names(self) -> list[str]:
        blocks = ["own", "mean", "deviation", *(f"leader{leader}" for leader in self.leaders)]
        return [f"{block}_{feature}" for block in blocks for feature in range(self.num_features)]

    def _from_text(self, text: str) -> Any:
        booster = super()._from_text(text)
        found = [re.fullmatch(r"leader(\d+)_0", name) for name in booster.feature_name()]
        self.leaders = np.array([int(match[1]) for match in found if match], np.int64)
        return booster


def date_moments(features: np.ndarray, dates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (ddof 0) of each feature per date, each (num_dates, F) float64.

    NaN where a feature has no value on the date. `dates` (N,) counts from 0.
    """
    num_dates = int(dates.max(initial=-1)) + 1
    mean, deviation = (np.full((num_dates, features.shape[1]), np.nan) for _ in range(2))
    for place, column in enumerate(features.T):
        known = np.isfinite(column)
        values, date = column[known].astype(np.float64), dates[known]
        count = np.bincount(date, minlength=num_dates)
        counted = count > 0
        center = np.bincount(date, values, num_dates)[counted] / count[counted]
        mean[counted, place] = center
        residual = values - mean[date, place]
        variance = np.bincount(date, residual**2, num_dates)[counted] / count[counted]
        deviation[counted, place] = np.sqrt(variance)
    return mean, deviation


def choose_leaders(
    features: np.ndarray, targets: np.ndarray, dates: np.ndarray, symbols: np.ndarray, count: int
) -> np.ndarray:
    """Ids of the symbols whose features on a date tell most of the other symbols' targets of that date.

    A symbol's score is the sum, over its features, the other symbols and the horizons, of the squared correlation of
    its feature with the other's target over the dates (missing values count as the mean), less 1 / (dates - 1), the
    expectation where there is no relation. Symbols of id 0 (unknown) do not lead.

    Parameters
    ----------
    features, targets : (N, F) and (N, H), NaN = missing
    dates, symbols : (N,) dates counted from 0, and ids
    count : how many leaders; fewer where there are fewer symbols

    Returns
    -------
    (count,) int64, ascending
    """
    ids, symbol = np.unique(symbols, return_inverse=True)
    shape = (int(dates.max(initial=-1)) + 1, len(ids))
    score = np.zeros(len(ids))
    outcomes = [_unit_columns(_spread(target, dates, symbol, shape)) for target in targets.T]
    for column in features.T:
        signal = _unit_columns(_spread(column, dates, symbol, shape))
        num_known = (signal != 0).sum(axis=0)
        by_chance = (num_known >= 2) / np.maximum(num_known - 1, 1)
        for outcome in outcomes:
            explained = np.square(outcome.T @ signal)  # (symbol explained, symbol that explains)
            score += explained.sum(axis=0) - np.diagonal(explained)
            score -= (outcome.any(axis=0).sum() - outcome.any(axis=0)) * by_chance
    allowed = np.flatnonzero(ids != 0)
    best = allowed[np.argsort(-score[allowed], kind="stable")[:count]]
    return np.sort(ids[best]).astype(np.int64)


def _dates(table: Table) -> np.ndarray:
    """(N,) dates counted from 0."""
    if table.groups is None:
        return np.zeros(len(table), np.int64)
    return np.unique(table.groups, return_inverse=True)[1]


def _need_symbols(table: Table) -> np.ndarray:
    if table.symbols is None:
        raise ValueError("symbols are None: leading symbols can only be found by their ids (or set leaders = 0)")
    return table.symbols


def _values_of(leader: int, features: np.ndarray, dates: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """Features of one symbol per date (num_dates, F); NaN where it has no row."""
    values = np.full((int(dates.max(initial=-1)) + 1, features.shape[1]), np.nan, np.float32)
    its = symbols == leader
    values[dates[its]] = features[its]
    return values


def _spread(values: np.ndarray, dates: np.ndarray, symbol: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    matrix = np.full(shape, np.nan)
    matrix[dates, symbol] = values
    return matrix


def _unit_columns(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and length 1, missing and constant ones as 0: their products are correlations."""
    known = np.isfinite(values)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, values - mean, 0.0)
    length = np.sqrt(np.square(centred).sum(axis=0))
    usable = length > 1e-12 * np.maximum(np.abs(mean), 1.0)
    return np.where(usable, centred / np.where(usable, length, 1.0), 0.0)
