"""The look-ahead gate: a function of a panel must not change at t when bars after t change or vanish.

What is counted, compared and summed one row after another (features, labels, normalisers, tokens) must not change
by a bit. A network is held to a bound: when later bars vanish its batches have other sizes, and a CPU may then sum
a row's products in another order. Rounding stays below the bound on any CPU; what a later bar brings is far above.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data.panel.panel import Panel


class LookAheadError(ValueError):
    """A value at or before the cut changed when only later bars changed."""


def perturb_after(panel: Panel, cut: np.datetime64, seed: int = 0) -> Panel:
    """Return the panel with every column after `cut` multiplied by a random factor in [0.5, 2]."""
    later = panel.timestamp > cut
    generator = np.random.Generator(np.random.PCG64(seed))
    columns = {}
    for name, values in panel.columns.items():
        factor = np.exp2(generator.uniform(-1.0, 1.0, panel.num_rows))
        columns[name] = np.where(later, values * factor, values)
    return panel.with_columns(**columns)


def assert_no_lookahead(
    function: Callable[[Panel], Any],
    panel: Panel,
    cut: np.datetime64,
    seed: int = 0,
    *,
    rounding: float = 0.0,
) -> None:
    """Raise unless `function` gives the same values up to `cut` after the later bars are changed or dropped.

    Parameters
    ----------
    function : takes a panel, returns (num_rows, ...) values in row order, or an object with such `.values`
    panel : bars to try it on
    cut : the last timestamp whose values must stay; some bars must lie on each side
    seed : of the perturbation
    rounding : largest absolute difference that is not a leak; 0: the values must be identical to the bit. What is
        NaN or infinite must stay so whatever the bound

    Raises
    ------
    LookAheadError with count, largest difference and first three offenders
    """
    if not 0.0 <= rounding < np.inf:
        raise ValueError(f"rounding = {rounding}: must be a finite number >= 0")
    early = panel.timestamp <= cut
    if not early.any() or early.all():
        raise ValueError(f"cut {cut} must leave bars on both sides: {panel.dates[0]} .. {panel.dates[-1]}")
    expected = _values(function, panel)[early]
    perturbed = perturb_after(panel, cut, seed)
    _compare(expected, _values(function, perturbed)[early], panel, early, rounding, "changed")
    _compare(expected, _values(function, panel.select(early)), panel, early, rounding, "dropped")


def _values(function: Callable[[Panel], Any], panel: Panel) -> NDArray:
    result = function(panel)
    values = np.asarray(getattr(result, "values", result))
    if len(values) != panel.num_rows:
        raise ValueError(f"function must return one row per bar ({panel.num_rows}), got {len(values)}")
    return values.reshape(panel.num_rows, -1)


def _compare(
    expected: NDArray, actual: NDArray, panel: Panel, early: NDArray[np.bool_], rounding: float, what: str
) -> None:
    same = (expected == actual) | ((expected != expected) & (actual != actual))
    if same.all():
        return
    largest = 0.0
    if rounding > 0.0:
        with np.errstate(invalid="ignore"):  # of two infinities
            distance = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
        same |= distance <= rounding
        if same.all():
            return
        largest = float(np.max(distance, where=~same & np.isfinite(distance), initial=0.0))
    offenders = [
        f"{panel.symbol[early][row]} at {panel.timestamp[early][row]}, column {column}: "
        f"{expected[row, column]!r} became {actual[row, column]!r}"
        for row, column in np.argwhere(~same)[:3]
    ]
    beyond = f" by up to {largest:.3g}, where rounding is at most {rounding:.3g}" if rounding > 0.0 else ""
    raise LookAheadError(f"{(~same).sum()} values changed when later bars were {what}{beyond}: " + "; ".join(offenders))
