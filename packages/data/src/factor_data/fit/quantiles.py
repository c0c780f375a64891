"""The place of a value among quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_data.kernel_cache import kernel


@kernel(nogil=True)
def count_below(edges: NDArray[np.float64], value: float) -> int:
    """Return how many of the sorted `edges` are smaller than the value; a search without branches to mispredict."""
    first, left = 0, len(edges)
    while left > 0:
        half = (left + 1) >> 1
        first += half if edges[first + half - 1] < value else 0
        left -= half
    return first


@kernel(nogil=True)
def count_upto(edges: NDArray[np.float64], value: float) -> int:
    """Return how many of the sorted `edges` are not larger than the value."""
    first, left = 0, len(edges)
    while left > 0:
        half = (left + 1) >> 1
        first += half if edges[first + half - 1] <= value else 0
        left -= half
    return first


@kernel(nogil=True)
def shares_below(values: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the distribution below each value, NaN for NaN.

    `quantiles` (at least 2) are evenly spaced in probability from 0 to 1; between two the share is linear, on
    a run of equal ones it is the middle of the run.
    """
    steps = len(quantiles) - 1
    result = np.full(len(values), np.nan)
    for i in range(len(values)):
        value = values[i]
        if value == value:
            below = count_below(quantiles, value)
            if below <= steps and quantiles[below] == value:
                result[i] = 0.5 * (below + count_upto(quantiles, value) - 1) / steps
            elif below == 0 or below > steps:
                result[i] = 0.0 if below == 0 else 1.0
            else:
                low, high = quantiles[below - 1], quantiles[below]
                result[i] = (below - 1 + (value - low) / (high - low)) / steps
    return result
