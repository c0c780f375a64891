"""How many dates a year has, by the calendar itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

LEAST_SHARE = 0.07
"""Share of its days on every weekday, at least, of a market that never closes: it is 1 / 7, and of 13 days 1 / 13.
Exchanges from Sunday to Thursday, and markets that open on Sunday evening, trade on one day of a weekend as well."""


def trading_year(dates: ArrayLike) -> tuple[float, str]:
    """Return the number of dates a year of a calendar, and how it was found, in words.

    An exchange has 252 days a year, a market that trades on all days of the week 365; times the median number of bars
    a day. Where most days lie two to four days apart, as many are in a year as between the first and the last. Bars
    further apart are weeks (52), months (12), quarters (4) or years (1), whichever is nearest. Dates that are no times
    count as days of an exchange.

    Parameters
    ----------
    dates
        (num_dates,) strictly increasing.

    Examples
    --------
    >>> trading_year(np.arange("2024-01-01", "2024-03-01", dtype="datetime64[h]"))
    (8760.0, '365 days, on weekends too, of 24 bars')
    """
    stamps = np.asarray(dates)
    if stamps.dtype.kind != "M" or len(stamps) < 2:
        return 252.0, "252 days of 1 bar"
    days, bars = np.unique(stamps.astype("datetime64[D]"), return_counts=True)
    gap = float(np.median(np.diff(days).astype(np.int64))) if len(days) > 1 else 1.0
    if gap > 4.0:
        year, name = min(
            ((52, "weeks"), (12, "months"), (4, "quarters"), (1, "years")),
            key=lambda one: abs(np.log(365.25 / gap / one[0])),
        )
        return float(year), f"{year} {name}"
    a_day = int(np.median(bars))
    of_bars = f"of {a_day} bar{'' if a_day == 1 else 's'}"
    if gap >= 2.0:
        year = round(365.25 * (len(days) - 1) / float((days[-1] - days[0]).astype(np.int64)))
        return float(year) * a_day, f"{year} days, {gap:g} days apart, {of_bars}"
    always = np.bincount(days.astype(np.int64) % 7, minlength=7).min() > LEAST_SHARE * len(days)
    words = "365 days, on weekends too," if always else "252 days"
    return (365.0 if always else 252.0) * a_day, f"{words} {of_bars}"
