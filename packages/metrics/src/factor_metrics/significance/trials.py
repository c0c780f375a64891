"""What a good backtest is worth when it is the best of many trials."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Series, as_matrix, check_at_least, check_share
from factor_metrics.dispersion import rounding_of
from factor_metrics.ordering.ranks import rank_rows
from factor_metrics.significance.distributions import normal_cdf, normal_quantile


def probabilistic_sharpe_ratio(
    sharpe: float, num_dates: int, benchmark: float = 0.0, skewness: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Return the probability that the true Sharpe ratio exceeds `benchmark`.

    Phi((SR - SR*) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2)): Bailey and Lopez de Prado (2012), "The
    Sharpe ratio efficient frontier". Sharpe ratios are per date, not annualised; `kurtosis` is not in excess
    (normal = 3). NaN where the bracket is not positive.
    """
    check_at_least("num_dates", num_dates, 2)
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if not variance > 0.0:
        return math.nan
    return normal_cdf((sharpe - benchmark) * math.sqrt(num_dates - 1) / math.sqrt(variance))


def minimum_track_record_length(
    sharpe: float,
    benchmark: float = 0.0,
    skewness: float = 0.0,
    kurtosis: float = 3.0,
    confidence: float = 0.95,
) -> float:
    """Return how many dates it takes until this Sharpe ratio is above `benchmark` with `confidence`.

    1 + (1 - g3 SR + (g4 - 1) / 4 SR^2) (Phi^-1(confidence) / (SR - SR*))^2: Bailey and Lopez de Prado (2012);
    the length at which `probabilistic_sharpe_ratio` reaches `confidence`, not rounded. Sharpe ratios are per
    date. inf where the Sharpe ratio is not above the benchmark, NaN where the bracket is not positive.

    Examples
    --------
    The paper: an annual Sharpe ratio of 2 is above 1 after 3.24 years of normal monthly returns.

    >>> round(minimum_track_record_length(2 / 12**0.5, 1 / 12**0.5) / 12, 2)
    3.24
    """
    check_share("confidence", confidence)
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if not variance > 0.0 or math.isnan(sharpe - benchmark):
        return math.nan
    if sharpe <= benchmark:
        return math.inf
    return 1.0 + variance * (normal_quantile(confidence) / (sharpe - benchmark)) ** 2


def expected_maximum_sharpe(num_trials: int, trials_std: float) -> float:
    """Return the expected highest Sharpe ratio of `num_trials` independent trials without any skill.

    std ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e))), g = Euler-Mascheroni: Bailey and Lopez de Prado
    (2014). For a single trial it is 0. `trials_std` is the standard deviation of the Sharpe ratios over
    trials.
    """
    check_at_least("num_trials", num_trials, 1)
    if not trials_std >= 0.0:
        raise ValueError(f"trials_std must be at least 0, got {trials_std!r}")
    if num_trials == 1:
        return 0.0
    at_n = normal_quantile(1.0 - 1.0 / num_trials)
    at_ne = normal_quantile(1.0 - 1.0 / (num_trials * math.e))
    return float(trials_std * ((1.0 - np.euler_gamma) * at_n + np.euler_gamma * at_ne))


def deflated_sharpe_ratio(
    sharpe: float,
    num_dates: int,
    num_trials: int,
    trials_std: float,
    skewness: float = 0.0,
    kurtosis: float = 3.0,
) -> float:
    """Return the probability that a Sharpe ratio chosen as the best of `num_trials` is truly positive.

    The probabilistic Sharpe ratio against the expected maximum of as many trials without skill: Bailey and
    Lopez de Prado (2014), "The deflated Sharpe ratio: correcting for selection bias, backtest overfitting and
    non-normality".

    Parameters
    ----------
    sharpe
        Sharpe ratio of the chosen trial per date (not annualised): mean / standard deviation.
    num_dates
        Number of returns behind it.
    num_trials
        Number of (independent) trials that were looked at.
    trials_std
        Standard deviation of the Sharpe ratios over these trials, per date.
    skewness, kurtosis
        Moments of the chosen trial's returns; kurtosis of a normal is 3.

    Returns
    -------
    float
        In [0, 1]; above 0.95 is the usual demand.

    Examples
    --------
    The example of the paper: annual Sharpe ratio 2.5 over 1250 days, 100 trials with variance 1/2 a year.

    >>> daily, trials_std = 2.5 / 250**0.5, (0.5 / 250) ** 0.5
    >>> round(deflated_sharpe_ratio(daily, 1250, 100, trials_std, skewness=-3, kurtosis=10), 2)
    0.9
    """
    benchmark = expected_maximum_sharpe(num_trials, trials_std)
    return probabilistic_sharpe_ratio(sharpe, num_dates, benchmark, skewness, kurtosis)


def probability_of_backtest_overfitting(returns: ArrayLike, num_blocks: int = 16) -> float:
    """Return how often the best trial of one half of the dates is at or below the median of the other.

    Combinatorially symmetric cross-validation: Bailey, Borwein, Lopez de Prado and Zhu (2017), "The
    probability of backtest overfitting". About 1/2 = choosing among these trials is worth nothing, near 0 =
    the choice holds.

    Parameters
    ----------
    returns
        (num_dates, num_trials): the return (or IC) of every trial on every date, no NaN.
    num_blocks
        Even number of blocks of consecutive dates; all halves of them are tried. Dates that do not fill a
        block are dropped at the end.

    Returns
    -------
    float
        Share of splits whose logit is at most 0, in [0, 1].
    """
    return float((overfitting_logits(returns, num_blocks) <= 0.0).mean())


def overfitting_logits(returns: ArrayLike, num_blocks: int = 16) -> Series:
    """Return, for each split, log(w / (1 - w)), w = out-of-sample rank / (N + 1) of the trial best in sample.

    Performance is the Sharpe ratio (mean / standard deviation, population). Ties in sample: the first trial;
    out of sample: average rank. Splits come in the order of `itertools.combinations`.
    """
    returns_DN = as_matrix("returns", returns)
    _check_trials(returns_DN, num_blocks)
    length = len(returns_DN) // num_blocks
    blocks = returns_DN[: length * num_blocks].reshape(num_blocks, length, -1)
    sums, squares = blocks.sum(axis=1), np.square(blocks - returns_DN.mean(axis=0)).sum(axis=1)
    inside = np.zeros((math.comb(num_blocks, num_blocks // 2), num_blocks))
    for row, chosen in enumerate(combinations(range(num_blocks), num_blocks // 2)):
        inside[row, list(chosen)] = 1.0
    centre = returns_DN.mean(axis=0)
    num_dates = length * num_blocks // 2
    in_sample = _sharpe(inside @ sums, inside @ squares, centre, num_dates)
    out_of_sample = _sharpe((1.0 - inside) @ sums, (1.0 - inside) @ squares, centre, num_dates)
    best = in_sample.argmax(axis=1)
    rank = np.take_along_axis(rank_rows(out_of_sample), best[:, None], axis=1)[:, 0]
    share = rank / (returns_DN.shape[1] + 1.0)
    return np.log(share / (1.0 - share))


def _sharpe(total: np.ndarray, squares_about_centre: np.ndarray, centre: np.ndarray, num_dates: int) -> np.ndarray:
    """Mean / standard deviation from sums; squares are about `centre` to keep digits. 0 for constants."""
    mean = total / num_dates
    variance = squares_about_centre / num_dates - np.square(mean - centre)
    std = np.sqrt(np.maximum(variance, 0.0))
    varies = std > rounding_of(dtype=np.float64).relative * np.maximum(np.abs(mean), 1.0)
    return np.divide(mean, std, out=np.zeros_like(mean), where=varies)


def _check_trials(returns_DN: np.ndarray, num_blocks: int) -> None:
    check_at_least("num_blocks", num_blocks, 2)
    if num_blocks % 2 or num_blocks > 20:
        raise ValueError(f"num_blocks must be even and at most 20 (184,756 splits), got {num_blocks}")
    num_dates, num_trials = returns_DN.shape
    if num_trials < 2:
        raise ValueError(f"returns must hold at least 2 trials (columns), got {num_trials}")
    if num_dates < 2 * num_blocks:
        raise ValueError(f"returns must hold at least 2 dates a block = {2 * num_blocks}, got {num_dates}")
    num_missing = int(np.isnan(returns_DN).sum())
    if num_missing:
        raise ValueError(f"returns must hold no NaN (drop the dates first), got {num_missing}")
