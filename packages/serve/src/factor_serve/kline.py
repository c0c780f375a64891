"""Windows of K-line models, read from the bars that members have. Nothing here needs torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_models.kline import kline_bars
from factor_models.kline.calendar import stamps_ahead, stamps_of
from factor_serve.rows import Rows


def path_windows(
    rows: Rows, code: int, lookback: int, num_ahead: int, train_dates: NDArray[np.datetime64]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return what a K-line model reads on the date of a code.

    The rows (N,) of the universe with so many complete bars up to them, these bars (N, lookback, 6), the numbers of
    their stamps (N, lookback, 5) and of the stamps ahead (num_ahead, 5).
    """
    bars = kline_bars(rows.kline, rows.symbol_code, rows.date_code)
    found = bars.ends(rows.on(np.array([code])), lookback)
    ends = bars.position_of_row[found]
    past = stamps_of(bars.dates(ends, lookback), rows.dates)
    return found, bars.read(ends, lookback), past, stamps_ahead(rows.dates[code], train_dates, num_ahead)
