"""The members of a stack on one scale, and rows combined by weights over whichever members are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from factor_models.stacking.grid import Grid, column_counts, column_products, column_sums, number_groups
from factor_models.stacking.moments import Moments, date_moments, direction_moments, joined
from factor_models.stacking.standardise import standard_ranks

LEAST_ROWS = 3
"""Rows of a date that a spread is taken from; of fewer, forecasts are scaled by the sizes of the weights."""

MOST_MODELS = 16
"""Models whose patterns of presence are looked up in a table; those of more are sorted."""

DECIMALS = 12
"""Decimals that tell combined forecasts apart, in standard deviations of a date."""

CELLS_AT_ONCE = 1 << 16
"""Cells of a model that are combined at once, so that they stay in the cache; no influence on results."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Some consecutive dates of a fold, a date in each column."""

    grid: Grid
    dates: np.ndarray
    """(num_groups,) positions in the calendar."""
    values: np.ndarray
    """(num_models, num_places, num_groups) standardised ranks, 0 = absent."""
    present: np.ndarray
    """Whether they are there, of the same shape."""
    patterns: tuple[np.ndarray, np.ndarray]
    """(num_places, num_groups) the number of each row's pattern, and (num_patterns, num_models) which are there."""

    def combine(self, weights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Return (num_rows,) combined forecasts, as `Members.combine` says."""
        return self.grid.rows(_combine(self.values, self.patterns, weights, wanted))


class Members:
    """Out-of-fold forecasts of one label by several models, as ranks per date with mean 0 and variance 1.

    A model is absent from a row without a forecast, and from all rows of a date on which it tells none apart. With
    `direction` (num_rows,), 1 up, 0 down and NaN unknown, weights are learned by the AUC. Dates of `before` teach every
    fold as those of an earlier one do, and are not stacked.
    """

    def __init__(
        self,
        predictions: np.ndarray,
        label: np.ndarray,
        date_code: np.ndarray,
        fold: np.ndarray,
        direction: np.ndarray | None = None,
        before: Members | None = None,
    ) -> None:
        self.num_models, self.num_rows = predictions.shape
        rows = np.flatnonzero(fold >= 0)
        width = int(date_code[rows].max(initial=0)) + 1
        place_of_row = fold[rows].astype(np.int64) * width + date_code[rows].astype(np.int64)
        group = number_groups(place_of_row)
        if (group[1:] < group[:-1]).any():  # date by date, the rows of a date as they come
            order = np.argsort(group, kind="stable")
            rows, group, place_of_row = rows[order], group[order], place_of_row[order]
        self.rows = rows
        """The rows that are out of fold, date by date."""
        self.first = np.append(np.searchsorted(group, np.arange(int(group.max(initial=-1)) + 1)), len(rows))
        """(num_groups + 1,) where the rows of each date begin; then their number."""
        places = place_of_row[self.first[:-1]]
        self.fold_of_group, dates = places // width, places % width
        self.folds = np.unique(self.fold_of_group)
        self.blocks: list[list[Block]] = []
        """Blocks of dates by fold."""
        self.start = np.array([dates[self.fold_of_group == one].min() for one in self.folds], dtype=np.int64)
        moments, lessons = list[Moments](), list[Moments]()
        self.fold_of_moment = self.fold_of_group
        """(num_dates,) the fold of each of `moments`; -1 for those of `before`."""
        if before is not None:
            moments.append(before.moments)
            lessons += [] if direction is None else [before.lessons]
            self.fold_of_moment = np.append(np.full(len(before.moments.dates), -1), self.fold_of_group)
        for number in self.folds:
            mine = []
            for part in self._parts(np.flatnonzero(self.fold_of_group == number)):
                within = slice(int(self.first[part[0]]), int(self.first[part[-1] + 1]))
                chosen = _as_slice(rows[within])
                block = _block(predictions[:, chosen], group[within] - part[0], dates[part])
                told = block.values, block.present
                moments.append(date_moments(*told, block.grid.spread(label[chosen]), block.dates))
                if direction is not None:
                    lessons.append(direction_moments(*told, block.grid.spread(direction[chosen]), block.dates))
                mine.append(block)
            self.blocks.append(mine)
        self.moments: Moments = joined(moments) if moments else _no_moments(self.num_models)
        """Moments of the label, in whose units the stack forecasts."""
        self.lessons: Moments = joined(lessons) if lessons else self.moments
        """What weights are learned from."""

    def teaching(self, place: int, purge: int) -> Moments:
        """Return what dates before the fold at `place` teach whose labels were known as it began."""
        return self.lessons.take(self._known(place, purge))

    def ics_of(self, weights: np.ndarray, place: int, purge: int) -> np.ndarray:
        """Return (num_dates,) correlations with the label on the dates of `teaching`, for weights (num_models,)."""
        return self.moments.take(self._known(place, purge)).ics_of(weights)

    def _known(self, place: int, purge: int) -> np.ndarray:
        earlier = self.fold_of_moment < self.folds[place]
        return earlier & (self.moments.dates + purge < self.start[place])

    def _parts(self, groups: np.ndarray) -> list[np.ndarray]:
        """Return the groups of a fold in parts that fit the cache."""
        widest = int(np.diff(self.first)[groups].max())
        return np.array_split(groups, -(-len(groups) * widest // CELLS_AT_ONCE))

    def combine(self, place: int, weights: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray | slice, np.ndarray]:
        """Return (rows of the fold at `place`, their combined forecasts); NaN only where no `wanted` member is present.

        Weights (num_models,) are those of the members that are present, which is a row's pattern. A pattern's
        combination is centred and divided by its standard deviation over the rows of the date that have all its
        members: so forecasts of few members and of many are on one scale, and no other date takes part. Where all
        weights of those present are 0, they count the same. Sums of ranks that are equal stay so: what differs by less
        than 1e-12 is rounding.
        """
        groups = np.flatnonzero(self.fold_of_group == self.folds[place])
        rows = self.rows[self.first[groups[0]] : self.first[groups[-1] + 1]]
        return rows, np.concatenate([block.combine(weights, wanted) for block in self.blocks[place]])

    def shares(self, place: int, wanted: np.ndarray) -> np.ndarray:
        """Return (num_models,) on which share of the rows that `wanted` members combine each model is present."""
        there, stacked = np.zeros(self.num_models, dtype=np.int64), 0
        for block in self.blocks[place]:
            number, table = block.patterns
            count = np.bincount(number.reshape(-1), minlength=len(table)) * (table & wanted).any(axis=1)
            there += count @ table
            stacked += int(count.sum())
        return there / stacked if stacked else np.zeros(self.num_models)


def _block(predictions: np.ndarray, group: np.ndarray, dates: np.ndarray) -> Block:
    grid = Grid(group)
    ranks = np.stack([standard_ranks(grid, np.asarray(row, np.float64)) for row in predictions])
    present = np.isfinite(ranks)
    ranks[~present] = 0.0
    return Block(grid=grid, dates=dates, values=ranks, present=present, patterns=_patterns(present))


def _no_moments(num_models: int) -> Moments:
    shape = 0, num_models
    return Moments(dates=np.zeros(0, np.int64), ics=np.zeros(shape), grams=np.zeros((*shape, num_models)))


def _as_slice(rows: np.ndarray) -> np.ndarray | slice:
    """Return rows as a slice where they follow each other, so that they need not be copied."""
    return slice(int(rows[0]), int(rows[-1]) + 1) if (np.diff(rows) == 1).all() else rows


def combine_ranks(forecasts: np.ndarray, group: np.ndarray, weights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return (num_rows,) combined forecasts of some dates, as `Members.combine` says.

    `forecasts` (num_models, num_rows) are ranks as `rank_standardise` gives them, `group` (num_rows,) whole numbers
    that tell the dates apart.
    """
    grid = Grid(number_groups(group))
    ranks = np.stack([grid.spread(row) for row in forecasts])
    present = np.isfinite(ranks)
    return grid.rows(_combine(np.where(present, ranks, 0.0), _patterns(present), weights, wanted))


def _combine(
    values: np.ndarray, patterns: tuple[np.ndarray, np.ndarray], weights: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Return (num_places, num_groups) combined values (num_models, num_places, num_groups), 0 = absent."""
    number, table = patterns
    kept, kept_of = np.unique(table & wanted, axis=0, return_inverse=True)
    combined = np.full(values.shape[1:], np.nan)
    for place, pattern in enumerate(kept):
        if not pattern.any():
            continue
        used = np.where(pattern, weights, 0.0)
        used = used if np.abs(used).sum() > 0.0 else pattern / pattern.sum()
        has_all = np.asarray(table[:, pattern].all(axis=1))
        mine = np.asarray(kept_of.ravel() == place)
        scaled = _centred_and_scaled(
            _dot_in_order(used, values), np.abs(used).sum(), None if has_all.all() else has_all[number]
        )
        np.copyto(combined, scaled, where=True if mine.all() else mine[number])
    return np.round(combined, DECIMALS)


def _patterns(present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the patterns of presence (num_models, num_places, num_groups) each row has, and what they are."""
    num_models = len(present)
    if num_models > MOST_MODELS:
        found, number = np.unique(present.reshape(num_models, -1), axis=1, return_inverse=True)
        return number.reshape(present.shape[1:]), found.T
    code = np.zeros(present.shape[1:], dtype=np.uint16)
    for row in present:
        code = 2 * code + row
    seen = np.zeros(1 << num_models, dtype=bool)
    seen[code] = True
    found = np.flatnonzero(seen)
    number_of_code = np.zeros(len(seen), dtype=np.uint16)
    number_of_code[found] = np.arange(len(found))
    return number_of_code[code], (found[:, None] >> np.arange(num_models)[::-1]) & 1 > 0


def _centred_and_scaled(values: np.ndarray, size: float, rows: np.ndarray | None) -> np.ndarray:
    """Return values with mean 0 and variance 1 per column, over its `rows`, None: all of them.

    They are over `size` where a column has few or they do not differ.
    """
    if rows is None:
        count, centred = np.full(values.shape[1], len(values)), values - column_sums(values) / max(len(values), 1)
    else:
        count = column_counts(rows)
        mean = column_sums(np.where(rows, values, 0.0)) / np.maximum(count, 1)
        centred = np.where(rows, values - mean, 0.0)
    deviation = np.sqrt(column_products(centred, centred) / np.maximum(count, 1))
    spread = (count >= LEAST_ROWS) & (deviation > 1e-9 * size)
    if spread.all():
        return centred / deviation
    return np.where(spread, centred / np.where(spread, deviation, 1.0), values / size)


def _dot_in_order(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sum of weighted matrices, added up in their order: the same bits on every machine."""
    total = np.zeros(values.shape[1:])
    for weight, matrix in zip(weights, values, strict=True):
        if weight != 0.0:
            total += weight * matrix
    return total
