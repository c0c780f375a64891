"""Alpha360: the last 60 bars themselves, as ratios to the bar at t, under qlib's names.

Source: qlib's Alpha360 configuration (Yang et al. 2020, arXiv:2009.11189). CLOSE59 ... CLOSE0, then OPEN, HIGH,
LOW and VWAP: the adjusted price so many of the symbol's own bars ago over the close at t; VOLUME59 ... VOLUME0: the
adjusted volume over the volume at t. A feature is NaN where that bar or the one at t is missing or
infinite; all of VOLUME is NaN where the volume at t is 0. vwap: see `volume_weighted_price`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_data.features.alpha_inputs import fill_by_symbol
from factor_data.features.matrix import FeatureMatrix
from factor_data.features.nested import Floats
from factor_data.kernel_cache import kernel
from factor_data.panel.panel import Panel

NUM_LAGS = 60
ALPHA360_NAMES = tuple(
    f"{name}{lag}" for name in ("CLOSE", "OPEN", "HIGH", "LOW", "VWAP", "VOLUME") for lag in range(NUM_LAGS - 1, -1, -1)
)


def alpha360(panel: Panel, threads: int | None = None) -> FeatureMatrix:
    """Return the 360 features of every row, (num_rows, 360) float32, NaN = missing; arguments as of `alpha158`."""
    values = fill_by_symbol(panel, _alpha360_rows, len(ALPHA360_NAMES), threads)
    return FeatureMatrix(values=values, names=ALPHA360_NAMES, panel=panel)


@kernel(nogil=True, error_model="numpy")
def _alpha360_rows(
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
    vwap: Floats,
    starts: NDArray[np.int64],
    result: NDArray[np.float32],
) -> None:
    for symbol in range(len(starts) - 1):
        for row in range(starts[symbol], starts[symbol + 1]):
            first = max(row - NUM_LAGS + 1, starts[symbol])
            last = volume[row] if volume[row] != 0.0 else np.nan
            place = 0
            for column in (close, open_, high, low, vwap):
                _over(column[first : row + 1], close[row], result[row, place : place + NUM_LAGS])
                place += NUM_LAGS
            _over(volume[first : row + 1], last, result[row, place:])


@kernel(nogil=True, error_model="numpy")
def _over(values: Floats, divisor: float, result: NDArray[np.float32]) -> None:
    """Write values / divisor at the end of `result`, NaN before them and for what is not finite."""
    head = len(result) - len(values)
    result[:head] = np.nan
    known = result[head:]
    for i in range(len(values)):
        ratio = np.float32(values[i] / divisor)
        known[i] = ratio if ratio - ratio == np.float32(0.0) else np.float32(np.nan)
