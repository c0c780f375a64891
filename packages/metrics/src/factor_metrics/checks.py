"""Validation at the edge: the one place where arguments become float64 matrices.

Matrices are `(num_dates, num_symbols)`, NaN means missing. Infinity is never a measurement: it is refused
with its position, because a single one silently turns a whole date into NaN (or into a perfect rank).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.matrices import as_wide

Matrix = NDArray[np.float64]
Series = NDArray[np.float64]
FloatArray = NDArray[np.float32] | NDArray[np.float64]


def as_array(name: str, values: ArrayLike, num_dimensions: int) -> NDArray[np.float64]:
    """Return `values` as float64 of `num_dimensions` dimensions (no copy where it already is)."""
    return as_float_array(name, values, num_dimensions).astype(np.float64, copy=False)


def as_float_array(name: str, values: ArrayLike, num_dimensions: int) -> FloatArray:
    """Return `values` as it is if float32, else as float64, of `num_dimensions` dimensions."""
    array = np.asarray(as_wide(name, values) if num_dimensions == 2 else values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numeric, got an array of dtype {array.dtype}")
    if array.dtype != np.float32:
        array = array.astype(np.float64, copy=False)
    if array.ndim != num_dimensions:
        shape_rule = {
            1: "(num_dates,)",
            2: "(num_dates, num_symbols)",
            3: "(num_models or num_horizons, num_dates, num_symbols)",
        }
        raise ValueError(f"{name} must have shape {shape_rule[num_dimensions]}, got {array.shape}")
    _refuse_infinite(name, array)
    return array


def as_matrix(name: str, values: ArrayLike) -> Matrix:
    """Return `values` as a float64 matrix (num_dates, num_symbols)."""
    return as_array(name, values, 2)


def as_series(name: str, values: ArrayLike) -> Series:
    """Return `values` as a float64 series (num_dates,)."""
    return as_array(name, values, 1)


def check_same_shape(name_a: str, a: NDArray, name_b: str, b: NDArray) -> None:
    """Refuse two arrays that do not cover the same dates and symbols."""
    if a.shape != b.shape:
        raise ValueError(f"{name_a} and {name_b} must have the same shape, got {a.shape} and {b.shape}")


def check_at_least(name: str, value: int, minimum: int) -> None:
    """Refuse an integer argument below its minimum (or one that is no integer)."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be an integer, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")


def check_share(name: str, value: float) -> None:
    """Refuse a number outside the open interval (0, 1)."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value!r}")


def check_quantiles(num_quantiles: int, num_symbols: int) -> None:
    """Refuse a number of quantiles below 2 or above the number of symbols."""
    check_at_least("num_quantiles", num_quantiles, 2)
    if num_quantiles > num_symbols:
        raise ValueError(f"num_quantiles must be at most num_symbols = {num_symbols}, got {num_quantiles}")


def refuse_cells(name: str, rule: str, values: FloatArray, bad: NDArray[np.bool_]) -> None:
    """Refuse an array with `bad` cells: count, rule and the first three with place and value."""
    if bad.any():
        places = [tuple(int(i) for i in place) for place in np.argwhere(bad)[:3]]
        first = "; ".join(f"{place}: {values[place]}" for place in places)
        raise ValueError(f"{name} {rule}, got {np.count_nonzero(bad)} other value(s), first at {first}")


def _refuse_infinite(name: str, array: FloatArray) -> None:
    infinite = np.isinf(array)
    if infinite.any():
        places = np.argwhere(infinite)
        first = ", ".join(str(tuple(int(i) for i in place)) for place in places[:3])
        raise ValueError(f"{name} holds {len(places)} infinite value(s), first at {first}; use NaN for a missing value")
