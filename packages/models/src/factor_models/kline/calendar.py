"""Stamps of bars: their five numbers, and those of bars that have not happened yet."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DAY = np.timedelta64(1, "D")


def stamp_features(stamps: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Minute, hour, weekday (Monday 0), day and month of each stamp, (T, 5)."""
    return np.column_stack([stamps.minute, stamps.hour, stamps.weekday, stamps.day, stamps.month]).astype(np.int64)


def future_stamps(
    dates: NDArray[np.datetime64], known: NDArray[np.datetime64], num_ahead: int
) -> NDArray[np.datetime64]:
    """The next `num_ahead` stamps after each of `dates` (D,), as (D, num_ahead).

    A calendar that only repeats what `known` stamps (those of the training dates) show: the same times of day, on the
    same days of the week. Holidays are not foreseen, and nothing is looked up in the calendar of what came after.
    """
    stamps = known.astype("datetime64[ns]")
    days = stamps.astype("datetime64[D]")
    times = np.unique(stamps - days)
    weekdays = np.unique(_weekday(days))
    result = np.empty((len(dates), num_ahead), dtype="datetime64[ns]")
    for number, stamp in enumerate(dates.astype("datetime64[ns]")):
        day = stamp.astype("datetime64[D]")
        num_days = num_ahead // (len(times) * len(weekdays)) * 7 + 15
        ahead_days = day + np.arange(num_days) * DAY
        ahead_days = ahead_days[np.isin(_weekday(ahead_days), weekdays) | (ahead_days == day)]
        ahead = (ahead_days[:, None] + times[None, :]).ravel()
        result[number] = ahead[ahead > stamp][:num_ahead]
    return result


def stamps_ahead(date: np.datetime64, known: NDArray[np.datetime64], num_ahead: int) -> NDArray[np.int64]:
    """Return the five numbers of each of the next stamps after a date, (num_ahead, 5); see `future_stamps`."""
    return stamp_features(pd.DatetimeIndex(future_stamps(np.array([date]), known, num_ahead)[0]))


def stamps_of(codes: NDArray[np.int64], dates: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return the five numbers of the stamps of bars (..., 5) by the codes of their dates in a calendar."""
    found, place = np.unique(codes, return_inverse=True)
    return stamp_features(pd.DatetimeIndex(dates[found]))[place.reshape(codes.shape)]


def _weekday(days: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Monday 0; 1970-01-01 was a Thursday."""
    return (days.astype("datetime64[D]").astype(np.int64) + 3) % 7
