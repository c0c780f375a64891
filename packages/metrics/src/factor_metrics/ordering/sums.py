"""Sums inside compiled loops, to the bit those of numpy along a row: halves of the row, and eight at a time within 128.

A plain loop adds one number after the other; its last bits are others, and so are those of all that is made of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import Series
from factor_metrics.kernel_cache import kernel

_AT_ONCE = 128


@kernel(nogil=True)
def row_sum(values: Series) -> float:
    """Return `values.sum()`."""
    count = len(values)
    if count > _AT_ONCE:
        half = count // 2
        half -= half % 8
        return row_sum(values[:half]) + row_sum(values[half:])
    total = 0.0
    whole = count - count % 8 if count >= 8 else 0
    if whole:
        part = values[:8].copy()
        for first in range(8, whole, 8):
            for place in range(8):
                part[place] += values[first + place]
        total = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))
    for place in range(whole, count):
        total += values[place]
    return total


@kernel(nogil=True)
def row_product(x: Series, y: Series, room: Series) -> float:
    """Return `(x * y).sum()`; `room` (len(x),) is written over."""
    for place in range(len(x)):
        room[place] = x[place] * y[place]
    return row_sum(room)


@kernel(nogil=True)
def group_sums(values: Series, group: NDArray[np.int64], num_groups: int) -> Series:
    """Return per group `row_sum` of the values with 0 in the place of those of other groups; -1 is in none."""
    count = len(values)
    if count > _AT_ONCE:
        half = count // 2
        half -= half % 8
        return group_sums(values[:half], group[:half], num_groups) + group_sums(values[half:], group[half:], num_groups)
    totals = np.zeros(num_groups)
    whole = count - count % 8
    part = np.zeros((num_groups, 8))
    for place in range(whole):
        if group[place] >= 0:
            part[group[place], place % 8] += values[place]
    for one in range(num_groups):
        own = part[one]
        totals[one] = ((own[0] + own[1]) + (own[2] + own[3])) + ((own[4] + own[5]) + (own[6] + own[7]))
    for place in range(whole, count):
        if group[place] >= 0:
            totals[group[place]] += values[place]
    return totals
