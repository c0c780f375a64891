"""Is a mean IC different from zero? The t-statistic and the interval of Newey and West, the naive t beside it.

Labels of horizon h overlap for h - 1 dates, so daily ICs are autocorrelated and the naive t-statistic is too
large. Missing dates are dropped first; the dates that remain are treated as consecutive. Intervals from blocks
are in `bootstrap`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Series, as_series, check_at_least, check_share
from factor_metrics.significance.distributions import normal_cdf, student_t_quantile


class NeweyWest(NamedTuple):
    """Mean of a series with its autocorrelation-robust standard error."""

    mean: float
    standard_error: float
    t_stat: float
    p_value: float


def newey_west_lag(num_dates: int, horizon: int = 1) -> int:
    """Return the number of autocovariances used: max(horizon - 1, floor(4 (T / 100)^(2/9))), at most T - 1.

    The second term is the rule of Newey and West (1994), "Automatic lag selection in covariance matrix
    estimation".
    """
    check_at_least("horizon", horizon, 1)
    automatic = math.floor(4.0 * (num_dates / 100.0) ** (2.0 / 9.0))
    return max(0, min(max(horizon - 1, automatic), num_dates - 1))


def newey_west_t(series: ArrayLike, horizon: int = 1, lag: int | None = None) -> NeweyWest:
    """Return mean, standard error, t-statistic and two-sided normal p-value of a series against zero.

    Long-run variance = gamma_0 + 2 sum_{l=1..lag} (1 - l / (lag + 1)) gamma_l, the Bartlett kernel of Newey
    and West (1987), "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
    covariance matrix"; gamma_l = (1 / T) sum of products of deviations, without small-sample correction (as
    statsmodels' HAC default).

    Parameters
    ----------
    series
        (num_dates,), NaN dates are dropped.
    horizon
        Bars from entry to exit of the label; sets the smallest lag, see `newey_west_lag`.
    lag
        Overrides the rule.

    Returns
    -------
    NeweyWest
        All NaN with no date; t-statistic and p-value NaN with fewer than two dates or a constant series.
    """
    values = _present(series)
    num_dates = len(values)
    if num_dates == 0:
        return NeweyWest(math.nan, math.nan, math.nan, math.nan)
    used_lag = newey_west_lag(num_dates, horizon) if lag is None else lag
    check_at_least("lag", used_lag, 0)
    mean = float(values.mean())
    if num_dates < 2 or values.min() == values.max():
        return NeweyWest(mean, math.nan, math.nan, math.nan)
    deviation = values - mean
    variance = float(deviation @ deviation)
    for step in range(1, min(used_lag, num_dates - 1) + 1):
        weight = 1.0 - step / (used_lag + 1.0)
        variance += 2.0 * weight * float(deviation[step:] @ deviation[:-step])
    standard_error = math.sqrt(max(variance, 0.0)) / num_dates
    if standard_error == 0.0:
        return NeweyWest(mean, math.nan, math.nan, math.nan)
    t_stat = mean / standard_error
    return NeweyWest(mean, standard_error, t_stat, 2.0 * normal_cdf(-abs(t_stat)))


def newey_west_interval(
    series: ArrayLike, horizon: int = 1, confidence: float = 0.95, lag: int | None = None
) -> tuple[float, float]:
    """Return the (low, high) interval of the mean from a Newey-West error that is wide enough to be believed.

    The default lag is ceil(1.3 sqrt(T)), the rule of Lazarus, Lewis, Stock and Watson (2018), "HAR inference:
    recommendations for practice", at least three horizons and at most half of the dates. So long a window
    needs what a normal quantile and the short lag of `newey_west_t` leave out: Student's t with
    1.5 T / (lag + 1) degrees of freedom, the share (lag + 1) / T of the variance that deviations from the
    sample's own mean lose, and the share of the triangle of overlapping labels that the Bartlett weights cut
    off. Without overlap this is close to the fixed-b critical values of Kiefer and Vogelsang (2005).

    Parameters
    ----------
    series
        (num_dates,), NaN dates are dropped.
    horizon
        Bars from entry to exit of the label.
    confidence
        Two-sided level in (0, 1).
    lag
        Overrides the rule; at least horizon - 1.

    Returns
    -------
    tuple of float
        (NaN, NaN) with fewer than two dates, fewer than two windows of `lag` + 1 dates or of `horizon` dates;
        no width for a constant series.
    """
    check_share("confidence", confidence)
    check_at_least("horizon", horizon, 1)
    values = _present(series)
    num_dates = len(values)
    if lag is None:
        overlap = 1 if horizon == 1 else 3 * horizon
        lag = min(max(overlap, math.ceil(1.3 * math.sqrt(num_dates))), num_dates // 2 - 1)
        lag = max(lag, horizon - 1)
    check_at_least("lag", lag, horizon - 1)
    window = lag + 1
    if num_dates < 2 or num_dates < 2 * window:
        return math.nan, math.nan
    result = newey_west_t(values, horizon, lag)
    if math.isnan(result.standard_error):
        return float(values[0]), float(values[0])
    share = 1.0 - (horizon**2 - 1.0) / (3.0 * horizon * window)
    scale = math.sqrt(num_dates / ((num_dates - window) * share))
    half_width = -student_t_quantile((1.0 - confidence) / 2.0, 1.5 * num_dates / window) * scale
    half_width *= result.standard_error
    return result.mean - half_width, result.mean + half_width


def naive_t(series: ArrayLike) -> float:
    """Return mean / (std / sqrt(T)), ddof 1: the t-statistic that takes the dates as independent.

    To be read beside `newey_west_t` only: with labels that overlap it is too large. NaN with fewer than two
    dates or a constant series.
    """
    values = _present(series)
    if len(values) < 2 or values.min() == values.max():
        return math.nan
    return float(values.mean() / (values.std(ddof=1) / math.sqrt(len(values))))


def _present(series: ArrayLike) -> Series:
    values = as_series("series", series)
    return values[~np.isnan(values)]
