"""Average ranks within groups, the work behind rank features, rank normalisers and rank targets.

Groups are laid out as the rows of a matrix of 64-bit keys, value in the upper half and place in the lower one, which
NumPy sorts with vector instructions; equal upper halves are ties. float32 values fit a key as they are; float64
values are sorted by the slower `argsort` first. Ranks are exact either way.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from factor_data.kernel_cache import kernel

RANK_BLOCK = 1 << 17  # values that are ranked at a time
MISSING_KEY = np.uint64(0xFFFFFFFFFFFFFFFF)
LOWER_HALF = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)

Keys = NDArray[np.uint64]  # (num_groups, size of the largest group)


def group_ranks(
    values: NDArray, group: NDArray[np.integer], order: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rank values within their group, 1 = smallest, ties share the average rank.

    Parameters
    ----------
    values : (num_rows,) float, NaN = missing
    group : (num_rows,) int, such as the date code of each row
    order : what `group_order(group)` gives, if it is at hand

    Returns
    -------
    ranks : (num_rows,) float64, NaN where the value is missing
    counts : (num_rows,) int64, how many known values the row's group has, 0 where the value is missing

    >>> group_ranks(np.array([3.0, 1.0, 1.0, np.nan]), np.zeros(4, dtype=int))[0]
    array([3. , 1.5, 1.5, nan])
    """
    if order is None:
        order = group_order(group)
    ranks, counts = np.full(len(values), np.nan), np.zeros(len(values), dtype=np.int64)
    for starts in group_blocks(group, order):
        rows = order[starts[0] : starts[-1]]
        ranks[rows], counts[rows] = ranks_of_runs(values[rows], starts - starts[0])
    return ranks, counts


def group_order(group: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the rows sorted by group, to be shared between calls of `group_ranks` on the same groups."""
    if len(group) and group.min() >= 0 and group.max() <= 4 * len(group):
        return _counting_order(np.ascontiguousarray(group, dtype=np.int64), int(group.max()) + 1)
    return np.argsort(group, kind="stable")


def group_blocks(group: NDArray[np.integer], order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the borders of some whole groups at a time, as places in `order`; blocks are bounded in memory."""
    sorted_group = group[order]
    borders = np.r_[0, np.flatnonzero(np.diff(sorted_group)) + 1, len(order)] if len(order) else order
    sizes = np.diff(borders)
    begin = 0
    while begin < len(sizes):
        end, widest = begin + 1, int(sizes[begin])
        while end < len(sizes) and max(widest, int(sizes[end])) * (end + 1 - begin) <= RANK_BLOCK:
            widest = max(widest, int(sizes[end]))
            end += 1
        yield borders[begin : end + 1]
        begin = end


def ranks_of_runs(values: NDArray, starts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rank each run `values[starts[g]:starts[g + 1]]` for itself; result as `group_ranks`."""
    keys = np.full((len(starts) - 1, int(np.diff(starts).max(initial=0))), MISSING_KEY)
    if values.dtype == np.float32:
        _pack_float32(values, starts, keys)
        keys.sort(axis=1)
    else:
        values = values.astype(np.float64)
        matrix = np.full(keys.shape, np.nan)
        matrix[np.arange(keys.shape[1]) < np.diff(starts)[:, None]] = values
        _pack_sorted(matrix, np.argsort(matrix, axis=1), keys)
    return _average_ranks(keys, starts)


@kernel(nogil=True)
def _pack_float32(values: NDArray[np.float32], starts: NDArray[np.int64], keys: Keys) -> None:
    """Turn each known value into a key of the same order."""
    for group in range(len(starts) - 1):
        run = values[starts[group] : starts[group + 1]]
        # Adding 0 makes -0 and 0 the same bits. Positive floats order as their bits, negative ones in reverse.
        bits = (run + np.float32(0.0)).view(np.uint32)
        for place in range(len(run)):
            if run[place] == run[place]:
                bit = np.uint64(bits[place])
                ordered = bit ^ LOWER_HALF if bit >> np.uint64(31) else bit | np.uint64(0x80000000)
                keys[group, place] = (ordered << HALF) | np.uint64(place)


@kernel(nogil=True)
def _pack_sorted(matrix: NDArray[np.float64], places: NDArray[np.int64], keys: Keys) -> None:
    """Turn each known value into a key that counts the different values below it."""
    for group in range(len(matrix)):
        different = np.uint64(0)
        for i in range(matrix.shape[1]):
            value = matrix[group, places[group, i]]
            if value != value:
                break
            different += np.uint64(i > 0 and value != matrix[group, places[group, i - 1]])
            keys[group, i] = (different << HALF) | np.uint64(places[group, i])


@kernel(nogil=True)
def _average_ranks(keys: Keys, starts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give each run its ranks from its sorted keys; missing ones are last."""
    ranks = np.full(starts[-1], np.nan)
    counts = np.zeros(starts[-1], dtype=np.int64)
    for group in range(len(starts) - 1):
        run = keys[group]
        known = 0
        while known < len(run) and run[known] != MISSING_KEY:
            known += 1
        first = 0
        for last in range(known):
            if last + 1 == known or run[last + 1] >> HALF != run[last] >> HALF:
                for tied in range(first, last + 1):
                    row = starts[group] + np.int64(run[tied] & LOWER_HALF)
                    ranks[row] = (first + last) / 2 + 1
                    counts[row] = known
                first = last + 1
    return ranks, counts


@kernel(nogil=True)
def _counting_order(group: NDArray[np.int64], num_groups: int) -> NDArray[np.int64]:
    """Stable sort by counting."""
    place = np.zeros(num_groups + 1, dtype=np.int64)
    for row in range(len(group)):
        place[group[row] + 1] += 1
    for number in range(num_groups):
        place[number + 1] += place[number]
    order = np.empty(len(group), dtype=np.int64)
    for row in range(len(group)):
        order[place[group[row]]] = row
        place[group[row]] += 1
    return order


@kernel(nogil=True)
def scaled_rank(rank: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Map ranks 1..count to [-1, 1], a single value to 0; NaN stays."""
    result = np.empty(len(rank))
    for row in range(len(rank)):
        single = count[row] <= 1
        result[row] = 2.0 * (rank[row] - 1.0) / max(count[row] - 1, 1) - (0.0 if single else 1.0)
    return result
