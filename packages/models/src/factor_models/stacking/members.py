"""The members of a stack on one scale, and rows combined by weights over whichever members are there."""

from __future__ import annotations

import numpy as np

from factor_models.stacking.moments import Moments, date_moments, direction_moments
from factor_models.stacking.standardise import number_groups, rank_standardise

LEAST_ROWS = 3
"""Rows of a date that a spread is taken from; of fewer, forecasts are scaled by the sizes of the weights."""

MOST_MODELS = 16
"""Models whose patterns of presence are looked up in a table; those of more are sorted."""

DECIMALS = 12
"""Decimals that tell combined forecasts apart, in standard deviations of a date."""


class Members:
    """Out-of-fold forecasts of one label by several models, as ranks per date with mean 0 and variance 1.

    A model is absent from a row without a forecast, and from all rows of a date on which it tells none apart. With
    `direction` (num_rows,), 1 up, 0 down and NaN unknown, weights are learned by the AUC.
    """

    def __init__(
        self,
        predictions: np.ndarray,
        label: np.ndarray,
        date_code: np.ndarray,
        fold: np.ndarray,
        direction: np.ndarray | None = None,
    ) -> None:
        self.num_rows = predictions.shape[1]
        self.rows = np.flatnonzero(fold >= 0)
        self.date_code, self.fold = date_code[self.rows].astype(np.int64), fold[self.rows].astype(np.int64)
        self.forecasts = rank_standardise(np.asarray(predictions, np.float64)[:, self.rows], self.date_code, self.fold)
        width = int(self.date_code.max(initial=0)) + 1
        places = self.fold * width + self.date_code
        self.group = number_groups(places)
        dates = np.zeros(int(self.group.max(initial=-1)) + 1, dtype=np.int64)
        dates[self.group] = places
        self.fold_of_group = dates // width
        self.moments: Moments = date_moments(self.forecasts, label[self.rows], self.group, dates % width)
        """Moments of the label, in whose units the stack forecasts."""
        self.lessons = self.moments
        """What weights are learned from."""
        if direction is not None:
            self.lessons = direction_moments(self.forecasts, direction[self.rows], self.group, dates % width)
        self.folds = np.unique(self.fold)
        self.here = [_rows_of(self.fold == one) for one in self.folds]
        """The rows of each fold."""
        self.start = np.array([self.date_code[here].min() for here in self.here], dtype=np.int64)

    def teaching(self, place: int, purge: int) -> Moments:
        """Return what dates in earlier folds than the one at `place` teach whose labels were known as it began."""
        return self.lessons.take(self._known(place, purge))

    def ics_of(self, weights: np.ndarray, place: int, purge: int) -> np.ndarray:
        """Return (num_dates,) correlations with the label on the dates of `teaching`, for weights (num_models,)."""
        return self.moments.take(self._known(place, purge)).ics_of(weights)

    def _known(self, place: int, purge: int) -> np.ndarray:
        earlier = self.fold_of_group < self.folds[place]
        return earlier & (self.moments.dates + purge < self.start[place])

    def combine(self, place: int, weights: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (rows of the fold at `place`, their combined forecasts); NaN only where no `wanted` member is present.

        Weights (num_models,) are those of the members that are present, which is a row's pattern. A pattern's
        combination is centred and divided by its standard deviation over the rows of the date that have all its
        members: so forecasts of few members and of many are on one scale, and no other date takes part. Where all
        weights of those present are 0, they count the same. Sums of ranks that are equal stay so: what differs by less
        than 1e-12 is rounding.
        """
        here = self.here[place]
        return self.rows[here], combine_ranks(self.forecasts[:, here], self.group[here], weights, wanted)


def _rows_of(mask: np.ndarray) -> np.ndarray | slice:
    """Return the rows of a mask that has some; as a slice where they lie together, so that they need not be copied."""
    rows = np.flatnonzero(mask)
    return slice(int(rows[0]), int(rows[-1]) + 1) if rows[-1] - rows[0] + 1 == len(rows) else rows


def combine_ranks(forecasts: np.ndarray, group: np.ndarray, weights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return (num_rows,) combined forecasts of some dates, as `Members.combine` says.

    `forecasts` (num_models, num_rows) are ranks as `rank_standardise` gives them, `group` (num_rows,) whole numbers
    that tell the dates apart.
    """
    group = number_groups(group)
    present = np.isfinite(forecasts) & wanted[:, None]
    values = np.where(present, forecasts, 0.0)
    pattern_of_row, examples = _number_patterns(present)
    combined = np.full(len(group), np.nan)
    for number, pattern in enumerate(present[:, examples].T):
        if not pattern.any():
            continue
        used = np.where(pattern, weights, 0.0)
        used = used if np.abs(used).sum() > 0.0 else pattern / pattern.sum()
        rows = np.flatnonzero(present[pattern].all(axis=0))
        scaled = _centred_and_scaled(_dot_in_order(used, values[:, rows]), np.abs(used).sum(), group[rows])
        mine = pattern_of_row[rows] == number
        combined[rows[mine]] = scaled[mine]
    return np.round(combined, DECIMALS)


def _number_patterns(present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (num_rows,) a number for each row's pattern (num_models, num_rows), and a row that has each."""
    if len(present) > MOST_MODELS:
        number, examples = np.zeros(present.shape[1], dtype=np.int64), np.zeros(0, dtype=np.int64)
        for row in present:
            _, examples, number = np.unique(2 * number + row, return_index=True, return_inverse=True)
        return number.ravel(), examples
    code = np.zeros(present.shape[1], dtype=np.int64)
    for row in present:
        code = 2 * code + row
    example = np.full(1 << len(present), -1)
    example[code[::-1]] = np.arange(len(code))[::-1]  # of several rows the last one written stays, which is the first
    found = np.flatnonzero(example >= 0)
    number_of_code = np.zeros(len(example), dtype=np.int64)
    number_of_code[found] = np.arange(len(found))
    return number_of_code[code], example[found]


def _centred_and_scaled(values: np.ndarray, size: float, group: np.ndarray) -> np.ndarray:
    """Return values with mean 0 and variance 1 per group; over `size` where a group has few or they do not differ."""
    count = np.bincount(group)
    mean = np.bincount(group, values) / np.maximum(count, 1)
    centred = values - mean[group]
    deviation = np.sqrt(np.bincount(group, centred**2) / np.maximum(count, 1))
    spread = (count >= LEAST_ROWS) & (deviation > 1e-9 * size)
    return np.where(spread[group], centred / np.where(spread, deviation, 1.0)[group], values / size)


def _dot_in_order(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sum of weighted rows, added up in their order: the same bits on every machine."""
    total = np.zeros(values.shape[1])
    for weight, row in zip(weights, values, strict=True):
        total += weight * row
    return total
