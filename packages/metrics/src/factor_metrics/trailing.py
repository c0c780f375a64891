"""What was known of each symbol up to a date: the last value, the mean of the last ones, beta to the market."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, Series, as_matrix, as_series, check_at_least
from factor_metrics.kernel_cache import kernel


def last_known(values: Matrix) -> Matrix:
    """Return each column of (num_dates, num_symbols) with NaN replaced by the last value before, if there is one."""
    known = values.copy(order="C")
    _fill_forward(known)
    return known


def trailing_mean(values: ArrayLike, num_bars: int, least: int = 1) -> Matrix:
    """Return the mean of what is known of the last `num_bars` dates of each symbol, the date itself among them.

    (num_dates, num_symbols), NaN = missing; NaN where fewer than `least` values are known.
    """
    check_at_least("num_bars", num_bars, 1)
    check_at_least("least", least, 1)
    return np.asarray(_trailing_mean(as_matrix("values", values), num_bars, least))


def trailing_beta(returns: ArrayLike, market: ArrayLike, num_bars: int = 60) -> Matrix:
    """Return the slope of each symbol's returns on the market's over the last `num_bars` dates.

    Parameters
    ----------
    returns
        (num_dates, num_symbols), NaN = missing.
    market
        (num_dates,) returns of the market, NaN = missing.
    num_bars
        At least 2.

    Returns
    -------
    numpy.ndarray
        (num_dates, num_symbols); NaN where fewer than half of the dates are known or the market did not move.
    """
    check_at_least("num_bars", num_bars, 2)
    return np.asarray(_trailing_beta(as_matrix("returns", returns), as_series("market", market), num_bars))


@kernel(nogil=True)
def _fill_forward(values: Matrix) -> None:
    """Write the value before, which is NaN where there is none, into what is NaN."""
    for date in range(1, len(values)):
        for symbol in range(values.shape[1]):
            if values[date, symbol] != values[date, symbol]:
                values[date, symbol] = values[date - 1, symbol]


@kernel(nogil=True)
def _trailing_mean(values: Matrix, num_bars: int, least: int) -> Matrix:
    num_dates, num_symbols = values.shape
    means = np.full(values.shape, np.nan)
    total, count = np.zeros(num_symbols), np.zeros(num_symbols)
    for date in range(num_dates):
        total[:] = 0.0
        count[:] = 0.0
        for past in range(max(0, date - num_bars + 1), date + 1):
            for symbol in range(num_symbols):  # without a branch, so that it is done for several symbols at once
                value = values[past, symbol]
                known = value == value
                total[symbol] += value if known else 0.0
                count[symbol] += 1.0 if known else 0.0
        for symbol in range(num_symbols):
            if count[symbol] >= least:
                means[date, symbol] = total[symbol] / count[symbol]
    return means


@kernel(nogil=True)
def _trailing_beta(returns: Matrix, market: Series, num_bars: int) -> Matrix:
    """Return the slope by the means of both sides, of their product and of the market's square: one pass for all."""
    num_dates, num_symbols = returns.shape
    slopes = np.full(returns.shape, np.nan)
    least = (num_bars + 1) // 2
    count, sum_x, sum_y = np.zeros(num_symbols), np.zeros(num_symbols), np.zeros(num_symbols)
    sum_xy, sum_xx = np.zeros(num_symbols), np.zeros(num_symbols)
    for date in range(num_dates):
        for one in (count, sum_x, sum_y, sum_xy, sum_xx):
            one[:] = 0.0
        for past in range(max(0, date - num_bars + 1), date + 1):
            x = market[past]
            if x == x:
                for symbol in range(num_symbols):  # without a branch, as in `_trailing_mean`
                    y = returns[past, symbol]
                    known = y == y
                    count[symbol] += 1.0 if known else 0.0
                    sum_x[symbol] += x if known else 0.0
                    sum_y[symbol] += y if known else 0.0
                    sum_xy[symbol] += x * y if known else 0.0
                    sum_xx[symbol] += x * x if known else 0.0
        for symbol in range(num_symbols):
            if count[symbol] >= least:
                mean_x, mean_y = sum_x[symbol] / count[symbol], sum_y[symbol] / count[symbol]
                mean_xx = sum_xx[symbol] / count[symbol]
                variance = mean_xx - mean_x * mean_x
                if variance > 1e-12 * mean_xx:
                    slopes[date, symbol] = (sum_xy[symbol] / count[symbol] - mean_x * mean_y) / variance
    return slopes
