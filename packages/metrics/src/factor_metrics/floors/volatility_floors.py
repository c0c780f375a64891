"""Floors of a forecast of volatility that need nothing but closes: what it was, slowly forgotten, and HAR.

As in `price_floors`: closes (num_dates, num_symbols), above 0, NaN = missing; a matrix of that shape, known at the
close of its date.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, check_at_least, check_share
from factor_metrics.floors.price_floors import as_closes
from factor_metrics.trailing import trailing_mean

HAR_WINDOWS = (1, 5, 22)
"""Bars of the three past volatilities: a day, a week and a month of daily bars."""
LEAST_ROWS = 100
"""Rows (date, symbol) with a known outcome that HAR is fitted on, at least."""


def past_volatility(close: ArrayLike, window: int = 20) -> Matrix:
    """Return the root of the mean squared log return of the last `window` bars: volatility stays what it was.

    The floor of a forecast of volatility. NaN where fewer than half of the moves are known.
    """
    check_at_least("window", window, 1)
    volatility = np.sqrt(trailing_mean(_squared_moves(close), window, least=(window + 1) // 2))
    volatility[: window - 1] = np.nan
    return volatility


def ewma_volatility(close: ArrayLike, decay: float = 0.94) -> Matrix:
    """Return the root of the exponentially weighted mean of the squared log returns: the last one counts most.

    A move that is `age` bars old weighs decay^age; weights of missing moves are left out, and where less than half of
    the weight lies on known moves the value is NaN. J.P. Morgan and Reuters (1996), "RiskMetrics: technical document",
    with its decay of daily bars.
    """
    check_share("decay", decay)
    squares = _squared_moves(close)
    total, weight = np.zeros(squares.shape[1]), np.zeros(squares.shape[1])
    volatility = np.full(squares.shape, np.nan)
    known = ~np.isnan(squares)
    for date, square in enumerate(np.where(known, squares, 0.0)):
        total = decay * total + (1.0 - decay) * square
        weight = decay * weight + (1.0 - decay) * known[date]
        enough = np.flatnonzero(weight >= 0.5)
        volatility[date, enough] = np.sqrt(total[enough] / weight[enough])
    return volatility


def har_volatility(close: ArrayLike, horizon: int = 1, delay: int = 0) -> Matrix:
    """Return the volatility of bars t + delay + 1 ... t + delay + horizon as a line in the past ones of three windows.

    Heterogeneous autoregression: `past_volatility` over 1, 5 and 22 bars and a constant, by least squares over all
    symbols and all dates whose outcome is known at t, so each date has coefficients of its own. Corsi (2009), "A
    simple approximate long-memory model" (Journal of Financial Econometrics 7); of closes alone the volatility of one
    bar is the size of its move. NaN where one of the three is, and before 100 rows are known.
    """
    check_at_least("horizon", horizon, 1)
    check_at_least("delay", delay, 0)
    closes, ahead = as_closes(close), horizon + delay
    outcome = np.full(closes.shape, np.nan)
    outcome[: max(len(closes) - ahead, 0)] = past_volatility(closes, horizon)[ahead:]
    past = [past_volatility(closes, window) for window in HAR_WINDOWS]
    x_DSK = np.stack([np.ones(closes.shape), *past], axis=2)
    known_DS = np.asarray(np.isfinite(x_DSK).all(axis=2))
    fitted_DS = known_DS & np.isfinite(outcome)
    x_fit = np.where(fitted_DS[:, :, None], x_DSK, 0.0)
    y_fit = np.where(fitted_DS, outcome, 0.0)[:, :, None]
    transposed = x_fit.transpose(0, 2, 1)
    gram = np.cumsum(transposed @ x_fit, axis=0)
    moments = np.cumsum(transposed @ y_fit, axis=0)
    rows = np.cumsum(fitted_DS.sum(axis=1))
    forecast = np.full(closes.shape, np.nan)
    later = np.flatnonzero(rows[: max(len(closes) - ahead, 0)] >= LEAST_ROWS)  # the last date of the fit, by its place
    coefficients = np.linalg.pinv(gram[later], hermitian=True) @ moments[later]
    said = (np.where(known_DS[:, :, None], x_DSK, 0.0)[later + ahead] @ coefficients)[:, :, 0]
    forecast[later + ahead] = np.where(known_DS[later + ahead], said, np.nan)
    return forecast


def volatility_floors(close: ArrayLike, horizon: int = 1, delay: int = 0) -> dict[str, Matrix]:
    """Return every floor of a forecast of the volatility of bars t + delay + 1 ... t + delay + horizon, by name."""
    return {
        "past_volatility_5": past_volatility(close, 5),
        "past_volatility_20": past_volatility(close),
        "ewma_volatility": ewma_volatility(close),
        "har_volatility": har_volatility(close, horizon, delay),
    }


def _squared_moves(close: ArrayLike) -> Matrix:
    """(num_dates, num_symbols) squared log return of each bar; NaN on the first date and beside a missing close."""
    closes = as_closes(close)
    squares = np.full(closes.shape, np.nan)
    squares[1:] = np.log(closes[1:] / closes[:-1]) ** 2
    return squares
