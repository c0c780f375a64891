"""No dispersion: the one rule by which values count as all the same, relative to their size and never exactly 0.

What is equal by nature comes out of a computation different in its last bits: returns of an equity that grows by the
same share every day, the ICs of a linear copy, a network's forecast of symbols with equal inputs. To divide by such a
residue makes a Sharpe ratio of 8e13 out of rounding. So values have no dispersion where

    highest - lowest <= 64 eps * scale + tiny

with eps and tiny (the smallest normal number: some CPUs take smaller ones for 0) of the type that they were computed in
and `scale` their largest size. 64 eps, 1.4e-14 in float64 and 7.6e-6 in float32, is what a sum of 4,096 terms is off by
when roundings add up like a random walk. Returns and correlations are what is left of numbers of the size of 1 (a
growth of 1.0005, the square root of 1 - r^2), and are rounded like these: the scale of such a series is at least 1.

Whatever divides by a dispersion, or calls something constant, goes by this rule: the number is NaN then, and the reason
is given where there is room for one (`ICSummary.undefined`, `Performance.undefined`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from factor_metrics.checks import FloatArray
from factor_metrics.kernel_cache import kernel

ROUNDING_UNITS = 64  # of the type's eps: what equal values may differ by


class Rounding(NamedTuple):
    """By how much equal values of a type may differ."""

    relative: float
    """Share of their size."""
    least: float
    """Beside that, however small they are."""


EXACT = Rounding(0.0, 0.0)
"""Not at all: values are the same if they are equal."""


def rounding_of(values: ArrayLike | None = None, dtype: DTypeLike | None = None) -> Rounding:
    """Return the rounding of `dtype`, by default that of an array of floats; what is no float counts as float64."""
    kind = np.dtype(np.asarray(values).dtype if dtype is None else dtype)
    info = np.finfo(kind if kind.kind == "f" else np.float64)
    return Rounding(ROUNDING_UNITS * float(info.eps), float(info.tiny))


@kernel(nogil=True)
def is_rounding(low: float, high: float, scale: float, relative: float, least: float) -> bool:
    """Return whether values from `low` to `high`, of size `scale`, are the same up to rounding."""
    return high - low <= relative * scale + least


def no_dispersion(values: NDArray[np.floating], *, scale: float = 1.0, rounding: Rounding | None = None) -> bool:
    """Return whether values without NaN are the same up to rounding; true as well of one value or none.

    Parameters
    ----------
    values
        Any shape.
    scale
        Least size of the numbers that the values were computed from: 1 for returns and correlations.
    rounding
        Of the type they were computed in, default: that of the array.
    """
    if values.size < 2:
        return True
    low, high = float(values.min()), float(values.max())
    relative, least = rounding_of(values) if rounding is None else rounding
    return bool(is_rounding(low, high, max(abs(low), abs(high), scale), relative, least))


def no_dispersion_by_date(
    values: FloatArray, *, scale: NDArray[np.floating] | float = 0.0, rounding: Rounding | None = None
) -> NDArray[np.bool_]:
    """Return whether the values of each date are the same up to rounding, (num_dates,).

    Parameters
    ----------
    values
        (num_dates, num_symbols), NaN = missing. A date with one value or none has no dispersion.
    scale
        Least size of the numbers that they were computed from, one for all dates or (num_dates,).
    rounding
        As in `no_dispersion`.
    """
    relative, least = rounding_of(values) if rounding is None else rounding
    present = ~np.isnan(values)
    several = present.sum(axis=1) >= 2
    high = np.where(several, np.max(values, axis=1, where=present, initial=-np.inf), 0.0)
    low = np.where(several, np.min(values, axis=1, where=present, initial=np.inf), 0.0)
    size = np.maximum(np.maximum(np.abs(high), np.abs(low)), scale)
    return high - low <= relative * size + least


def reason(values: NDArray[np.floating], what: str) -> str:
    """Say why a number that divides by the dispersion of `values` is undefined; "" where it is not for lack of it."""
    if not len(values):
        return f"no {what} is known"
    if len(values) == 1:
        return f"there is one {what}, which has no dispersion"
    low, high = float(values.min()), float(values.max())
    return f"{len(values)} {what}s from {low:.6g} to {high:.6g} differ by {high - low:.2g}, no more than rounding"
