"""The floor that knows nothing: a random ranking, and how high the mean IC of one can be by luck."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, as_matrix, check_at_least, check_share
from factor_metrics.dispersion import no_dispersion_by_date, rounding_of
from factor_metrics.significance.distributions import normal_quantile


def random_ranking(shape: tuple[int, int], seed: int = 0) -> Matrix:
    """Return uniform noise (num_dates, num_symbols): the floor that knows nothing."""
    if len(shape) != 2 or min(shape) < 0:
        raise ValueError(f"shape must be (num_dates, num_symbols), got {shape}")
    return np.random.default_rng(seed).random(shape)


def random_ranking_interval(label: ArrayLike, confidence: float = 0.95, min_symbols: int = 10) -> tuple[float, float]:
    """Return the (low, high) interval of the mean IC that random rankings reach on these labels.

    A random ranking of n symbols has IC 0 on average with variance 1 / (n - 1), whatever the labels and for
    Pearson and Spearman alike (Hotelling and Pabst, 1936, "Rank correlation and tests of significance involving
    no assumption of normality"), and dates are independent. The mean over dates has standard deviation
    sqrt(sum 1 / (n_t - 1)) / T and is taken as normal, which over 20 dates or more it is.

    Parameters
    ----------
    label
        (num_dates, num_symbols), NaN = missing. Dates with fewer than `min_symbols` symbols or a constant label
        have no IC and are left out.
    confidence
        Two-sided level in (0, 1).
    min_symbols
        As in `rank_ic`.

    Returns
    -------
    tuple of float
        (-x, x); (NaN, NaN) without a usable date.
    """
    check_share("confidence", confidence)
    check_at_least("min_symbols", min_symbols, 2)
    label_DS = as_matrix("label", label)
    constant = no_dispersion_by_date(label_DS, rounding=rounding_of(label))
    count = (~np.isnan(label_DS)).sum(axis=1)[~constant]
    count = count[count >= min_symbols]
    if not len(count):
        return math.nan, math.nan
    std = math.sqrt(float((1.0 / (count - 1.0)).sum())) / len(count)
    half_width = normal_quantile(0.5 + confidence / 2.0) * std
    return -half_width, half_width
