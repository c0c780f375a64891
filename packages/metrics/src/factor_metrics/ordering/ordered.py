"""A matrix whose rows are put in order once, however often they are ranked.

A label is ranked against every forecast and floor, a forecast against every label, exposure and age: each time among
the symbols that both sides have. Sorting is what costs. The order of a part of a row is the order of the row with the
others left out, so one order is gone through for all of them, and ranks come out as those of `rank_block`, to the bit:
ties are ties of the values, a row whose values differ by no more than rounding is one tie, and all is counted in whole
numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import FloatArray, Matrix, Series, as_float_array
from factor_metrics.dispersion import EXACT, Rounding, is_rounding
from factor_metrics.kernel_cache import kernel
from factor_metrics.ordering.ranks import Counts, Ranks, order_rows, row_blocks

Columns = NDArray[np.uint32]
Order = tuple[Columns, Counts, NDArray[np.bool_]]
"""(num_rows, num_columns) columns by value; (num_rows,) how many are known, and whether any two of them are equal."""


class OrderedMatrix:
    """A matrix (num_dates, num_symbols) with the columns of each row in the order of their values; NaN = missing.

    It stands wherever a prediction or label of that shape does; what ranks it does not sort it again. Rows are taken by
    slices. The values are not to be changed.
    """

    def __init__(self, values: ArrayLike, name: str = "values") -> None:
        given = as_float_array(name, values, 2)
        self.values: FloatArray = given if given.flags.c_contiguous else given.copy()
        columns = np.empty(self.values.shape, dtype=np.uint32)
        num_known = np.empty(len(self.values), dtype=np.int64)
        for block in row_blocks(*self.values.shape):
            columns[block], num_known[block] = order_rows(self.values[block])
        self.order: Order = columns, num_known, _tied_rows(columns, num_known, self.values)

    @classmethod
    def _of(cls, values: FloatArray, order: Order) -> OrderedMatrix:
        made = cls.__new__(cls)
        made.values, made.order = values, order
        return made

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> OrderedMatrix:
        columns, num_known, tied = self.order
        return self._of(self.values[rows], (columns[rows], num_known[rows], tied[rows]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (num_dates, num_symbols)."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the values, by which they are the same up to rounding."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """Return 2."""
        return self.values.ndim

    def where(self, kept: NDArray[np.bool_]) -> OrderedMatrix:
        """Return the matrix with what is not `kept` (num_dates, num_symbols) missing; nothing is sorted."""
        values = np.where(kept, self.values, np.array(np.nan, dtype=self.dtype))
        columns, num_known = _kept_columns(self.order, kept.view(np.uint8))
        return self._of(values, (columns, num_known, self.order[2]))

    def in_this_order(self, values: FloatArray, kept: NDArray[np.bool_]) -> OrderedMatrix:
        """Return other values that rise with these where `kept`, and are equal where these are; elsewhere NaN."""
        columns, num_known = _kept_columns(self.order, kept.view(np.uint8))
        return self._of(values, (columns, num_known, self.order[2]))


Rows = FloatArray | OrderedMatrix
"""A matrix, with the order of its rows or without."""


def as_rows(name: str, values: ArrayLike | OrderedMatrix) -> Rows:
    """Return an ordered matrix as it is, and anything else as `as_float_array` does."""
    return values if isinstance(values, OrderedMatrix) else as_float_array(name, values, 2)


def as_ordered(name: str, values: ArrayLike | OrderedMatrix) -> OrderedMatrix:
    """Return an ordered matrix as it is, and anything else put in order."""
    return values if isinstance(values, OrderedMatrix) else OrderedMatrix(values, name)


def values_of(rows: Rows) -> FloatArray:
    """Return the values of a matrix, ordered or not."""
    return rows.values if isinstance(rows, OrderedMatrix) else rows


def ranks_among(matrix: OrderedMatrix, kept: NDArray[np.bool_]) -> Matrix:
    """Return `rank_rows` of what is `kept` of a matrix, NaN elsewhere."""
    ranks = np.full(matrix.shape, np.nan)
    _ranks_among(matrix.order, matrix.values, kept.view(np.uint8), EXACT, ranks)
    return ranks


@kernel(nogil=True)
def rank_known(
    order: Order,
    row: int,
    values: Series,
    known: NDArray[np.uint8],
    rounding: Rounding,
    left: Columns,
    doubled_rank: Ranks,
) -> tuple[int, int]:
    """Rank a row among the columns that are `known` on the other side as well.

    Write these columns, in order, to the front of `left`, and the doubled rank of each to its column; return their
    number and the tie term. Values that differ by no more than rounding are one tie. Columns that are left out may have
    any number.
    """
    columns, num_known, tied = order
    count = 0
    for place in range(num_known[row]):
        column = columns[row, place]
        left[count] = column
        doubled_rank[column] = 2 * count + 2
        count += known[column]
    if count == 0:
        return 0, 0
    if same_up_to_rounding(values[left[0]], values[left[count - 1]], rounding):
        for place in range(count):
            doubled_rank[left[place]] = count + 1
        return count, count * count * count - count
    tie_term, first = 0, 0
    while tied[row] and first < count:
        last = first + 1
        while last < count and values[left[last]] == values[left[first]]:
            last += 1
        for place in range(first, last):
            doubled_rank[left[place]] = first + last + 1
        length = last - first
        tie_term += length * length * length - length
        first = last
    return count, tie_term


@kernel(nogil=True)
def known_up_to_rounding(order: Order, row: int, values: Series, known: NDArray[np.uint8], rounding: Rounding) -> bool:
    """Return whether the values of a row that are `known` on the other side, one at least, are the same."""
    columns, num_known, _ = order
    first, last = 0, num_known[row] - 1
    while not known[columns[row, first]]:
        first += 1
    while not known[columns[row, last]]:
        last -= 1
    return same_up_to_rounding(values[columns[row, first]], values[columns[row, last]], rounding)


@kernel(nogil=True)
def same_up_to_rounding(lowest: float, highest: float, rounding: Rounding) -> bool:
    """Return whether values between these two are the same up to rounding."""
    low, high = np.float64(lowest), np.float64(highest)
    return is_rounding(low, high, max(abs(low), abs(high)), rounding.relative, rounding.least)


@kernel(nogil=True)
def _tied_rows(columns: Columns, num_known: Counts, values: FloatArray) -> NDArray[np.bool_]:
    """Return whether any two known values of a row are equal, (num_rows,)."""
    tied = np.zeros(len(values), dtype=np.bool_)
    for row in range(len(values)):
        equal = 0
        for place in range(1, num_known[row]):
            equal += values[row, columns[row, place - 1]] == values[row, columns[row, place]]
        tied[row] = equal > 0
    return tied


@kernel(nogil=True)
def _kept_columns(order: Order, kept: NDArray[np.uint8]) -> tuple[Columns, Counts]:
    """Return the columns in their order without those that are not kept, and how many are left."""
    columns, num_known, _ = order
    left, counts = np.zeros(kept.shape, dtype=np.uint32), np.zeros(len(kept), dtype=np.int64)
    for row in range(len(kept)):
        count = 0
        for place in range(num_known[row]):
            column = columns[row, place]
            left[row, count] = column
            count += kept[row, column]
        counts[row] = count
    return left, counts


@kernel(nogil=True)
def _ranks_among(order: Order, values: FloatArray, kept: NDArray[np.uint8], rounding: Rounding, ranks: Matrix) -> None:
    """Write the ranks of what is kept; the rest stays."""
    num_rows, num_columns = values.shape
    left, doubled_rank = np.empty(num_columns, dtype=np.uint32), np.empty(num_columns, dtype=np.int32)
    for row in range(num_rows):
        count, _ = rank_known(order, row, values[row], kept[row], rounding, left, doubled_rank)
        for place in range(count):
            ranks[row, left[place]] = 0.5 * doubled_rank[left[place]]
