"""The error of a mean by Newey and West, with the t and the interval that it allows; the naive t to set beside them.

Labels of horizon h overlap for h - 1 dates, so daily ICs are autocorrelated and the naive t-statistic is too
large. Missing dates are dropped first; the dates that remain are treated as consecutive. The t of the tables is that
of `mean_test`, intervals from blocks are in `bootstrap`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Series, as_series, check_at_least, check_share
from factor_metrics.dispersion import no_dispersion, rounding_of
from factor_metrics.significance.distributions import normal_equivalent, student_t_quantile, student_t_two_sided

_LEAST_DATES = 5


class NeweyWest(NamedTuple):
    """Mean of a series with its autocorrelation-robust standard error."""

    mean: float
    standard_error: float
    """As published; `t_stat` and `p_value` go by a larger one, see `newey_west_interval`."""
    t_stat: float
    """On the normal scale: 1.96 and 3 mean what they mean for a normal number."""
    p_value: float
    """Two-sided: the level at which `newey_west_interval` ends at 0."""


class _Error(NamedTuple):
    """What t and interval are made of."""

    mean: float
    published: float
    believed: float
    degrees: float


def newey_west_t(series: ArrayLike, horizon: int = 1, lag: int | None = None) -> NeweyWest:
    """Return mean, standard error, t-statistic and two-sided p-value of a series against zero.

    Long-run variance = gamma_0 + 2 sum_{l=1..lag} (1 - l / (lag + 1)) gamma_l, the Bartlett kernel of Newey
    and West (1987), "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
    covariance matrix"; gamma_l = (1 / T) sum of products of deviations, without small-sample correction (as
    statsmodels' HAC default). t and p allow for what that leaves out, as the interval does.

    Parameters
    ----------
    series
        (num_dates,), NaN dates are dropped.
    horizon, lag
        As in `newey_west_interval`.

    Returns
    -------
    NeweyWest
        All NaN with no date; t-statistic and p-value NaN where the interval is, or has no width.
    """
    found = _error(series, horizon, lag)
    if math.isnan(found.believed):
        return NeweyWest(found.mean, found.published, math.nan, math.nan)
    ratio = found.mean / found.believed
    t_stat, p_value = normal_equivalent(ratio, found.degrees), student_t_two_sided(ratio, found.degrees)
    return NeweyWest(found.mean, found.published, t_stat, p_value)


def newey_west_interval(
    series: ArrayLike, horizon: int = 1, confidence: float = 0.95, lag: int | None = None
) -> tuple[float, float]:
    """Return the (low, high) interval of the mean from a Newey-West error that is wide enough to be believed.

    The default lag is ceil(1.3 sqrt(T)), the rule of Lazarus, Lewis, Stock and Watson (2018), "HAR inference:
    recommendations for practice", at least three horizons and at most half of the dates. So long a window
    needs what a normal quantile and a short lag leave out: Student's t with 1.5 T / (lag + 1) degrees of
    freedom, at most T - 1, the share (lag + 1) / T of the variance that deviations from the
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
        (NaN, NaN) with fewer than five dates, fewer than two windows of `lag` + 1 dates or of `horizon` dates;
        no width without dispersion (`dispersion`).
    """
    check_share("confidence", confidence)
    found = _error(series, horizon, lag)
    if found.published == 0.0:
        return found.mean, found.mean
    if math.isnan(found.believed):
        return math.nan, math.nan
    half_width = -student_t_quantile((1.0 - confidence) / 2.0, found.degrees) * found.believed
    return found.mean - half_width, found.mean + half_width


def _error(series: ArrayLike, horizon: int, lag: int | None) -> _Error:
    """Return the published error, 0 without dispersion, and the one to be believed, NaN where there is none."""
    check_at_least("horizon", horizon, 1)
    values = _present(series)
    num_dates = len(values)
    mean = float(values.mean()) if num_dates else math.nan
    if lag is None:
        overlap = 1 if horizon == 1 else 3 * horizon
        lag = min(max(overlap, math.ceil(1.3 * math.sqrt(num_dates))), num_dates // 2 - 1)
        lag = max(lag, horizon - 1)
    check_at_least("lag", lag, horizon - 1)
    if num_dates < 2:
        return _Error(mean, math.nan, math.nan, math.nan)
    if no_dispersion(values, rounding=rounding_of(series)):
        return _Error(float(values[0]), 0.0, math.nan, math.nan)
    deviation = values - mean
    variance = float(deviation @ deviation)
    for step in range(1, min(lag, num_dates - 1) + 1):
        variance += 2.0 * (1.0 - step / (lag + 1.0)) * float(deviation[step:] @ deviation[:-step])
    published, window = math.sqrt(max(variance, 0.0)) / num_dates, lag + 1
    if num_dates < max(2 * window, _LEAST_DATES) or not published > 0.0:
        return _Error(mean, published, math.nan, math.nan)
    share = 1.0 - (horizon**2 - 1.0) / (3.0 * horizon * window)
    scale = math.sqrt(num_dates / ((num_dates - window) * share))
    return _Error(mean, published, scale * published, min(1.5 * num_dates / window, num_dates - 1.0))


def naive_t(series: ArrayLike) -> float:
    """Return mean / (std / sqrt(T)), ddof 1: the t-statistic that takes the dates as independent.

    To be read beside the t of `mean_test` only: with labels that overlap it is too large. NaN with fewer than two
    dates or without dispersion (`dispersion`).
    """
    values = _present(series)
    if no_dispersion(values, rounding=rounding_of(series)):
        return math.nan
    return float(values.mean() / (values.std(ddof=1) / math.sqrt(len(values))))


def _present(series: ArrayLike) -> Series:
    values = as_series("series", series)
    return values[~np.isnan(values)]
