"""The nearest sizes of positions inside all limits: exact by shifting and clipping, or by Newton steps.

Sizes are |weight| of the symbols wanted, sides are 1 or -1; both solvers are used by `limits`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import Matrix, Series
from factor_metrics.kernel_cache import kernel

_MAX_STEPS = 200
_TOLERANCE = 1e-13  # of the largest size: where the steps end
_ACCEPTED = 1e-9  # what rounding may keep them from reaching


@kernel(nogil=True)
def project_sizes(
    size: Series, side: Series, max_weight: float, max_gross: float, min_net: float, max_net: float
) -> NDArray[np.float64]:
    """Return the nearest sizes in [0, max_weight] with sum at most max_gross and sum of side x size in the net limits.

    The solution is clip(size - a, 0, max_weight) for longs and clip(size - b, ...) for shorts. Tried in turn:
    no shift; net alone (b = -a); gross alone (a = b); both, where the sums of longs and of shorts are known.
    """
    longs, shorts = size[side > 0.0], size[side < 0.0]
    a, b = 0.0, 0.0
    net = _clipped_sum(longs, 0.0, max_weight) - _clipped_sum(shorts, 0.0, max_weight)
    if net > max_net:
        a = _solve_shift(longs, shorts, max_net, max_weight)
    elif net < min_net:
        a = _solve_shift(longs, shorts, min_net, max_weight)
    b = -a
    if _clipped_sum(longs, a, max_weight) + _clipped_sum(shorts, b, max_weight) > max_gross:
        a = _solve_shift(size, size[:0], max_gross, max_weight)
        b = a
        net = _clipped_sum(longs, a, max_weight) - _clipped_sum(shorts, b, max_weight)
        if net > max_net or net < min_net:
            bound = max_net if net > max_net else min_net
            a = _solve_shift(longs, longs[:0], (max_gross + bound) / 2.0, max_weight)
            b = _solve_shift(shorts, shorts[:0], (max_gross - bound) / 2.0, max_weight)
    projected = np.empty(len(size))
    for index in range(len(size)):
        shift = a if side[index] > 0.0 else b
        projected[index] = min(max(size[index] - shift, 0.0), max_weight)
    return projected


@kernel(nogil=True)
def _clipped_sum(size: Series, shift: float, cap: float) -> float:
    total = 0.0
    for value in size:
        total += min(max(value - shift, 0.0), cap)
    return total


@kernel(nogil=True)
def _num_free(size: Series, shift: float, cap: float) -> int:
    """How many sizes a small change of the shift moves."""
    count = 0
    for value in size:
        count += 0.0 < value - shift < cap
    return count


@kernel(nogil=True)
def _solve_shift(longs: Series, shorts: Series, wanted: float, cap: float) -> float:
    """Root of the falling, piecewise linear clipped difference: Newton steps inside a bracket, else halving."""
    reach = abs(wanted) + (cap if cap < np.inf else 0.0) + 1.0
    for value in longs:
        reach = max(reach, 2.0 * value + abs(wanted))
    for value in shorts:
        reach = max(reach, 2.0 * value + abs(wanted))
    low, high, shift = -reach, reach, 0.0
    for _ in range(_MAX_STEPS):
        excess = _clipped_sum(longs, shift, cap) - _clipped_sum(shorts, -shift, cap) - wanted
        if excess > 0.0:
            low = shift
        else:
            high = shift
        free = _num_free(longs, shift, cap) + _num_free(shorts, -shift, cap)
        following = shift + excess / free if free > 0 else 0.5 * (low + high)
        if following == shift or excess == 0.0:
            break
        if not low < following < high:
            following = 0.5 * (low + high)
        if following in (low, high):
            break
        shift = following
    return shift


def solve_constrained(
    size: Series, cap: float, rows: Matrix, bounds: Series, equal: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the sizes in [0, cap] nearest to `size` with rows @ sizes = bounds (where `equal`), else <= bounds.

    Projected Newton steps on the few multipliers y, from which the sizes clip(size - rows' y, 0, cap) follow.
    The dual of the projection is concave and piecewise quadratic: Bertsekas (1982), "Projected Newton methods
    for optimization problems with simple constraints". Rows should have length one.
    """
    scale = max(float(size.max(initial=0.0)), 1e-300)
    multipliers = np.zeros(len(rows))
    sizes = np.clip(size, 0.0, cap)
    for _ in range(_MAX_STEPS):
        slope = rows @ sizes - bounds
        working = equal | (multipliers > 0.0) | (slope > 0.0)
        error = float(np.abs(slope[working]).max(initial=0.0))
        if error < _TOLERANCE * scale:
            return sizes
        inside = size - rows.T @ multipliers
        free = rows[np.ix_(working, (inside > 0.0) & (inside < cap))]
        curvature = free @ free.T
        curvature[np.diag_indices_from(curvature)] += 1e-12 * max(float(np.trace(curvature)), 1e-3)
        step = np.zeros(len(rows))
        step[working] = np.linalg.solve(curvature, slope[working])
        multipliers, sizes = _line_search(size, cap, rows, bounds, equal, multipliers, sizes, step)
    if error > _ACCEPTED * scale:
        raise ValueError(f"limits and exposures leave an error of {error:g} after {_MAX_STEPS} Newton steps")
    return sizes


def _line_search(
    size: Series,
    cap: float,
    rows: Matrix,
    bounds: Series,
    equal: NDArray[np.bool_],
    multipliers: Series,
    sizes: Series,
    step: Series,
) -> tuple[Series, Series]:
    """Halve the step until the dual value rises enough (Armijo); multipliers of bounds stay at or above 0."""

    def dual(point: Series, chosen: Series) -> float:
        return 0.5 * float(np.square(chosen - size).sum()) + float(point @ (rows @ chosen - bounds))

    value, slope = dual(multipliers, sizes), rows @ sizes - bounds
    rounding = 1e-15 * (abs(value) + float(np.square(size).sum()))
    part = 1.0
    for _ in range(60):
        moved = multipliers + part * step
        moved = np.where(equal, moved, np.maximum(moved, 0.0))
        chosen = np.clip(size - rows.T @ moved, 0.0, cap)
        if dual(moved, chosen) >= value + 1e-4 * float(slope @ (moved - multipliers)) - rounding:
            break
        part *= 0.5
    return moved, chosen
