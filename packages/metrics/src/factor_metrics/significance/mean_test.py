"""Is the mean of a series of ICs, or of returns, different from zero? The t and p of every table.

Labels of horizon h overlap for h - 1 dates, so a prediction that persists repeats its luck and neighbouring ICs are
alike: the classical t with a few Newey-West lags rejects 8 to 16 % of true nulls at 5 % where h is 20, with 250 dates,
and the naive one up to 66 % (the benchmark `null_rejection`). Here few numbers of low frequency stand in for
the many lags: they say how far the mean wanders, and being few they are believed as far as Student's t says.

Missing dates are dropped first; the dates that remain are treated as consecutive.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import as_series, check_at_least, check_share
from factor_metrics.dispersion import no_dispersion, reason, rounding_of
from factor_metrics.significance.distributions import normal_equivalent, student_t_quantile, student_t_two_sided

LEAST_HORIZONS = 5
"""Dates that a t needs, in horizons: with fewer label lengths there is no telling how the mean wanders."""
LEAST_EFFECTIVE_DATES = 3
"""Independent dates that the dates must be worth to have a t."""


class MeanTest(NamedTuple):
    """Mean of a series held against zero. NaN = undefined; `undefined` says why."""

    mean: float
    standard_error: float
    """Standard error of the mean, with all that autocorrelation adds."""
    degrees: float
    """Degrees of freedom of that error."""
    t_stat: float
    """mean / standard_error on the normal scale: 1.96 and 3 mean what they mean for a normal number, however few the
    degrees of freedom are."""
    p_value: float
    """Two-sided, of mean / standard_error under Student's t."""
    effective_dates: float
    """Independent dates that would give the mean the same error, at most the number of dates."""
    undefined: str
    """Why there is no t; "" where there is one."""

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the (low, high) interval of the mean that belongs to t and p; NaN where there is no t."""
        check_share("confidence", confidence)
        if self.undefined:
            return math.nan, math.nan
        half_width = -student_t_quantile((1.0 - confidence) / 2.0, self.degrees) * self.standard_error
        return self.mean - half_width, self.mean + half_width


def mean_test(series: ArrayLike, horizon: int = 1) -> MeanTest:
    """Return t, p and effective dates of the mean of a series against zero.

    The variance of the mean is that of its B slowest cosines, equally weighted (Mueller, 2007, "A theory of robust
    long-run variance estimation"), and mean / error has Student's t with B degrees of freedom. B is that of Lazarus,
    Lewis, Stock and Watson (2018), "HAR inference: recommendations for practice", 0.41 T^(2/3), rounded up, and at most
    0.6 T / h: beyond that the cosines no longer see the wandering that an overlap of h dates makes. What they miss of
    the triangle of such an overlap is made good by its known share.

    Parameters
    ----------
    series
        (num_dates,) ICs or returns in time order; NaN dates are dropped.
    horizon
        Bars from entry to exit of the label.

    Returns
    -------
    MeanTest
        No t and no p with fewer than 5 horizons of dates, fewer than 3 effective dates or no dispersion
        (`dispersion`); then `undefined` says which.

    Examples
    --------
    >>> result = mean_test([0.03, -0.01, 0.04, 0.02, 0.05, 0.01, 0.02, 0.00], horizon=1)
    >>> round(result.t_stat, 2), round(result.p_value, 3), round(result.effective_dates, 1)
    (1.65, 0.099, 8.0)
    >>> mean_test([0.13, 0.29]).undefined
    '2 dates, fewer than 5 horizons of 1'
    """
    check_at_least("horizon", horizon, 1)
    values = as_series("series", series)
    values = values[~np.isnan(values)]
    num_dates = len(values)
    mean = float(values.mean()) if num_dates else math.nan
    if no_dispersion(values, rounding=rounding_of(series)):
        return MeanTest(mean, math.nan, math.nan, math.nan, math.nan, math.nan, reason(values, "date"))
    if num_dates < LEAST_HORIZONS * horizon:
        why = f"{num_dates} dates, fewer than {LEAST_HORIZONS} horizons of {horizon}"
        return MeanTest(mean, math.nan, math.nan, math.nan, math.nan, math.nan, why)
    degrees = num_cosines(num_dates, horizon)
    error = math.sqrt(_long_run_variance(values, horizon, degrees) / num_dates)
    effective = min(float(num_dates), float(values.var(ddof=1)) / error**2)
    if effective < LEAST_EFFECTIVE_DATES:
        why = f"{num_dates} dates are worth {effective:.1f} independent ones, fewer than {LEAST_EFFECTIVE_DATES}"
        return MeanTest(mean, error, float(degrees), math.nan, math.nan, effective, why)
    ratio = mean / error
    p_value = student_t_two_sided(ratio, degrees)
    return MeanTest(mean, error, float(degrees), normal_equivalent(ratio, degrees), p_value, effective, "")


def num_cosines(num_dates: int, horizon: int) -> int:
    """Return B, the degrees of freedom: ceil(0.41 T^(2/3)), at most 0.6 T / h where labels overlap."""
    wanted = math.ceil(0.41 * num_dates ** (2.0 / 3.0))
    return max(1, min(wanted, num_dates - 1, math.floor(0.6 * num_dates / horizon) if horizon > 1 else wanted))


def _long_run_variance(values: np.ndarray, horizon: int, num: int) -> float:
    """T times the variance of the mean, from cosines 1..num, over the share they see of an overlap's triangle."""
    cosines, seen = _cosines(len(values), horizon, num)
    # Sums in numpy's own order: a matrix product may round differently on another CPU.
    return float(np.square((cosines * values).sum(axis=1)).mean() / seen)


@lru_cache(maxsize=8)
def _cosines(num_dates: int, horizon: int, num: int) -> tuple[NDArray[np.float64], float]:
    """Return (num, num_dates) cosines 1..num, and the mean share that they see of the triangle of an overlap."""
    angles = np.pi * np.arange(1, num + 1) / num_dates
    cosines = math.sqrt(2.0 / num_dates) * np.cos(np.outer(angles, np.arange(num_dates) + 0.5))
    cosines.flags.writeable = False
    lags = np.arange(1, horizon)
    seen = (1.0 + 2.0 * (np.cos(np.outer(angles, lags)) * (1.0 - lags / horizon)).sum(axis=1)) / horizon
    return cosines, float(seen.mean())
