"""Bootstrap of dependent series: circular, moving and stationary blocks, the block length, the interval.

Labels of horizon h overlap for h - 1 dates, so daily ICs are autocorrelated. Blocks of consecutive dates keep
that dependence. Missing dates are dropped first; the dates that remain are treated as consecutive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_series, check_at_least, check_share
from factor_metrics.dispersion import no_dispersion, rounding_of
from factor_metrics.kernel_cache import kernel
from factor_metrics.significance.distributions import normal_quantile, student_t_quantile
from factor_metrics.significance.mean_test import LEAST_HORIZONS, mean_test

BlockMethod = Literal["circular", "moving", "stationary"]

ENOUGH_HORIZONS = 25
"""Dates, in horizons, from which on blocks say by themselves how far the mean wanders: 95 % intervals then hold it in
93 to 97 % of panels; with fewer, of a forecast that persists, in as few as 92 (the benchmark `null_rejection`)."""
_DRAWN_AT_ONCE = 2_000_000  # numbers held at once: bounds the memory, not the result


class BlockLength(NamedTuple):
    """Mean square optimal block lengths, not rounded."""

    stationary: float
    circular: float


def bootstrap_block_length(num_dates: int, horizon: int = 1) -> int:
    """Return the block length: ceil(T^(1/3)), at least three horizons where labels overlap.

    Never above half of the dates, but never below the horizon.
    """
    check_at_least("horizon", horizon, 1)
    overlap = 1 if horizon == 1 else 3 * horizon
    length = max(overlap, math.ceil(round(num_dates ** (1.0 / 3.0), 9)))
    return max(horizon, min(length, num_dates // 2), 1)


def optimal_block_length(series: ArrayLike) -> BlockLength:
    """Return the block lengths that minimise the mean square error of the variance of the mean.

    Politis and White (2004), "Automatic block-length selection for the dependent bootstrap", with the
    correction of Patton, Politis and White (2009): (2 G^2 / D)^(1/3) T^(1/3), flat-top lag window of twice the
    first lag of a run of K = max(5, log10 T) autocorrelations below 2 sqrt(log10 T / T) (the authors' programs
    start from that lag, the paper's text from the one before it). At most min(3 sqrt(T), T / 3).

    Parameters
    ----------
    series
        (num_dates,), NaN dates are dropped.

    Returns
    -------
    BlockLength
        (NaN, NaN) with fewer than 20 dates or a constant series.
    """
    values = _present(series)
    num_dates = len(values)
    if num_dates < 20 or no_dispersion(values, rounding=rounding_of(series)):
        return BlockLength(math.nan, math.nan)
    num_quiet = max(5, int(math.log10(num_dates)))
    max_lag = math.ceil(math.sqrt(num_dates)) + num_quiet
    covariance = _autocovariances(values - values.mean(), max_lag + num_quiet)
    bound = 2.0 * math.sqrt(math.log10(num_dates) / num_dates)
    quiet = np.abs(covariance[1:] / covariance[0]) < bound
    runs = np.lib.stride_tricks.sliding_window_view(quiet, num_quiet).all(axis=1)
    first = int(runs.argmax()) + 1 if runs.any() else max_lag
    window = min(2 * first, max_lag)
    lags = np.arange(1, window + 1)
    taper = np.minimum(1.0, 2.0 * (1.0 - lags / window))
    weighted = taper * covariance[1 : window + 1]
    slope = 2.0 * float(lags @ weighted)
    long_run = float(covariance[0] + 2.0 * weighted.sum())
    most = math.ceil(min(3.0 * math.sqrt(num_dates), num_dates / 3.0))
    if long_run <= 0.0:
        return BlockLength(float(most), float(most))
    scale = (slope / long_run) ** 2 * num_dates
    return BlockLength(min(scale ** (1 / 3), most), min((1.5 * scale) ** (1 / 3), most))


def bootstrap_interval(
    series: ArrayLike,
    horizon: int = 1,
    confidence: float = 0.95,
    num_bootstrap: int = 2000,
    seed: int = 0,
    method: BlockMethod = "circular",
    block_length: int | Literal["automatic"] | None = None,
) -> tuple[float, float]:
    """Return the (low, high) percentile interval of the mean from a block bootstrap.

    "circular": blocks of consecutive dates, wrapped around the end, are drawn with replacement until T dates
    are collected (Politis and Romano, 1992, "A circular block-resampling procedure for stationary data").
    "moving": the same without wrapping (Kuensch, 1989). "stationary": wrapped, the length of every block drawn
    from the geometric distribution with mean `block_length` (Politis and Romano, 1994, "The stationary
    bootstrap").

    Few long blocks say little about their own spread, and a plain percentile interval is then too short. It
    is therefore stretched about the mean, see `block_stretch`; the factors tend to 1 with many blocks. Where the
    dates are fewer than 25 horizons, blocks of three are eight at most, and no stretch of so few suffices always:
    there no end is nearer to the mean than that of `mean_test`, unless a block length is given.

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
    method
        How blocks are drawn.
    block_length
        Default: `bootstrap_block_length`. "automatic": `optimal_block_length` of this series, but not below
        the horizon.

    Returns
    -------
    tuple of float
        (NaN, NaN) with fewer than five horizons of dates, or where `mean_test` has no t in fewer than 25: that is
        too little to say anything about the spread. With a given `block_length`: with fewer than two of its blocks.
    """
    check_share("confidence", confidence)
    check_at_least("num_bootstrap", num_bootstrap, 1)
    check_method(method)
    values = _present(series)
    num_dates = len(values)
    length = _chosen_length(values, horizon, method, block_length)
    is_given = block_length is not None and block_length != "automatic"
    if num_dates < max(2, 2 * length if is_given else LEAST_HORIZONS * horizon):
        return math.nan, math.nan
    mean = float(values.mean())
    if no_dispersion(values, rounding=rounding_of(series)):
        return float(values[0]), float(values[0])
    if method == "circular":
        deviations = _circular_sums_drawn(values - mean, length, num_bootstrap, seed) / num_dates
    else:
        deviations = resampled_means(values[:, None] - mean, length, num_bootstrap, seed, method)[:, 0]
        deviations -= deviations.mean() if method == "moving" else 0.0  # its blocks do not average to the mean
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(deviations, [tail, 1.0 - tail])
    stretch = block_stretch(num_dates, length, horizon, tail, method)
    ends = mean + float(stretch * low), mean + float(stretch * high)
    if is_given or num_dates >= ENOUGH_HORIZONS * horizon:
        return ends
    least = mean_test(values, horizon).interval(confidence)
    return (math.nan, math.nan) if math.isnan(least[0]) else (min(ends[0], least[0]), max(ends[1], least[1]))


def resampled_means(
    values_DK: Matrix, length: int, num_bootstrap: int, seed: int, method: BlockMethod = "stationary"
) -> Matrix:
    """Return (num_bootstrap, K) means over dates of K series that are resampled together, date by date.

    `values_DK` (num_dates, K) without NaN. All series of a draw share its dates, so what they have in common
    stays. The mean of `num_dates` rows times their drawn counts, hence one matrix product.
    """
    num_dates = len(values_DK)
    generator = np.random.default_rng(seed)
    means = np.empty((num_bootstrap, values_DK.shape[1]))
    chunk = max(1, _DRAWN_AT_ONCE // max(num_dates, 1))
    for first in range(0, num_bootstrap, chunk):
        last = min(first + chunk, num_bootstrap)
        counts = _drawn_counts(generator, last - first, num_dates, length, get_args(BlockMethod).index(method))
        means[first:last] = counts @ values_DK / num_dates
    return means


def block_stretch(num_dates: int, length: int, horizon: int, tail: float, method: BlockMethod) -> float:
    """Return by how much the percentiles of the resampled mean are moved away from the mean.

    The variance of the resampled mean is a kernel estimate: dates k apart count w_k = 1 - k / L times, or
    (1 - 1/L)^k with stationary blocks of mean length L. Three things follow from the sums over k = -inf..inf:

    - deviations from the sample's own mean lose the share sum(w) / T of the variance;
    - the estimate itself has T / sum(w^2) degrees of freedom (1.5 T / L for the Bartlett kernel), hence
      Student's t in place of the normal quantile;
    - of the covariance triangle 1 - k / h that overlapping labels alone bring, the share
      sum(w_k (1 - k / h)) / h is left: 1 - (h^2 - 1) / (3 h L) for w_k = 1 - k / L, as L >= h.
    """
    if method == "stationary":
        keep = 1.0 - 1.0 / length
        total, squares = 2.0 * length - 1.0, 2.0 / (1.0 - keep**2) - 1.0
        lags = np.arange(1, horizon)
        share = (1.0 + 2.0 * float((keep**lags * (1.0 - lags / horizon)).sum())) / horizon
    else:
        total, squares = float(length), length / 1.5
        share = 1.0 - (horizon**2 - 1.0) / (3.0 * horizon * length)
    stretch = math.sqrt(num_dates / (num_dates - total))
    stretch *= student_t_quantile(tail, num_dates / squares) / normal_quantile(tail)
    return stretch / math.sqrt(share)


def _chosen_length(
    values: Series, horizon: int, method: BlockMethod, block_length: int | Literal["automatic"] | None
) -> int:
    default = bootstrap_block_length(len(values), horizon)
    if block_length is None:
        return default
    if block_length == "automatic":
        optimal = optimal_block_length(values)
        wanted = optimal.stationary if method == "stationary" else optimal.circular
        return default if math.isnan(wanted) else max(horizon, math.ceil(wanted))
    check_at_least("block_length", block_length, horizon)
    return block_length


def _circular_sums_drawn(values: Series, length: int, num_bootstrap: int, seed: int) -> Series:
    """Sum of each resampled series: whole blocks plus one shortened block that completes the length."""
    num_dates = len(values)
    num_whole, remainder = divmod(num_dates, length)
    whole_sums = _circular_sums(values, length)
    rest_sums = _circular_sums(values, remainder)
    num_blocks = num_whole + (remainder > 0)
    chunk = max(1, _DRAWN_AT_ONCE // num_blocks)
    if chunk >= num_bootstrap:
        parts: Iterable[NDArray[np.int64]] = [_starts_drawn(num_dates, num_bootstrap, num_blocks, seed)]
    else:
        generator = np.random.default_rng(seed)
        sizes = (min(chunk, num_bootstrap - first) for first in range(0, num_bootstrap, chunk))
        parts = (generator.integers(0, num_dates, size=(size, num_blocks)) for size in sizes)
    sums = []
    for starts in parts:
        sums.append(whole_sums[starts[:, :num_whole]].sum(axis=1))
        if remainder:
            sums[-1] += rest_sums[starts[:, -1]]
    return np.concatenate(sums)


@lru_cache(maxsize=8)
def _starts_drawn(num_dates: int, num_bootstrap: int, num_blocks: int, seed: int) -> NDArray[np.int64]:
    """Return (num_bootstrap, num_blocks) first dates of blocks: series of one length are resampled alike."""
    starts = np.random.default_rng(seed).integers(0, num_dates, size=(num_bootstrap, num_blocks))
    starts.flags.writeable = False
    return starts


def _circular_sums(values: Series, length: int) -> Series:
    """Sum of `length` values from every start, wrapping around the end."""
    if length == 0:
        return np.zeros(len(values))
    wrapped = np.concatenate([values, values[: length - 1]])
    return np.lib.stride_tricks.sliding_window_view(wrapped, length).sum(axis=1)


@kernel(nogil=True)
def _drawn_counts(
    generator: np.random.Generator, num_draws: int, num_dates: int, length: int, method: int
) -> NDArray[np.float64]:
    """How often each date occurs in each draw: (num_draws, num_dates); `method` indexes BlockMethod.

    A block adds 1 from its start to its end: only the two ends are written, running sums fill in the rest.
    """
    counts = np.zeros((num_draws, num_dates + 1))
    num_starts = num_dates - length + 1 if method == 1 else num_dates
    log_continue = np.log1p(-1.0 / length) if length > 1 else -np.inf
    for draw in range(num_draws):
        ends = counts[draw]
        filled = 0
        while filled < num_dates:
            start, size = int(generator.random() * num_starts), length
            if method == 2:
                drawn = np.log1p(-generator.random()) / log_continue  # geometric, at least 1
                size = 1 + int(min(drawn, num_dates))
            size = min(size, num_dates - filled)
            filled += size
            ends[start] += 1.0
            if start + size > num_dates:
                ends[0] += 1.0
                ends[start + size - num_dates] -= 1.0
            else:
                ends[start + size] -= 1.0
        for date in range(1, num_dates):
            ends[date] += ends[date - 1]
    return counts[:, :num_dates]


def _autocovariances(deviation: Series, max_lag: int) -> Series:
    """(1 / T) sum of products of deviations, lags 0..max_lag."""
    num_dates = len(deviation)
    lags = range(min(max_lag, num_dates - 1) + 1)
    return np.array([float(deviation[lag:] @ deviation[: num_dates - lag]) for lag in lags]) / num_dates


def check_method(method: str) -> None:
    """Refuse a name that is no way of drawing blocks."""
    if method not in get_args(BlockMethod):
        raise ValueError(f"method must be one of {', '.join(get_args(BlockMethod))}, got {method!r}")


def _present(series: ArrayLike) -> Series:
    values = as_series("series", series)
    return values[~np.isnan(values)]
