"""Is a mean IC different from zero? Newey-West t-statistic and circular block bootstrap.

Labels of horizon h overlap for h - 1 dates, so daily ICs are autocorrelated and the plain t-statistic is too
large. Both methods here allow for it. Missing dates are dropped first; the dates that remain are treated as
consecutive.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, stdtrit

from factor_metrics.checks import Series, as_series, check_at_least, check_share

_BOOTSTRAP_CHUNK = 2_000_000  # block starts drawn at once: bounds the memory, not the result


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
    return NeweyWest(mean, standard_error, t_stat, float(2.0 * ndtr(-abs(t_stat))))


def bootstrap_block_length(num_dates: int, horizon: int = 1) -> int:
    """Return the block length: ceil(T^(1/3)), at least three horizons where labels overlap.

    Never above half of the dates, but never below the horizon.
    """
    check_at_least("horizon", horizon, 1)
    overlap = 1 if horizon == 1 else 3 * horizon
    length = max(overlap, math.ceil(round(num_dates ** (1.0 / 3.0), 9)))
    return max(horizon, min(length, num_dates // 2), 1)


def bootstrap_interval(
    series: ArrayLike,
    horizon: int = 1,
    confidence: float = 0.95,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the (low, high) percentile interval of the mean from a circular block bootstrap.

    Blocks of `bootstrap_block_length` consecutive dates, wrapped around the end, are drawn with replacement
    until T dates are collected (Politis and Romano, 1992, "A circular block-resampling procedure for
    stationary data").

    Few long blocks say little about their own spread, and a plain percentile interval is then too short. It
    is therefore stretched about the mean by sqrt(T / (T - block)), as blocks vary about the sample's own
    mean, and by the ratio of Student's t to the normal quantile with 3 T / (2 block) degrees of freedom,
    those of a Bartlett estimate of the variance. Both factors tend to 1 with many blocks. Within a block the
    covariance of dates k apart counts 1 - k / block times; of the triangle 1 - k / h that overlapping labels
    alone bring, the share 1 - (h^2 - 1) / (3 h block) is left, and the interval is divided by its root.

    Parameters
    ----------
    series
        (num_dates,), NaN dates are dropped.
    horizon
        Bars from entry to exit of the label; a block is never shorter.
    confidence
        Two-sided level in (0, 1). Far levels need more draws: at least 20 / (1 - confidence).
    num_bootstrap, seed
        Number of draws and seed; the same arguments give the same interval.

    Returns
    -------
    tuple of float
        (NaN, NaN) with fewer than two dates, or with fewer than two blocks of `horizon` dates: that is too
        little to say anything about the spread.
    """
    check_share("confidence", confidence)
    check_at_least("num_bootstrap", num_bootstrap, 1)
    values = _present(series)
    num_dates = len(values)
    length = bootstrap_block_length(num_dates, horizon)
    if num_dates < 2 or num_dates < 2 * horizon:
        return math.nan, math.nan
    if values.min() == values.max():
        return float(values[0]), float(values[0])
    mean = float(values.mean())
    deviations = _bootstrap_sums(values - mean, length, num_bootstrap, seed) / num_dates
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(deviations, [tail, 1.0 - tail])
    stretch = math.sqrt(num_dates / (num_dates - length))
    stretch *= stdtrit(1.5 * num_dates / length, tail) / ndtri(tail)
    stretch /= math.sqrt(1.0 - (horizon**2 - 1.0) / (3.0 * horizon * length))
    return mean + float(stretch * low), mean + float(stretch * high)


def _bootstrap_sums(values: Series, length: int, num_bootstrap: int, seed: int) -> Series:
    """Sum of each resampled series: whole blocks plus one shortened block that completes the length."""
    num_dates = len(values)
    num_whole, remainder = divmod(num_dates, length)
    whole_sums = _circular_sums(values, length)
    rest_sums = _circular_sums(values, remainder)
    num_blocks = num_whole + (remainder > 0)
    generator = np.random.default_rng(seed)
    sums = np.empty(num_bootstrap)
    chunk = max(1, _BOOTSTRAP_CHUNK // num_blocks)
    for first in range(0, num_bootstrap, chunk):
        last = min(first + chunk, num_bootstrap)
        starts = generator.integers(0, num_dates, size=(last - first, num_blocks))
        sums[first:last] = whole_sums[starts[:, :num_whole]].sum(axis=1)
        if remainder:
            sums[first:last] += rest_sums[starts[:, -1]]
    return sums


def _circular_sums(values: Series, length: int) -> Series:
    """Sum of `length` values from every start, wrapping around the end."""
    if length == 0:
        return np.zeros(len(values))
    wrapped = np.concatenate([values, values[: length - 1]])
    return np.lib.stride_tricks.sliding_window_view(wrapped, length).sum(axis=1)


def _present(series: ArrayLike) -> Series:
    values = as_series("series", series)
    return values[~np.isnan(values)]
