"""What trading costs beyond a share of its value: price impact by share of volume, and what is left after costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix, as_series, check_at_least, check_same_shape
from factor_metrics.dispersion import no_dispersion
from factor_metrics.labels import same_labels
from factor_metrics.trailing import last_known, trailing_mean


@dataclass(frozen=True, kw_only=True, eq=False)
class Impact:
    """Rates of the price impact that are known already, for several books at the same prices."""

    rates: Matrix
    """(num_dates, num_symbols) as `impact_rates` returns them."""


@same_labels("price", "traded")
def impact_rates(
    price: ArrayLike, traded: ArrayLike, *, coefficient: float, money: float, num_bars: int = 20
) -> Matrix:
    """Return the rate k of the square-root impact, so that trading the share x of equity costs k x^1.5 of equity.

    A trade of the money q costs the share coefficient x volatility x sqrt(q / volume) of itself: Toth et al. (2011),
    "Anomalous price impact and the critical nature of liquidity in financial markets". With q = x `money` this is
    k = coefficient x volatility x sqrt(money / volume).

    Parameters
    ----------
    price
        (num_dates, num_symbols) above 0, adjusted; NaN = no bar.
    traded
        (num_dates, num_symbols) money that was traded in the bar, NaN = no bar; 0 or less counts as not reported.
    coefficient
        At least 0; about 1.
    money
        Size of the book, above 0, in the same currency.
    num_bars
        Volatility (root mean square of returns) and mean money are those of so many dates up to the date; at
        least 2.

    Returns
    -------
    numpy.ndarray
        (num_dates, num_symbols), no NaN. A symbol without a known volume or return in these dates has the median
        rate of its date, and where no symbol has one, 0.
    """
    prices, volume = as_matrix("price", price), as_matrix("traded", traded)
    check_same_shape("price", prices, "traded", volume)
    check_at_least("num_bars", num_bars, 2)
    if not (coefficient >= 0.0 and money > 0.0):
        raise ValueError(f"coefficient must be at least 0 and money above 0, got {coefficient!r} and {money!r}")
    last = last_known(prices)
    moves = np.full(prices.shape, np.nan)
    moves[1:] = prices[1:] / last[:-1] - 1.0
    variance = trailing_mean(np.square(moves), num_bars)
    mean_volume = trailing_mean(np.where(volume > 0.0, volume, np.nan), num_bars)
    with np.errstate(invalid="ignore"):
        rates = coefficient * np.sqrt(variance * money / mean_volume)
    known = np.isfinite(rates)
    return np.where(known, rates, _median_known(rates, known)[:, None])


def _median_known(values: Matrix, known: NDArray[np.bool_]) -> Series:
    """Return the median of what is known of each row, 0 where nothing is."""
    ordered = np.sort(np.where(known, values, np.inf), axis=1)
    count, row = known.sum(axis=1), np.arange(len(values))
    middle = (np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1))
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, (ordered[row, middle[0]] + ordered[row, middle[1]]) / 2.0, 0.0)


@same_labels("returns", "turnover")
def break_even_cost(returns: ArrayLike, turnover: ArrayLike) -> float:
    """Return the cost of a side, as a share of the traded value, at which the mean return is 0.

    Mean return before trading costs / mean traded value (buys plus sells, as a share of equity), over the dates on
    which both are known; (num_dates,) each. NaN where nothing was traded. Negative: no cost is low enough.

    Examples
    --------
    A book that earns 0.1 % a date and replaces half of itself (sells 50 %, buys 50 %):

    >>> break_even_cost([0.001, 0.001], [1.0, 1.0])
    0.001
    """
    earned, traded = as_series("returns", returns), as_series("turnover", turnover)
    check_same_shape("returns", earned, "turnover", traded)
    both = ~(np.isnan(earned) | np.isnan(traded))
    total = float(traded[both].sum())
    return float(earned[both].sum()) / total if total > 0.0 else math.nan


@same_labels("returns", "impact")
def capacity(returns: ArrayLike, impact: ArrayLike, money: float) -> float:
    """Return the money at which impact halves the Sharpe ratio that a book of no size has.

    Impact grows with the root of the money: with s = sqrt(M / money) the returns of a book of M are
    returns - s impact. The Sharpe ratio of that, squared, is a ratio of two polynomials in s, so the s where it is
    half of the one at s = 0 is the root of a quadratic. For a constant impact c and a mean return m this is
    M = money (m / 2c)^2.

    Parameters
    ----------
    returns
        (num_dates,) after all costs but the impact; NaN dates are dropped.
    impact
        (num_dates,) cost of the impact on each date at `money`, as a share of equity.
    money
        Above 0.

    Returns
    -------
    float
        In the currency of `money`. inf without any impact; NaN where the Sharpe ratio without it is not above 0.
    """
    before, cost = as_series("returns", returns), as_series("impact", impact)
    check_same_shape("returns", before, "impact", cost)
    if not money > 0.0:
        raise ValueError(f"money must be above 0, got {money!r}")
    both = ~(np.isnan(before) | np.isnan(cost))
    before, cost = before[both], cost[both]
    if no_dispersion(before) or not before.mean() > 0.0:
        return math.nan
    if not cost.any():
        return math.inf
    mean, slope = float(before.mean()), float(cost.mean())
    variance, noise = float(before.var(ddof=1)), float(cost.var(ddof=1))
    together = float((before - mean) @ (cost - slope)) / (len(before) - 1)
    # (mean - s slope)^2 variance = (mean / 2)^2 (variance - 2 s together + s^2 noise), in powers of s / (mean / slope)
    unit = mean / slope
    quadratic = variance - 0.25 * noise * unit**2
    linear = -2.0 * variance + 0.5 * together * unit
    constant = 0.75 * variance
    spread = math.sqrt(max(linear**2 - 4.0 * quadratic * constant, 0.0))
    # Left of s = mean / slope there is exactly one root: the value is positive at 0 and not at the end.
    return money * (unit * 2.0 * constant / (-linear + spread)) ** 2


@same_labels("exposure", "turnover")
def holding_time(exposure: ArrayLike, turnover: ArrayLike) -> float:
    """Return for how many dates a position is held: 2 x mean exposure / mean traded value (buys plus sells).

    (num_dates,) each, as shares of equity, over the dates on which both are known. inf where nothing was traded but
    something held, NaN where nothing was.
    """
    held, traded = as_series("exposure", exposure), as_series("turnover", turnover)
    check_same_shape("exposure", held, "turnover", traded)
    both = ~(np.isnan(held) | np.isnan(traded))
    total, size = float(traded[both].sum()), float(held[both].sum())
    if total > 0.0:
        return 2.0 * size / total
    return math.inf if size > 0.0 else math.nan
