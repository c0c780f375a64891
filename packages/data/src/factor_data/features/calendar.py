"""Calendar features: functions of the time stamp alone, known long before t.

Plain numbers for trees; pairs of sine and cosine for everything that measures distances, so that Sunday lies beside
Monday and December beside January. Stamps are the panel's wall-clock times.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_data.panel.panel import Panel

Floats = NDArray[np.float64]
DAYS_IN_WEEK, MONTHS_IN_YEAR, HOURS_IN_DAY = 7, 12, 24


def _per_row(panel: Panel, per_date: NDArray) -> Floats:
    return per_date.astype(np.float64)[panel.date_code]


def day_of_week(panel: Panel) -> Floats:
    """Monday 0 to Sunday 6."""
    days = panel.dates.astype("datetime64[D]").astype(np.int64)
    return _per_row(panel, (days + 3) % DAYS_IN_WEEK)  # day 0, 1970-01-01, was a Thursday


def day_of_month(panel: Panel) -> Floats:
    """1 to 31."""
    days = panel.dates.astype("datetime64[D]")
    return _per_row(panel, (days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) + 1)


def month(panel: Panel) -> Floats:
    """January 1 to December 12."""
    return _per_row(panel, panel.dates.astype("datetime64[M]").astype(np.int64) % MONTHS_IN_YEAR + 1)


def time_of_day(panel: Panel) -> Floats:
    """Hours since midnight, 0 for daily bars stamped by date."""
    since_midnight = panel.dates - panel.dates.astype("datetime64[D]")
    return _per_row(panel, since_midnight / np.timedelta64(1, "h"))


def sine(values: Floats, period: float) -> Floats:
    """sin(2 pi values / period)."""
    return np.sin(2.0 * np.pi / period * values)


def cosine(values: Floats, period: float) -> Floats:
    """cos(2 pi values / period)."""
    return np.cos(2.0 * np.pi / period * values)
