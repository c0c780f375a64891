"""Position limits that hold all at once: the nearest book inside every limit, not one limit after the other.

Scaling to one limit after another undoes the earlier ones. Here the wanted weights of a date are projected
(least squares) onto the one set in which every limit holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix
from factor_metrics.labels import same_labels
from factor_metrics.portfolio.neutralise import as_exposures, project_out
from factor_metrics.portfolio.projection import project_sizes, solve_constrained


@dataclass(frozen=True, kw_only=True)
class PositionLimits:
    """Limits of a book as shares of equity; infinity = no limit."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    max_weight: float = math.inf
    """|weight| of one symbol, at most."""
    max_gross: float = math.inf
    """Sum of |weight| (leverage), at most."""
    min_net: float = -math.inf
    """Sum of weights, at least."""
    max_net: float = math.inf
    """Sum of weights, at most."""
    max_group: float = math.inf
    """Sum of |weight| within one group (sector, country), at most."""

    def __post_init__(self) -> None:
        """Refuse limits out of their range."""
        for name in ("max_weight", "max_gross", "max_group"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)!r}")
        if not self.min_net <= self.max_net:
            raise ValueError(f"min_net must be at most max_net, got {self.min_net!r} and {self.max_net!r}")


@same_labels("weights", "exposures", "groups")
def apply_limits(
    weights: ArrayLike,
    limits: PositionLimits,
    *,
    groups: ArrayLike | None = None,
    exposures: ArrayLike | None = None,
) -> Matrix:
    """Return, per date, the weights nearest to the wanted ones (sum of squares) within every limit.

    A limit opens no position and turns no side: symbols with weight 0 stay 0, longs stay at or above 0 and
    shorts at or below. Weights inside the limits come back unchanged.

    Without groups and exposures the projection is exact: sizes are shifted by one number for longs and one for
    shorts and clipped. With them the multipliers of the limits are found by Newton steps, followed by a scaling
    towards 0 for what rounding left: under it limits keep holding and neutral books stay neutral.

    Parameters
    ----------
    weights
        (num_dates, num_symbols) wanted, as shares of equity. A date is all NaN (no decision: it stays NaN) or
        has no NaN.
    limits
        See `PositionLimits`.
    groups
        (num_symbols,) integers; needed with `max_group`.
    exposures
        (num_dates, num_symbols, num_exposures): the book has none of them, sum of weight times exposure = 0.
        No NaN where the weight is not 0.

    Returns
    -------
    numpy.ndarray
        (num_dates, num_symbols); limits hold to about 1e-12 of the gross, sides with exposures to 1e-9.

    Raises
    ------
    ValueError
        No book can satisfy the net limit (with its date); 0 is outside of the net limits although groups or
        exposures are given; or the Newton steps do not settle.
    """
    wanted = as_matrix("weights", weights)
    decided = decided_dates(wanted)
    members = _groups(groups, limits, wanted.shape[1])
    loadings = None if exposures is None else as_exposures(exposures, wanted.shape)
    if loadings is not None and limits.min_net == limits.max_net == 0.0:
        # Net 0 as one more exposure: met to rounding instead of to the solver's tolerance.
        loadings = np.concatenate([loadings, np.ones((*wanted.shape, 1))], axis=2)
    if (members is not None or loadings is not None) and not limits.min_net <= 0.0 <= limits.max_net:
        raise ValueError(
            f"groups and exposures need net limits that allow 0, got {limits.min_net!r} to {limits.max_net!r}"
        )
    limited = np.full(wanted.shape, np.nan)
    for date in np.flatnonzero(decided):
        row = np.zeros(wanted.shape[1])
        held = np.flatnonzero(wanted[date])
        loading = None if loadings is None else loadings[date, held]
        if loading is not None and np.isnan(loading).any():
            symbol = int(held[np.isnan(loading).any(axis=1)][0])
            raise ValueError(f"exposures must be known where a weight is wanted; NaN at {(int(date), symbol)}")
        member = None if members is None else members[held]
        row[held] = _limit_row(wanted[date, held], limits, member, loading, int(date))
        limited[date] = row
    return limited


@same_labels("weights", "groups")
def limit_excess(weights: ArrayLike, limits: PositionLimits, *, groups: ArrayLike | None = None) -> dict[str, Series]:
    """Return by how much each limit is exceeded per date, 0 or negative = it holds, NaN = no book.

    Keys max_weight, max_gross, min_net, max_net and, with `groups`, max_group; (num_dates,) each. For the books
    that are really held: they drift with prices between two decisions.
    """
    book = as_matrix("weights", weights)
    decided = decided_dates(book)
    members = _groups(groups, limits, book.shape[1])
    size, net = np.abs(book), book.sum(axis=1)
    excess = {
        "max_weight": size.max(axis=1, initial=0.0) - limits.max_weight,
        "max_gross": size.sum(axis=1) - limits.max_gross,
        "min_net": limits.min_net - net,
        "max_net": net - limits.max_net,
    }
    if members is not None:
        sums = np.column_stack([size[:, members == group].sum(axis=1) for group in np.unique(members)])
        excess["max_group"] = sums.max(axis=1, initial=0.0) - limits.max_group
    return {name: np.where(decided, values, np.nan) for name, values in excess.items()}


def decided_dates(weights: Matrix) -> NDArray[np.bool_]:
    """Return which dates have a book; refuse dates on which only some weights are NaN."""
    missing = np.isnan(weights)
    mixed = np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1))
    if len(mixed):
        first = ", ".join(str(int(date)) for date in mixed[:3])
        raise ValueError(
            f"weights of a date must be all NaN (no decision) or all known (0 = not held); {len(mixed)} date(s) "
            f"are mixed, first at rows {first}"
        )
    return np.asarray((~missing).any(axis=1))


def _limit_row(
    wanted: Series,
    limits: PositionLimits,
    groups: NDArray[np.int64] | None,
    exposures: NDArray[np.float64] | None,
    date: int,
) -> Series:
    """Return the projection of one date; `wanted` has no 0."""
    side = np.sign(wanted)
    num_long, num_short = int((side > 0.0).sum()), int((side < 0.0).sum())
    highest = min(limits.max_weight * num_long, limits.max_gross) if num_long else 0.0
    lowest = -min(limits.max_weight * num_short, limits.max_gross) if num_short else 0.0
    if highest < limits.min_net or lowest > limits.max_net:
        raise ValueError(
            f"no book at row {date} can have a net weight from {limits.min_net!r} to {limits.max_net!r}: "
            f"{num_long} long and {num_short} short symbol(s) reach {lowest:g} to {highest:g}"
        )
    bounds = (limits.max_weight, limits.max_gross, limits.min_net, limits.max_net)
    if groups is None and exposures is None:
        return side * project_sizes(np.abs(wanted), side, *bounds)
    constraints = _constraints(side, limits, groups, exposures)
    book = side * solve_constrained(np.abs(wanted), limits.max_weight, *constraints)
    if exposures is not None:
        kept = book != 0.0
        book[kept] = project_out(book[kept], exposures[kept])  # what is left of the tolerance
    members = [] if groups is None else [np.flatnonzero(groups == group) for group in np.unique(groups)]
    return book * _scale_inside(book, limits, members)


def _constraints(
    side: Series,
    limits: PositionLimits,
    groups: NDArray[np.int64] | None,
    exposures: NDArray[np.float64] | None,
) -> tuple[Matrix, Series, NDArray[np.bool_]]:
    """(rows, bounds, equality): rows @ sizes = or <= bounds, each row scaled to length one."""
    rows = [] if exposures is None else list((exposures * side[:, None]).T)
    bounds, num_equal = [0.0] * len(rows), len(rows)
    for row, bound in (
        (np.ones(len(side)), limits.max_gross),
        (side, limits.max_net),
        (-side, -limits.min_net),
    ):
        if math.isfinite(bound):
            rows.append(row)
            bounds.append(bound)
    if groups is not None and math.isfinite(limits.max_group):
        for group in np.unique(groups):
            rows.append((groups == group).astype(np.float64))
            bounds.append(limits.max_group)
    matrix = np.array(rows).reshape(len(rows), len(side))
    length = np.sqrt(np.square(matrix).sum(axis=1))
    length[length == 0.0] = 1.0
    return matrix / length[:, None], np.array(bounds) / length, np.arange(len(rows)) < num_equal


def _scale_inside(book: Series, limits: PositionLimits, members: list[NDArray[np.intp]]) -> float:
    """Return the largest factor up to 1 with which every limit holds (each of them allows 0)."""
    size, net = np.abs(book), float(book.sum())
    factor = 1.0
    for value, limit in (
        (float(size.max(initial=0.0)), limits.max_weight),
        (float(size.sum()), limits.max_gross),
        (net, limits.max_net),
        (-net, -limits.min_net),
        (max((float(size[group].sum()) for group in members), default=0.0), limits.max_group),
    ):
        # A net limit of exactly 0 is met to rounding; scaling to 0 for 1e-17 would be absurd.
        if value > limit + 1e-9 * float(size.sum()) or value > limit > 0.0:
            factor = min(factor, limit / value)
    return factor


def _groups(groups: ArrayLike | None, limits: PositionLimits, num_symbols: int) -> NDArray[np.int64] | None:
    if groups is None:
        if math.isfinite(limits.max_group):
            raise ValueError("max_group needs groups (num_symbols,), got none")
        return None
    members = np.asarray(groups)
    if members.shape != (num_symbols,) or members.dtype.kind not in "iu":
        raise ValueError(
            f"groups must be integers of shape ({num_symbols},), got {members.dtype} of shape {members.shape}"
        )
    return members.astype(np.int64)
