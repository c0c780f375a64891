"""Exact quantiles of columns that are read in parts, without holding any of them.

Numbers are counted by their leading bits, then those that share the leading bits of a wanted one by the next bits,
until all bits are known: a few readings, each with tables of bounded size. Radix selection, after Knuth, The Art of
Computer Programming 3, section 5.2.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data.chunks.workers import Workers
from factor_data.kernel_cache import kernel

MOST_BITS = 12
TABLE_SHARE = 16  # part of the memory that the tables of one part take
IN_TURN = Workers(max_bytes=2**26)

Values = NDArray[np.floating]
Ranks = Callable[[int], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class ColumnParts:
    """Columns of numbers that can be read again and again: `load(task)` gives the (rows, num_columns) of one part.

    NaN is missing. float32 or float64, the same in all parts.
    """

    load: Callable[[Any], Values]
    tasks: Sequence[Any]
    workers: Workers = IN_TURN

    @classmethod
    def of(cls, values: Values) -> ColumnParts:
        """One part that is in memory."""
        return cls(load=np.asarray, tasks=[values])

    def map(self, function: Callable[[Values], Any]) -> Iterator[Any]:
        """Apply a function to each part, in order."""
        return self.workers.map(partial(_load_and, self.load, function), self.tasks)


def quantiles(parts: ColumnParts, levels: Sequence[float] | NDArray) -> list[NDArray[np.float64]]:
    """Return for each column `np.quantile(known.astype(np.float64), levels)` of its known values.

    Equal to the bit (a zero is +0.0). Empty for a column without a known value. `levels` lie in [0, 1].
    """
    shares = np.asarray(levels, dtype=np.float64)

    def around(count: int) -> NDArray[np.int64]:
        below = np.floor(shares * (count - 1)).astype(np.int64)
        return np.concatenate([below, np.minimum(below + 1, count - 1)])

    counts, found = _select(parts, around)
    return [_interpolate(values, count, shares) for count, values in zip(counts, found, strict=True)]


def medians(parts: ColumnParts) -> list[float | None]:
    """Return for each column `np.median(known.astype(np.float64))` of its known values, None where it has none."""
    _, found = _select(parts, lambda count: np.array([(count - 1) // 2, count // 2]))
    return [float(np.mean(values)) if len(values) else None for values in found]


def moments(parts: ColumnParts) -> list[tuple[float, float]]:
    """Return for each column mean and population standard deviation of its known values.

    The deviation is exactly 0.0 for a constant column, and both are for one without a known value. Summed row after
    row, so that the parts decide no bit.
    """
    states: NDArray[np.float64] | None = None
    for add in (_add_values, _add_squares):
        for values in parts.map(np.asarray):
            if states is None:
                states = np.tile([0.0, 0.0, np.inf, -np.inf, 0.0], (values.shape[1], 1))
            for column, state in enumerate(states):
                add(values[:, column].astype(np.float64), state)
    assert states is not None
    return [
        (float(total / count), float(np.sqrt(squares / count))) if low < high else (low if count else 0.0, 0.0)
        for count, total, low, high, squares in states.tolist()
    ]


@kernel(nogil=True)
def _add_values(numbers: NDArray[np.float64], state: NDArray[np.float64]) -> None:
    """Carry on count, sum, least and largest over the known numbers."""
    for number in numbers:
        if number == number:
            state[0] += 1.0
            state[1] += number
            state[2] = min(state[2], number)
            state[3] = max(state[3], number)


@kernel(nogil=True)
def _add_squares(numbers: NDArray[np.float64], state: NDArray[np.float64]) -> None:
    """Carry on the sum of squared distances from the mean."""
    if state[0] > 0.0:
        mean = state[1] / state[0]
        for number in numbers:
            if number == number:
                state[4] += (number - mean) ** 2


def _interpolate(values: NDArray[np.float64], count: int, shares: NDArray) -> NDArray[np.float64]:
    """Between the values below and above, from the nearer one, as numpy rounds it."""
    if count == 0:
        return values
    low, high = np.split(values, 2)
    place = shares * (count - 1)
    share = place - np.floor(place)
    step = high - low
    return np.where(share >= 0.5, high - step * (1 - share), low + step * share)


def _select(parts: ColumnParts, ranks: Ranks) -> tuple[list[int], list[NDArray[np.float64]]]:
    """Per column how many values are known, and those of the ranks (0 = smallest) that `ranks` gives for so many."""
    shapes = list(parts.map(_columns_and_type))
    num_columns, kind = shapes[0]
    left = width = 8 * kind.itemsize  # bits that are not known yet
    groups = [np.zeros(1, dtype=np.uint64)] * num_columns
    counts: list[int] = []
    while left:
        bits = _bits_at_once(groups, left, width, parts.workers.max_bytes // TABLE_SHARE)
        tables = _count(parts, groups, left, bits)
        if not counts:
            counts = [int(table.sum()) for table in tables]
            rests = [ranks(count) if count else np.empty(0, dtype=np.int64) for count in counts]
            prefixes = [np.zeros(len(rest), dtype=np.uint64) for rest in rests]
        for column, table in enumerate(tables):
            row = np.searchsorted(groups[column], prefixes[column])
            prefixes[column], rests[column] = _descend(table, row, prefixes[column], rests[column], bits)
        groups = [np.unique(prefix) for prefix in prefixes]
        left -= bits
    return counts, [_values_of(prefix, kind) for prefix in prefixes]


def _bits_at_once(groups: list[NDArray[np.uint64]], left: int, width: int, table_bytes: int) -> int:
    """`MOST_BITS` at first, as the lookup of groups expects; then so many that the tables have `table_bytes`."""
    if left == width:
        return MOST_BITS
    num_rows = max(1, sum(len(group) for group in groups))
    return min(left, MOST_BITS, max(2, (table_bytes // (8 * num_rows)).bit_length() - 1))


def _count(parts: ColumnParts, groups: list[NDArray[np.uint64]], left: int, bits: int) -> list[NDArray[np.int64]]:
    """Per column (num_groups, 2**bits): how many values have the group's leading bits and then these `bits`."""
    total: list[NDArray[np.int64]] | None = None
    for tables in parts.map(partial(_count_part, groups, left, bits)):
        if total is None:
            total = tables
        else:
            for whole, part in zip(total, tables, strict=True):
                np.add(whole, part, out=whole)
    assert total is not None
    return total


def _count_part(groups: list[NDArray[np.uint64]], left: int, bits: int, values: Values) -> list[NDArray[np.int64]]:
    raw_type = np.uint32 if _kind(values) == np.float32 else np.uint64
    tables = []
    for column, group in enumerate(groups):
        table = np.zeros((len(group), 1 << bits), dtype=np.int64)
        if len(group):
            numbers = np.ascontiguousarray(values[:, column], dtype=_kind(values))
            width = np.uint64(8 * numbers.dtype.itemsize)
            _count_column(numbers, numbers.view(raw_type), group, width, np.uint64(left), np.uint64(bits), table)
        tables.append(table)
    return tables


@kernel(nogil=True)
def _count_column(
    numbers: NDArray,
    raw: NDArray,
    group: NDArray[np.uint64],
    width: np.uint64,
    left: np.uint64,
    bits: np.uint64,
    table: NDArray[np.int64],
) -> None:
    one = np.uint64(1)
    sign = one << (width - one)
    every = sign | (sign - one)
    low = (one << bits) - one
    first_bits = width - np.uint64(MOST_BITS)
    first_row = np.full(1 << MOST_BITS, -1, dtype=np.int64)  # leading bits -> first group that has them
    if left < width:
        for row in range(len(group) - 1, -1, -1):
            first_row[np.int64((group[row] << left) >> first_bits)] = row
    for i in range(len(numbers)):
        if numbers[i] != numbers[i]:
            continue
        key = np.uint64(raw[i])
        if numbers[i] == 0.0:
            key = np.uint64(0)
        key = (key ^ every) if key & sign else (key | sign)  # bits in the order of the numbers
        row = 0
        if left < width:
            row = first_row[np.int64(key >> first_bits)]
            if row < 0:
                continue
            lead = key >> left
            while row < len(group) and group[row] < lead:
                row += 1
            if row == len(group) or group[row] != lead:
                continue
        table[row, np.int64((key >> (left - bits)) & low)] += 1


def _descend(
    table: NDArray[np.int64],
    row: NDArray[np.integer],
    prefix: NDArray[np.uint64],
    rest: NDArray[np.int64],
    bits: int,
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Longer prefixes of the wanted values, and their ranks among the values that share them."""
    ends = np.cumsum(table, axis=1)
    cell = np.array(
        [np.searchsorted(ends[r], rank, side="right") for r, rank in zip(row, rest, strict=True)],
        dtype=np.int64,
    )
    before = ends[row, cell] - table[row, cell]
    return (prefix << np.uint64(bits)) | cell.astype(np.uint64), rest - before


def _values_of(keys: NDArray[np.uint64], kind: np.dtype) -> NDArray[np.float64]:
    """The numbers whose ordered bits these are."""
    width = 8 * kind.itemsize
    sign, every = np.uint64(1 << (width - 1)), np.uint64((1 << width) - 1)
    raw = np.where(keys & sign, keys ^ sign, keys ^ every)
    if width == 32:
        return raw.astype(np.uint32).view(np.float32).astype(np.float64)
    return raw.view(np.float64)


def _columns_and_type(values: Values) -> tuple[int, np.dtype]:
    return values.shape[1], _kind(values)


def _kind(values: NDArray) -> np.dtype:
    """The type that values are counted in: float32 as it is, all others as float64."""
    return np.dtype(np.float32 if values.dtype == np.float32 else np.float64)


def _load_and(load: Callable[[Any], Values], function: Callable[[Values], Any], task: Any) -> Any:
    return function(load(task))
