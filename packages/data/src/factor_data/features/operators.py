"""Operators of expressions, under qlib's names: one line each in `OPERATORS`.

Every operator looks at the bar of t and at earlier bars of its symbol only, so no expression of them can look ahead.
A window holds the symbol's own bars; the result is NaN until it is complete and known. What is not finite is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_data.features.kernels import (
    Floats,
    rolling_correlation,
    rolling_covariance,
    rolling_max,
    rolling_mean,
    rolling_std,
)
from factor_data.features.window_kernels import (
    exponential_mean,
    exponential_memory,
    rolling_line,
    rolling_place_of_max,
    rolling_quantile,
    rolling_ramp,
    rolling_rank,
    rolling_sum,
)
from factor_data.history import lagged

Ages = NDArray[np.int64]


@dataclass(frozen=True)
class Operator:
    """An operator: what it computes and what its arguments must be.

    `function` takes `values` columns (num_rows,), then, where there is a window, the age of each row and the window,
    then, with `level`, a share in [0, 1].
    """

    function: Callable[..., Floats]
    values: int = 1
    least_window: int | None = None
    """Smallest window; None: the operator has none."""
    level: bool = False
    bars_before: Callable[[int], int] = lambda window: window - 1
    """How many bars before that of t an operator with a window looks at."""

    @property
    def num_arguments(self) -> int:
        """Return how many arguments a call has."""
        return self.values + (self.least_window is not None) + self.level

    def describe(self, name: str) -> str:
        """Return how it is called, such as `Corr(x, y, window)`."""
        names = ("x", "y", "z")[: self.values]
        window = () if self.least_window is None else ("window",)
        return f"{name}({', '.join((*names, *window, *(('level',) if self.level else ())))})"


def compare(relation: Callable[[Floats, Floats], NDArray[np.bool_]]) -> Callable[[Floats, Floats], Floats]:
    """Return the comparison as 1.0 and 0.0, NaN where either side is missing."""

    def compared(left: Floats, right: Floats) -> Floats:
        return np.where(np.isnan(left) | np.isnan(right), np.nan, relation(left, right))

    return compared


def choose(condition: Floats, left: Floats, right: Floats) -> Floats:
    """`left` where the condition is not 0, else `right`; NaN where it is missing."""
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0.0, left, right))


def _least(values: Floats, age: Ages, window: int) -> Floats:
    return -rolling_max(-values, age, window)


def _change(values: Floats, age: Ages, bars: int) -> Floats:
    return values - lagged(values, age, bars)


def _share_of_average(window: int) -> float:
    return 2.0 / (window + 1.0)


def _average(values: Floats, age: Ages, window: int) -> Floats:
    return exponential_mean(values, age, _share_of_average(window), window)


def _wilder(values: Floats, age: Ages, window: int) -> Floats:
    return exponential_mean(values, age, 1.0 / window, window)


OPERATORS: dict[str, Operator] = {
    "Ref": Operator(lagged, least_window=0, bars_before=lambda bars: bars),
    "Delta": Operator(_change, least_window=1, bars_before=lambda bars: bars),
    "Sum": Operator(rolling_sum, least_window=1),
    "Mean": Operator(rolling_mean, least_window=1),
    "Std": Operator(rolling_std, least_window=2),
    "Var": Operator(lambda x, age, window: rolling_std(x, age, window) ** 2, least_window=2),
    "Max": Operator(rolling_max, least_window=1),
    "Min": Operator(_least, least_window=1),
    "Med": Operator(lambda x, age, window: rolling_quantile(x, age, window, 0.5), least_window=1),
    "Quantile": Operator(rolling_quantile, least_window=1, level=True),
    "Rank": Operator(rolling_rank, least_window=1),
    "IdxMax": Operator(rolling_place_of_max, least_window=1),
    "IdxMin": Operator(lambda x, age, window: rolling_place_of_max(-x, age, window), least_window=1),
    "Slope": Operator(lambda x, age, window: rolling_line(x, age, window)[0], least_window=2),
    "Rsquare": Operator(lambda x, age, window: rolling_line(x, age, window)[1], least_window=2),
    "Resi": Operator(lambda x, age, window: rolling_line(x, age, window)[2], least_window=2),
    "WMA": Operator(rolling_ramp, least_window=1),
    "EMA": Operator(
        _average, least_window=1, bars_before=lambda window: exponential_memory(_share_of_average(window), window) - 1
    ),
    "Wilder": Operator(
        _wilder, least_window=1, bars_before=lambda window: exponential_memory(1.0 / window, window) - 1
    ),
    "Corr": Operator(rolling_correlation, values=2, least_window=2),
    "Cov": Operator(rolling_covariance, values=2, least_window=2),
    "Abs": Operator(np.abs),
    "Log": Operator(np.log),
    "Sign": Operator(np.sign),
    "Power": Operator(np.power, values=2),
    "Greater": Operator(np.maximum, values=2),
    "Less": Operator(np.minimum, values=2),
    "If": Operator(choose, values=3),
}
