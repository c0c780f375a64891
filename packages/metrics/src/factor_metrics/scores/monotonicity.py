"""Test whether every quantile earns more than the one below it, not only the ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import as_matrix, check_at_least
from factor_metrics.dispersion import no_dispersion
from factor_metrics.ordering.ranks import rank_rows
from factor_metrics.significance.bootstrap import bootstrap_block_length, resampled_means


@dataclass(frozen=True, kw_only=True)
class Monotonicity:
    """Order of the mean quantile returns. NaN = too few dates."""

    rank_correlation: float
    """Spearman correlation of quantile number and mean return: 1 = strictly rising."""
    smallest_step: float
    """Lowest difference between the means of neighbouring quantiles, upper - lower."""
    p_value: float
    """p-value of the hypothesis "the means do not rise strictly"; small = they do, at every step."""
    num_dates: int
    """Dates on which every quantile has a return."""


def monotonicity(
    quantile_returns_DQ: ArrayLike, horizon: int = 1, num_bootstrap: int = 2000, seed: int = 0
) -> Monotonicity:
    """Return the monotonic relation test of Patton and Timmermann over the mean quantile returns.

    Patton and Timmermann (2010), "Monotonicity in asset returns: new tests with applications to the term
    structure, the CAPM, and portfolio sorts": statistic = smallest step, against stationary-bootstrap draws of
    the steps less their own means, p = (1 + draws at least as large) / (1 + draws). A large spread with a bent
    middle does not pass; ranks alone (Spearman) do not say how sure the order is, hence both.

    Parameters
    ----------
    quantile_returns_DQ
        (num_dates, num_quantiles) from `quantile_returns`, lowest quantile first. Dates with a NaN are dropped.
    horizon
        Bars from entry to exit of the label; sets the block length, see `bootstrap_block_length`.
    num_bootstrap, seed
        Resamples of the bootstrap and their seed.
    """
    check_at_least("num_bootstrap", num_bootstrap, 1)
    returns = as_matrix("quantile_returns", quantile_returns_DQ)
    num_quantiles = returns.shape[1]
    check_at_least("number of quantiles", num_quantiles, 2)
    returns = returns[~np.isnan(returns).any(axis=1)]
    num_dates = len(returns)
    if num_dates == 0:
        return Monotonicity(rank_correlation=math.nan, smallest_step=math.nan, p_value=math.nan, num_dates=0)
    means = returns.mean(axis=0)
    ranks, constant = rank_rows(means[None, :])[0], no_dispersion(means)
    steps = np.diff(returns, axis=1)
    mean_steps = steps.mean(axis=0)
    length = bootstrap_block_length(num_dates, horizon)
    p_value = math.nan
    if num_dates >= 2 * length and num_dates > 1:
        draws = resampled_means(steps - mean_steps, length, num_bootstrap, seed).min(axis=1)
        p_value = (1.0 + float((draws >= mean_steps.min()).sum())) / (1.0 + num_bootstrap)
    return Monotonicity(
        rank_correlation=math.nan if constant else float(np.corrcoef(ranks, np.arange(num_quantiles))[0, 1]),
        smallest_step=float(mean_steps.min()),
        p_value=p_value,
        num_dates=num_dates,
    )
