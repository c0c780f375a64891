"""When an equity lay below its peak: from, deepest, back again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import as_series, check_at_least
from factor_metrics.portfolio.performance import drawdown, equity_curve


@dataclass(frozen=True, kw_only=True)
class Drawdown:
    """One time below the peak, by positions in the series of returns."""

    peak: int
    """Date of the peak that it starts from; -1: the start, before the first date."""
    trough: int
    """Date of the lowest equity."""
    recovered: int | None
    """First date at or above the peak again; None: not within the series."""
    depth: float
    """Equity at the trough / at the peak - 1, negative."""
    num_dates: int
    """Dates from the peak to the recovery, or to the end of the series."""


def drawdown_table(returns: ArrayLike, most: int = 5) -> list[Drawdown]:
    """Return the deepest drawdowns of compounded returns (num_dates,), the deepest first, the earlier one of equals.

    They do not overlap: each lasts from a peak to the first date at which the equity is back there. Dates without a
    return are no part of one.

    Examples
    --------
    >>> [(one.peak, one.trough, one.recovered) for one in drawdown_table([0.1, -0.1, 0.2, -0.3, 0.1])]
    [(2, 3, None), (0, 1, 2)]
    """
    check_at_least("most", most, 1)
    values = as_series("returns", returns)
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return []
    curve, depth = equity_curve(values[known]), drawdown(values[known])
    highest = np.maximum.accumulate(np.maximum(curve, 1.0))
    below = np.concatenate([[False], curve < highest, [False]])
    starts, ends = np.flatnonzero(below[1:] & ~below[:-1]), np.flatnonzero(~below[1:] & below[:-1])
    found = []
    for start, end in zip(starts, ends, strict=True):
        trough = start + int(np.argmin(depth[start:end]))
        recovered = int(known[end]) if end < len(known) else None
        last = known[end] if end < len(known) else known[-1]
        peak = int(known[start - 1]) if start else -1
        found.append(
            Drawdown(
                peak=peak,
                trough=int(known[trough]),
                recovered=recovered,
                depth=float(depth[trough]),
                num_dates=int(last) - peak,
            )
        )
    return sorted(found, key=lambda one: one.depth)[:most]
