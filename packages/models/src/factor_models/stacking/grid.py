"""Rows of dates as matrices with a date in each column: what is done per date is done for many dates at once.

Sums over a column add one row after the other, as they come: the same bits as a loop over the rows of a date, and those
of `numpy.bincount`. Cells without a row are missing, and count as 0 in a sum.
"""

from __future__ import annotations

import numpy as np

ROWS_AT_ONCE = 16
"""Rows of a matrix whose products are summed at once, so that they stay in the cache; no influence on results."""


def number_groups(labels: np.ndarray) -> np.ndarray:
    """Return whole numbers (num_rows,) replaced by 0, 1, 2 ... in ascending order."""
    if len(labels) and (labels[1:] >= labels[:-1]).all():
        return np.concatenate([[0], np.cumsum(labels[1:] != labels[:-1])])
    return np.unique(labels, return_inverse=True)[1].ravel()


class Grid:
    """Where rows (num_rows,) belong in a matrix (num_places, num_groups), by the number of each row's group.

    The rows of a group fill its column from the top, in the order in which they come.
    """

    def __init__(self, group: np.ndarray) -> None:
        self.num_rows, count = len(group), np.bincount(group)
        self.num_places, self.num_groups = int(count.max(initial=0)), len(count)
        ascending = bool((group[1:] >= group[:-1]).all())
        self.is_whole = ascending and self.num_places * self.num_groups == self.num_rows
        """Whether groups come one after the other and have the same number of rows: a matrix is only turned then."""
        if not self.is_whole:
            order = np.arange(self.num_rows) if ascending else np.argsort(group, kind="stable")
            first = np.cumsum(count) - count
            self.cell = np.empty(self.num_rows, dtype=np.int64)
            self.cell[order] = group[order] * self.num_places + np.arange(self.num_rows) - first[group[order]]

    def by_group(self, rows: np.ndarray) -> np.ndarray:
        """Return (num_groups, num_places) of rows (num_rows,), NaN where there is none."""
        if self.is_whole:
            return rows.reshape(self.num_groups, self.num_places).astype(np.float64, copy=False)
        matrix = np.full(self.num_groups * self.num_places, np.nan)
        matrix[self.cell] = rows
        return matrix.reshape(self.num_groups, self.num_places)

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """Return (num_places, num_groups) of rows (num_rows,), NaN where there is none."""
        return np.ascontiguousarray(self.by_group(rows).T)

    def rows(self, matrix: np.ndarray) -> np.ndarray:
        """Return the rows (num_rows,) of a matrix (num_places, num_groups)."""
        flat = np.ascontiguousarray(matrix.T).reshape(-1)
        return flat if self.is_whole else flat[self.cell]


def column_sums(matrix: np.ndarray) -> np.ndarray:
    """Return (num_groups,) sums of a matrix (num_places, num_groups) without NaN, added up from the top."""
    if matrix.shape[1] == 1:  # numpy adds up a single column in halves
        return np.bincount(np.zeros(len(matrix), dtype=np.int64), matrix[:, 0], minlength=1)
    return np.asarray(np.add.reduce(matrix, axis=0) + 0.0)


def column_products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return `column_sums` of the product of two matrices."""
    if x.shape[1] == 1:
        return column_sums(x * y)
    total, room = np.zeros(x.shape[1]), np.empty((ROWS_AT_ONCE + 1, x.shape[1]))
    for first in range(0, len(x), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        last = 1 + len(x[part])
        room[0] = total
        np.multiply(x[part], y[part], out=room[1:last])
        total = np.add.reduce(room[:last], axis=0)
    return total


def column_counts(chosen: np.ndarray) -> np.ndarray:
    """Return (num_groups,) how many cells of each column are chosen."""
    return np.asarray(np.add.reduce(chosen, axis=0, dtype=np.int32).astype(np.int64))


def column_ranks(by_group: np.ndarray) -> np.ndarray:
    """Return the ranks 0, 1, 2 ... of (num_groups, num_places) within each group, averages among equals.

    As (num_places, num_groups); what is not finite has none, and is NaN.
    """
    known = np.isfinite(by_group)
    keys = np.ascontiguousarray(np.where(known, by_group, np.inf))
    order = np.argsort(keys, axis=1)
    ordered = np.take_along_axis(keys, order, axis=1)
    ranks = np.empty(keys.shape)
    np.put_along_axis(ranks, order, np.arange(keys.shape[1], dtype=np.float64)[None], axis=1)
    equal = ordered[:, 1:] == ordered[:, :-1]
    equal &= ordered[:, 1:] < np.inf
    tied = np.flatnonzero(equal.any(axis=1))
    if len(tied):
        shared = np.empty((len(tied), keys.shape[1]))
        np.put_along_axis(shared, order[tied], _shared_places(ordered[tied]), axis=1)
        ranks[tied] = shared
    ranks[~known] = np.nan
    return np.ascontiguousarray(ranks.T)


def _shared_places(ordered: np.ndarray) -> np.ndarray:
    """Return the place of each value in its row, which is in order; equal values share the mean of theirs."""
    begins = np.ones(ordered.shape, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    tie = np.cumsum(begins.reshape(-1)) - 1
    place = np.tile(np.arange(ordered.shape[1]), len(ordered))
    return (np.bincount(tie, place) / np.bincount(tie))[tie].reshape(ordered.shape)


def standardised_columns(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix with mean 0 and variance 1 per column; NaN stays NaN, and a constant column becomes NaN."""
    known = np.isfinite(matrix)
    count = np.maximum(column_counts(known), 1)
    filled = np.where(known, matrix, 0.0)
    mean = column_sums(filled) / count
    centred = np.where(known, filled - mean, 0.0)
    deviation = np.sqrt(column_products(centred, centred) / count)
    usable = deviation > 1e-12 * np.abs(mean)
    return np.where(known & usable, centred / np.where(usable, deviation, 1.0), np.nan)
