"""Average ranks along rows, the base of rank IC, quantiles and diversity: exact, and as fast as a plain sort.

Sorting indices by value is slow; sorting numbers is what processors are good at. So every value becomes one
64-bit key: bits whose unsigned order is the order of the values, above, and the column, below. One in-place
sort of the keys then yields the columns in the order of their values. A float32 fits whole beside its column,
a float64 loses its last bits to it; keys that agree in what is left are put in order by the full values
afterwards. Nothing is rounded: ties are ties of the values given, and -0.0 ties with 0.0. Only a row whose values all
differ by no more than rounding (`dispersion`) is one tie for all that is built on ranks: it has no order to speak of.

Inside, ranks are doubled, because the average rank of a tie is a multiple of 1/2: integers cannot round.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import FloatArray, Matrix, Series
from factor_metrics.dispersion import EXACT, Rounding, is_rounding, rounding_of
from factor_metrics.kernel_cache import kernel

CELLS_AT_ONCE = 1 << 16  # a block of rows that stays in the second-level cache; no influence on results
MOST_COLUMNS = 1_000_000  # sums of cubes have to fit 63 bits, and a float64 key the column
Ranks = NDArray[np.int32]  # doubled, 0 = not ranked
Counts = NDArray[np.int64]
Keys = NDArray[np.uint64]

_SHORT_RUN = 32  # up to here inserting beats sorting


class RankedRows(NamedTuple):
    """Doubled ranks of a block of rows and what a correlation needs of them."""

    doubled_rank: NDArray[np.int32]
    """(num_rows, num_columns) twice the average rank, 1 = smallest; 0 where not present."""
    num_present: NDArray[np.int64]
    """(num_rows,) how many were ranked."""
    tie_term: NDArray[np.int64]
    """(num_rows,) sum of t^3 - t over the runs of t tied values."""


def rank_rows(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the rank of every value within its row, 1 = smallest, ties share their average rank.

    Equal to `scipy.stats.rankdata(row, method="average", nan_policy="omit")` row by row.

    Parameters
    ----------
    values
        (num_dates, num_symbols) float32 or float64. NaN is not ranked and stays NaN; the others are ranked
        among themselves.

    Returns
    -------
    numpy.ndarray
        (num_dates, num_symbols) float64, multiples of 1/2, exact.

    Examples
    --------
    >>> rank_rows(np.array([[0.3, 0.1, np.nan, 0.3]]))
    array([[2.5, 1. , nan, 2.5]])
    """
    if values.shape[1] > MOST_COLUMNS:
        return np.stack([_long_ranks(row) for row in values]) if len(values) else np.empty(values.shape)
    ranks = np.empty(values.shape)
    for block in row_blocks(*values.shape):
        present = ~np.isnan(values[block])
        ranked = rank_block(values[block], present, EXACT)
        np.multiply(ranked.doubled_rank, 0.5, out=ranks[block])
        ranks[block][~present] = np.nan
    return ranks


def _long_ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks (num_columns,) of one row that is too long for keys: slower, and the same."""
    ranks = np.full(len(values), np.nan)
    places = np.flatnonzero(~np.isnan(values))
    places = places[np.argsort(values[places], kind="stable")]
    ordered = values[places]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)])
    end = np.r_[first[1:], len(ordered)][: len(first)]
    ranks[places] = np.repeat(0.5 * (first + 1 + end), end - first)
    return ranks


def row_blocks(num_rows: int, num_columns: int) -> list[slice]:
    """Return slices that cover the rows in blocks that fit the cache."""
    height = max(1, CELLS_AT_ONCE // max(num_columns, 1))
    return [slice(first, min(first + height, num_rows)) for first in range(0, num_rows, height)]


def rank_block(
    values: NDArray[np.floating], present: NDArray[np.bool_], rounding: Rounding | None = None
) -> RankedRows:
    """Return the doubled ranks of `values` where `present`, row by row; both (num_rows, num_columns).

    Values that are present must be finite. float32 is ranked as it is, all else as float64. A row without dispersion,
    by the `rounding` of the values' type or the one given, is one tie.
    """
    values = np.ascontiguousarray(values, dtype=np.float32 if values.dtype == np.float32 else np.float64)
    keys, num_present, index_mask = _sorted_keys(values, present)
    doubled_rank = np.zeros(values.shape, dtype=np.int32)
    relative, least = rounding_of(values) if rounding is None else rounding
    tie_term = _spread_ranks(keys, values, num_present, index_mask, relative, least, doubled_rank)
    return RankedRows(doubled_rank, num_present, tie_term)


def order_rows(values: FloatArray) -> tuple[NDArray[np.uint32], Counts]:
    """Return the columns of each row in the order of their values, what is NaN last, and how many are not NaN."""
    keys, num_present, index_mask = _sorted_keys(values, ~np.isnan(values))
    return (keys & index_mask).astype(np.uint32), num_present


def _sorted_keys(values: FloatArray, present: NDArray[np.bool_]) -> tuple[Keys, Counts, np.uint64]:
    """Return the sorted keys of each row, how many columns are present, and the bits of a key that are the column."""
    num_columns = values.shape[1]
    if num_columns > MOST_COLUMNS:
        raise ValueError(f"at most {MOST_COLUMNS:,} symbols of a date can be ranked, got {num_columns:,}")
    num_index_bits = 32 if values.dtype == np.float32 else max(num_columns - 1, 1).bit_length()
    index_mask = np.uint64((1 << num_index_bits) - 1)
    keys = np.empty(values.shape, dtype=np.uint64)
    if values.dtype == np.float32:
        num_present = _pack_float32(values.view(np.uint32), present, keys)
    else:
        num_present = _pack_float64(values.view(np.uint64), present, index_mask, keys)
    keys.sort(axis=1)
    if values.dtype == np.float64:
        _order_within_equal_keys(keys, values, num_present, index_mask)
    return keys, num_present, index_mask


@kernel(nogil=True)
def _pack_float32(bits: NDArray[np.uint32], present: NDArray[np.bool_], keys: Keys) -> Counts:
    """Keys of float32 bits; what is not present gets the highest key and sorts last. Returns counts."""
    num_rows, num_columns = bits.shape
    num_present = np.zeros(num_rows, dtype=np.int64)
    sign = np.uint32(0x80000000)
    for row in range(num_rows):
        count = 0
        for column in range(num_columns):
            value = bits[row, column]
            value = np.uint32(0) if value == sign else value  # -0.0 is 0.0
            # Negative numbers grow downwards in their bits: all are flipped; of positive ones only the sign.
            ordered = ~value if value & sign else value | sign
            key = (np.uint64(ordered) << np.uint64(32)) | np.uint64(column)
            keys[row, column] = key if present[row, column] else ~np.uint64(0)
            count += present[row, column]
        num_present[row] = count
    return num_present


@kernel(nogil=True)
def _pack_float64(bits: NDArray[np.uint64], present: NDArray[np.bool_], index_mask: np.uint64, keys: Keys) -> Counts:
    """Keys of float64 bits without those under `index_mask`; otherwise as `_pack_float32`."""
    num_rows, num_columns = bits.shape
    num_present = np.zeros(num_rows, dtype=np.int64)
    sign = np.uint64(0x8000000000000000)
    for row in range(num_rows):
        count = 0
        for column in range(num_columns):
            value = bits[row, column]
            value = np.uint64(0) if value == sign else value
            ordered = ~value if value & sign else value | sign
            key = (ordered & ~index_mask) | np.uint64(column)
            keys[row, column] = key if present[row, column] else ~np.uint64(0)
            count += present[row, column]
        num_present[row] = count
    return num_present


@kernel(nogil=True)
def _order_within_equal_keys(keys: Keys, values: Matrix, num_present: Counts, index_mask: np.uint64) -> None:
    """Put the columns of a row whose keys differ in the column alone in the order of their full values."""
    for row in range(len(keys)):
        count = num_present[row]
        first = 0
        while first + 1 < count:
            last = first + 1
            while last < count and keys[row, first] ^ keys[row, last] <= index_mask:
                last += 1
            if last - first > 1:
                _sort_run(keys[row, first:last], values[row], index_mask)
            first = last


@kernel(nogil=True)
def _sort_run(run: Keys, row_values: Series, index_mask: np.uint64) -> None:
    """Sort a run of keys in place by the values of their columns; a run of equal values is left alone."""
    length = len(run)
    run_values = np.empty(length)
    ordered = True
    for place in range(length):
        run_values[place] = row_values[run[place] & index_mask]
        ordered = ordered and (place == 0 or run_values[place - 1] <= run_values[place])
    if ordered:
        return
    if length > _SHORT_RUN:
        run[:] = run[np.argsort(run_values)]
        return
    for place in range(1, length):
        key, value = run[place], run_values[place]
        before = place
        while before > 0 and run_values[before - 1] > value:
            run[before], run_values[before] = run[before - 1], run_values[before - 1]
            before -= 1
        run[before], run_values[before] = key, value


@kernel(nogil=True)
def _spread_ranks(
    keys: Keys,
    values: FloatArray,
    num_present: Counts,
    index_mask: np.uint64,
    relative: float,
    least: float,
    doubled_rank: Ranks,
) -> Counts:
    """Write the doubled rank of each sorted key to its column; return the tie term of each row."""
    tie_term = np.zeros(len(keys), dtype=np.int64)
    for row in range(len(keys)):
        count = num_present[row]
        if count > 0:
            low = np.float64(values[row, keys[row, 0] & index_mask])
            high = np.float64(values[row, keys[row, count - 1] & index_mask])
            if is_rounding(low, high, max(abs(low), abs(high)), relative, least):
                for place in range(count):
                    doubled_rank[row, keys[row, place] & index_mask] = count + 1
                tie_term[row] = count * count * count - count
                continue
        closest = ~np.uint64(0)
        for place in range(1, count):
            closest = min(closest, keys[row, place - 1] ^ keys[row, place])
        if closest > index_mask:  # no two keys agree in their value bits: the common case, without branches
            for place in range(count):
                doubled_rank[row, keys[row, place] & index_mask] = 2 * place + 2
        else:
            tie_term[row] = _spread_tied_ranks(keys[row], values[row], count, index_mask, doubled_rank[row])
    return tie_term


@kernel(nogil=True)
def _spread_tied_ranks(keys: Keys, values: FloatArray, count: int, index_mask: np.uint64, doubled_rank: Ranks) -> int:
    """As `_spread_ranks` for one row that may hold ties: places first + 1 to last share their average."""
    tie_term = 0
    first = 0
    while first < count:
        value = values[keys[first] & index_mask]
        last = first + 1
        while last < count and values[keys[last] & index_mask] == value:
            last += 1
        for place in range(first, last):
            doubled_rank[keys[place] & index_mask] = first + last + 1
        length = last - first
        tie_term += length * length * length - length
        first = last
    return tie_term
