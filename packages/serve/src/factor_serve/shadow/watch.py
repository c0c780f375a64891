"""A running sum that tells when rank ICs are no longer what they were out of fold.

Whoever looks at an interval every day will see it miss the truth one day. The sum is made for that: by its threshold it
is as good as never passed while nothing has changed, however often it is looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FALSE_ALARM_EVERY = 20_000
"""Dates without any change after which the sum passes its threshold once, on average."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What rank ICs of a label were out of fold."""

    mean: float
    standard_error: float
    """Standard error of the mean, with all that overlapping labels add (`factor_metrics.mean_test`)."""
    num_dates: int
    low: float
    """Lower end of the 95 % interval of the mean."""
    high: float

    @property
    def sigma(self) -> float:
        """Deviation that one date would have if dates were independent and the mean as uncertain as it is."""
        return self.standard_error * math.sqrt(self.num_dates)

    @property
    def is_known(self) -> bool:
        """Return whether there is something to lose: a mean that is surely above 0, with an error."""
        return self.low > 0.0 and math.isfinite(self.sigma) and self.sigma > 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Watch:
    """The sum after each date, and the threshold. Without an expectation there is neither."""

    sums: NDArray[np.float64]
    """(num_dates,) in deviations of a date; NaN where the date has no IC, and everywhere if nothing is expected."""
    threshold: float
    step: float
    """What a date's IC may lack of the expected one, in deviations, before the sum grows: half of the expected."""

    @property
    def alarm(self) -> int | None:
        """Place of the first date whose sum passes the threshold; None: there is none. An alarm stays."""
        over = np.flatnonzero(self.sums > self.threshold)
        return int(over[0]) if len(over) else None

    @property
    def dates_to_notice_nothing(self) -> float:
        """Dates after which forecasts that have become worthless are noticed, on average."""
        return self.threshold / self.step

    @property
    def dates_to_notice_opposite(self) -> float:
        """Dates after which forecasts that have changed their sign are noticed, on average."""
        return self.threshold / (3.0 * self.step)


def watch(ics: ArrayLike, expected: Expected, every: int = FALSE_ALARM_EVERY) -> Watch:
    """Return the sum of Page (1954), "Continuous inspection schemes", of what ICs lack: max(0, sum + (m - IC) / s - k).

    m is the lower end of the interval out of fold, s its deviation of a date, and k = m / 2s, the best step to notice
    that an IC of m has become 0. The threshold h has one false alarm in `every` dates on average: with the overlap of
    labels in s the sum is a Brownian motion with drift -k that is held at 0, and exp(2kh) - 1 - 2kh = 2 k^2 `every`
    (Siegmund, 1985, "Sequential analysis", without his correction for single steps, which would lower h).

    Parameters
    ----------
    ics : (num_dates,) rank ICs in the order of time, NaN = none: the sum does not move
    expected : what they were out of fold
    """
    values = np.asarray(ics, dtype=np.float64)
    if not expected.is_known:
        return Watch(sums=np.full(len(values), np.nan), threshold=math.nan, step=math.nan)
    step = expected.low / (2.0 * expected.sigma)
    sums, total = np.full(len(values), np.nan), 0.0
    for place in np.flatnonzero(np.isfinite(values)):
        total = max(0.0, total + (expected.low - values[place]) / expected.sigma - step)
        sums[place] = total
    return Watch(sums=sums, threshold=_exponent(2.0 * step**2 * every) / (2.0 * step), step=step)


def _exponent(wanted: float) -> float:
    """Return x > 0 with exp(x) - 1 - x = wanted, by bisection."""
    low, high = 0.0, 1.0
    while math.expm1(high) - high < wanted:
        high *= 2.0
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (middle, high) if math.expm1(middle) - middle < wanted else (low, middle)
    return high
