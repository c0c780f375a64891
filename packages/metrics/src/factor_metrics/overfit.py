"""How much of a model's validation IC is lost on test dates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import as_series


@dataclass(frozen=True, kw_only=True)
class OverfitGap:
    """Mean IC on the dates used for choosing (valid) and on untouched ones (test)."""

    valid: float
    """Mean IC over valid dates."""
    test: float
    """Mean IC over test dates."""
    gap: float
    """valid - test: positive = the model did worse where nobody chose anything."""


def overfit_gap(valid_ic: ArrayLike, test_ic: ArrayLike) -> OverfitGap:
    """Return the mean IC of both segments and their gap; NaN dates are dropped, NaN where a segment has none.

    `valid_ic` (num_valid_dates,) and `test_ic` (num_test_dates,) usually join all folds of one model and
    horizon.
    """
    valid, test = _mean("valid_ic", valid_ic), _mean("test_ic", test_ic)
    return OverfitGap(valid=valid, test=test, gap=valid - test)


def _mean(name: str, series: ArrayLike) -> float:
    values = as_series(name, series)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
