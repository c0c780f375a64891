"""Floors that need nothing but closes: reversal, momentum, gap to the mean and to the high, last sign, majority class.

Every function takes closes (num_dates, num_symbols), above 0, NaN = missing, and returns a matrix of that shape
that is known at the close of its date: later closes play no part. A value needs both of its end points, so gaps
stay gaps and nothing is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, as_matrix, check_at_least


def last_return_reversal(close: ArrayLike, num_bars: int = 1) -> Matrix:
    """Return minus the return of the last `num_bars` bars: what fell is predicted to rise.

    Jegadeesh (1990), "Evidence of predictable behavior of security returns".
    """
    return -_past_return(close, num_bars, 0)


def momentum(close: ArrayLike, lookback: int = 60, skip: int = 5) -> Matrix:
    """Return close[t - skip] / close[t - lookback] - 1: what rose is predicted to go on.

    The last bars are left out because they reverse: Jegadeesh and Titman (1993), "Returns to buying winners and
    selling losers".
    """
    check_at_least("skip", skip, 0)
    check_at_least("lookback", lookback, skip + 1)
    return _past_return(close, lookback, skip)


def moving_average_gap(close: ArrayLike, window: int = 20) -> Matrix:
    """Return close / mean of the last `window` closes, this one included, - 1: above 0 = over its average.

    NaN where one of the closes is missing. Read as a trend; its negative as a return to the mean.
    """
    closes = as_closes(close)
    check_at_least("window", window, 2)
    gap = np.full(closes.shape, np.nan)
    if len(closes) >= window:
        # A plain sum of each window: running sums would carry rounding, and NaN, into later dates.
        last = len(closes) - window + 1
        totals = closes[:last].copy()
        for place in range(1, window):
            totals += closes[place : place + last]
        gap[window - 1 :] = closes[window - 1 :] / (totals / window) - 1.0
    return gap


def distance_from_high(close: ArrayLike, window: int = 60) -> Matrix:
    """Return close / highest of the last `window` closes, this one included, - 1: 0 at a new high.

    A missing close is left out of the highest one; NaN where today's, or more than half of them, are missing. George
    and Hwang (2004), "The 52-week high and momentum investing": a trend; its negative is a return to the old price.
    """
    closes = as_closes(close)
    check_at_least("window", window, 2)
    distance = np.full(closes.shape, np.nan)
    if len(closes) >= window:
        seen = np.cumsum(np.isfinite(closes), axis=0, dtype=np.int32)
        seen[window:] -= seen[:-window].copy()
        moved = closes[window - 1 :] / _highest(closes, window) - 1.0
        distance[window - 1 :] = np.where(seen[window - 1 :] * 2 >= window, moved, np.nan)
    return distance


def _highest(closes: Matrix, window: int) -> Matrix:
    """Return the highest known close of each window; of twice as many bars it is the higher of two."""
    highest, length = closes, 1
    while length < window:
        step = min(length, window - length)
        highest = np.fmax(highest[:-step], highest[step:])
        length += step
    return highest


def opposite_of_last_sign(close: ArrayLike) -> Matrix:
    """Return -1 after a rise, 1 after a fall, 0 after no move: the opposite of yesterday's sign."""
    return -np.sign(_past_return(close, 1, 0)) + 0.0  # + 0.0: no negative zero


def majority_class(close: ArrayLike, horizon: int = 1) -> Matrix:
    """Return 1 where most moves over `horizon` bars known by then were up, else 0, the same for all symbols.

    Counted over all symbols and dates so far, each move when its last bar has closed; no move counts as not up,
    a tie gives 0. NaN for symbols without a close and until the first move is known. A floor for accuracy: a
    market that rises on 53 % of days gives 53 % without a model. It orders no symbols, so its IC is NaN.
    """
    closes = as_closes(close)
    moves = _past_return(closes, horizon, 0)
    known = ~np.isnan(moves)
    num_up, num_known = np.cumsum((moves > 0.0).sum(axis=1)), np.cumsum(known.sum(axis=1))
    majority = np.where(num_known > 0, (2 * num_up > num_known).astype(np.float64), np.nan)
    return np.where(np.isnan(closes), np.nan, majority[:, None])


PRICE_FLOORS: Mapping[str, Callable[[ArrayLike], Matrix]] = MappingProxyType(
    {
        "reversal_1": last_return_reversal,
        "reversal_to_mean_5": lambda close: -moving_average_gap(close, 5),
        "momentum_15": lambda close: momentum(close, 15, 0),
        "momentum_60_5": momentum,
        "far_from_high_60": lambda close: -distance_from_high(close, 60),
    }
)
"""Floors that order symbols, by name; each takes closes."""


def price_floors(close: ArrayLike) -> dict[str, Matrix]:
    """Return every floor of `PRICE_FLOORS` for these closes."""
    return {name: floor(close) for name, floor in PRICE_FLOORS.items()}


def _past_return(close: ArrayLike, first: int, last: int) -> Matrix:
    """close[t - last] / close[t - first] - 1; NaN before the first `first` dates and beside a missing close."""
    closes = as_closes(close)
    check_at_least("num_bars", first, 1)
    moves = np.full(closes.shape, np.nan)
    if len(closes) > first:
        moves[first:] = closes[first - last : len(closes) - last] / closes[:-first] - 1.0
    return moves


def as_closes(close: ArrayLike) -> Matrix:
    """Return closes as float64 (num_dates, num_symbols); ValueError for one that is not above 0."""
    closes = as_matrix("close", close)
    places = np.argwhere(closes <= 0.0)
    if len(places):
        where = ", ".join(str(tuple(int(index) for index in place)) for place in places[:3])
        raise ValueError(f"close must be above 0, got {len(places)} value(s) that are not, first at {where}")
    return closes
