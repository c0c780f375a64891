"""The last step of window features: from sums of a window to a ratio, one plain loop each.

Columns are (num_rows,) float64 (longer ones are read from the front), results (num_rows,) float32. NaN stays NaN; a
division by zero gives an infinity or NaN, which the caller turns into NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from factor_data.features.nested import Floats
from factor_data.kernel_cache import kernel

Result = NDArray[np.float32]


@kernel(nogil=True, error_model="numpy")
def part(value: float, whole: float) -> float:
    """value / whole, and 0 of nothing: what the published + 1e-12 is for, without being a price or a volume itself."""
    return value / whole if value != 0.0 else 0.0 * whole


@kernel(nogil=True, error_model="numpy")
def over(values: Floats, divisor: Floats, factor: float, result: Result) -> None:
    """factor * values / divisor."""
    for i in range(len(result)):
        result[i] = factor * values[i] / divisor[i]


@kernel(nogil=True, error_model="numpy")
def std_over(squares: Floats, window: int, divisor: Floats, result: Result) -> None:
    """Sample standard deviation over divisor, from the sum of squares around the mean."""
    for i in range(len(result)):
        result[i] = part(math.sqrt(squares[i] / (window - 1)), divisor[i])


@kernel(nogil=True, error_model="numpy")
def r_squared(trends: Floats, squares: Floats, bars: float, result: Result) -> None:
    """Share of the variance that a straight line explains, in [0, 1]; NaN for a constant window."""
    for i in range(len(result)):
        share = trends[i] * trends[i] / (bars * squares[i])
        result[i] = 1.0 if share > 1.0 else share


@kernel(nogil=True, error_model="numpy")
def residual_over(values: Floats, means: Floats, trends: Floats, reach: float, result: Result) -> None:
    """The newest value minus the line fitted through its window, over the value."""
    for i in range(len(result)):
        result[i] = (values[i] - means[i] - reach * trends[i]) / values[i]


@kernel(nogil=True, error_model="numpy")
def correlation(products: Floats, left: Floats, right: Floats, result: Result) -> None:
    """Pearson correlation from sums around the means; NaN where either column is constant in the window."""
    for i in range(len(result)):
        value = products[i] / (math.sqrt(left[i]) * math.sqrt(right[i]))
        value = 1.0 if value > 1.0 else value
        result[i] = -1.0 if value < -1.0 else value


@kernel(nogil=True, error_model="numpy")
def place_in_range(close: Floats, top: Floats, depth: Floats, result: Result) -> None:
    """(close - lowest) / (highest - lowest), `depth` being minus the lowest."""
    for i in range(len(result)):
        result[i] = part(close[i] + depth[i], top[i] + depth[i])
