"""How far the history of a symbol reaches back at each of its bars; numpy alone, so that cleaning loads no compiler."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def bar_age(symbol_code: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return for each row how many earlier bars its symbol has; rows sorted by (symbol, time)."""
    rows = np.arange(len(symbol_code))
    first = np.r_[True, symbol_code[1:] != symbol_code[:-1]] if len(rows) else np.zeros(0, dtype=bool)
    return rows - np.maximum.accumulate(np.where(first, rows, 0))


def lagged(values: Floats, age: NDArray[np.int64], lag: int) -> Floats:
    """Return the value `lag` bars of the symbol earlier, NaN where there is none."""
    result = np.full(len(values), np.nan)
    if lag < len(values):
        result[lag:] = np.where(age[lag:] >= lag, values[: len(values) - lag], np.nan)
    return result
