"""Performance of a series of returns: equity, drawdown, risk and ratios.

A series is (num_dates,) in time order: one return per date (of a portfolio, a spread or a benchmark), never one
per row of a panel. NaN = no return known on this date: it is left out of every number, the equity goes on
from the last date known, and the curve itself stays NaN there. The number of dates a year is always given by
the caller: daily 252, crypto 365, hourly 8,760.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Series, as_series, check_same_shape, check_share
from factor_metrics.dispersion import Rounding, no_dispersion, reason, rounding_of
from factor_metrics.labels import same_labels
from factor_metrics.portfolio.tail_risk import conditional_value_at_risk, value_at_risk
from factor_metrics.significance.distributions import moments, normal_quantile


@dataclass(frozen=True, kw_only=True)
class Performance:
    """One series of returns in numbers. NaN = cannot be said from this series."""

    total_return: float
    """Compounded over all dates."""
    annual_return: float
    """Compounded growth a year (CAGR)."""
    annual_volatility: float
    """Standard deviation a year, ddof 1."""
    sharpe: float
    """Mean excess over risk free / standard deviation, a year."""
    sortino: float
    """Mean excess over risk free / downside deviation, a year."""
    max_drawdown: float
    """Lowest equity against its running peak, 0 or negative."""
    calmar: float
    """annual_return / -max_drawdown."""
    hit_rate: float
    """Share of dates with a return above 0."""
    value_at_risk: float
    """Loss a date that is exceeded with probability 1 - confidence; positive = loss."""
    conditional_value_at_risk: float
    """Mean loss of the worst 1 - confidence share of dates."""
    skewness: float
    """Third standardised moment (population)."""
    kurtosis: float
    """Fourth standardised moment (population): a normal has 3."""
    num_dates: int
    """Dates with a known return."""
    undefined: str = ""
    """Why sharpe, skewness and kurtosis are NaN; "" where they are not."""

    def to_dict(self) -> dict[str, float | str]:
        """Return the fields as a plain dict (NaN kept; see `to_json_safe`)."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class RelativePerformance:
    """One series of returns against a benchmark, over the dates where both are known."""

    beta: float
    """Covariance with the benchmark / variance of the benchmark."""
    alpha: float
    """Mean return minus beta times the benchmark's mean, times dates a year (risk free 0)."""
    tracking_error: float
    """Standard deviation of the difference, a year."""
    information_ratio: float
    """Mean of the difference / its standard deviation, a year."""
    num_dates: int
    """Dates where both are known."""
    undefined: str = ""
    """Why information_ratio is NaN; "" where it is not."""


def performance(
    returns: ArrayLike, *, periods_per_year: float, risk_free: float = 0.0, confidence: float = 0.95
) -> Performance:
    """Return every number of `Performance`.

    Parameters
    ----------
    returns
        (num_dates,) simple returns in time order, NaN = unknown.
    periods_per_year
        Dates a year.
    risk_free
        Simple return a date of the riskless asset (not a year).
    confidence
        Level of the value at risk, in (0, 1).

    Examples
    --------
    >>> result = performance([0.10, -0.10, 0.05], periods_per_year=252)
    >>> round(result.total_return, 4), round(result.max_drawdown, 4), round(result.hit_rate, 4)
    (0.0395, -0.1, 0.6667)
    """
    values = _known(returns)
    skewness, kurtosis = moments(returns)
    return Performance(
        total_return=total_return(values),
        annual_return=annual_return(values, periods_per_year=periods_per_year),
        annual_volatility=annual_volatility(returns, periods_per_year=periods_per_year),
        sharpe=sharpe_ratio(returns, periods_per_year=periods_per_year, risk_free=risk_free),
        sortino=sortino_ratio(returns, periods_per_year=periods_per_year, risk_free=risk_free),
        max_drawdown=max_drawdown(values),
        calmar=calmar_ratio(returns, periods_per_year=periods_per_year),
        hit_rate=hit_rate(values),
        value_at_risk=value_at_risk(values, confidence),
        conditional_value_at_risk=conditional_value_at_risk(values, confidence),
        skewness=skewness,
        kurtosis=kurtosis,
        num_dates=len(values),
        undefined=_why_undefined(values, rounding_of(returns), "return"),
    )


@same_labels("returns", "benchmark")
def relative_performance(returns: ArrayLike, benchmark: ArrayLike, *, periods_per_year: float) -> RelativePerformance:
    """Return beta, alpha, tracking error and information ratio against `benchmark` (num_dates,).

    NaN with fewer than two common dates or where what is divided by has no dispersion (`dispersion`).
    """
    year = _check_year(periods_per_year)
    series, reference = as_series("returns", returns), as_series("benchmark", benchmark)
    check_same_shape("returns", series, "benchmark", reference)
    both = ~(np.isnan(series) | np.isnan(reference))
    series, reference = series[both], reference[both]
    if len(series) < 2:
        return RelativePerformance(
            beta=math.nan,
            alpha=math.nan,
            tracking_error=math.nan,
            information_ratio=math.nan,
            num_dates=len(series),
            undefined=reason(series, "difference"),
        )
    deviation = reference - reference.mean()
    beta = math.nan
    if not no_dispersion(reference, rounding=rounding_of(benchmark)):
        beta = float(deviation @ (series - series.mean())) / float(deviation @ deviation)
    difference = series - reference
    # The difference is rounded like what it is the difference of.
    size = max(float(np.abs(series).max()), float(np.abs(reference).max()))
    rounding = max(rounding_of(returns), rounding_of(benchmark))
    same = no_dispersion(difference, scale=max(size, 1.0), rounding=rounding)
    return RelativePerformance(
        beta=beta,
        alpha=year * float(series.mean() - beta * reference.mean()),
        tracking_error=0.0 if same else annual_volatility(difference, periods_per_year=year),
        information_ratio=math.nan if same else sharpe_ratio(difference, periods_per_year=year),
        num_dates=len(series),
        undefined=reason(difference, "difference") if same else "",
    )


def equity_curve(returns: ArrayLike, *, compound: bool = True) -> Series:
    """Return the value of 1 invested before the first date, after each date: (num_dates,).

    Product of 1 + return, or with `compound=False` 1 + sum of returns (a book that is reset to the same size
    every date, the usual view of a spread). NaN where the return is NaN. ValueError for compounded returns
    below -1: nobody can lose more than everything and go on.
    """
    values = as_series("returns", returns)
    missing = np.isnan(values)
    known = np.where(missing, 0.0, values)
    if not compound:
        return np.where(missing, np.nan, 1.0 + np.cumsum(known))
    _refuse_ruin(known)
    return np.where(missing, np.nan, np.cumprod(1.0 + known))


def drawdown(returns: ArrayLike, *, compound: bool = True) -> Series:
    """Return the equity against its running peak, per date: 0 at a peak, negative below; (num_dates,).

    The peak is the highest equity up to the date, with the 1 at the start counted; later peaks play no part.
    Compounded: equity / peak - 1, in [-1, 0]. With `compound=False`: equity - peak, in units of return. NaN
    where the return is NaN.

    Examples
    --------
    >>> drawdown([-0.5, 1.0, 0.5, -0.1]).round(6)
    array([-0.5,  0. ,  0. , -0.1])
    """
    curve = equity_curve(returns, compound=compound)
    peak = np.fmax.accumulate(np.fmax(curve, 1.0)) if len(curve) else curve
    return curve / peak - 1.0 if compound else curve - peak


def max_drawdown(returns: ArrayLike, *, compound: bool = True) -> float:
    """Return the lowest `drawdown`, 0 or negative; NaN without a known return."""
    depths = drawdown(returns, compound=compound)
    depths = depths[~np.isnan(depths)]
    return float(depths.min()) if len(depths) else math.nan


def total_return(returns: ArrayLike) -> float:
    """Return the compounded return over all known dates; NaN without one."""
    values = _known(returns)
    _refuse_ruin(values)
    return float(np.prod(1.0 + values) - 1.0) if len(values) else math.nan


def annual_return(returns: ArrayLike, *, periods_per_year: float) -> float:
    """Return the growth rate (1 + total return)^(periods_per_year / num_dates) - 1 over the known dates."""
    year, values = _check_year(periods_per_year), _known(returns)
    _refuse_ruin(values)
    if not len(values):
        return math.nan
    if values.min() <= -1.0:
        return -1.0
    return math.expm1(float(np.log1p(values).sum()) * year / len(values))


def annual_volatility(returns: ArrayLike, *, periods_per_year: float) -> float:
    """Return the standard deviation (ddof 1) times sqrt(periods_per_year); NaN below two dates."""
    year, values = _check_year(periods_per_year), _known(returns)
    return math.sqrt(year) * _std(values, rounding_of(returns))


def sharpe_ratio(returns: ArrayLike, *, periods_per_year: float, risk_free: float = 0.0) -> float:
    """Return mean(return - risk_free) / std (ddof 1) x sqrt(periods_per_year); NaN without dispersion.

    Sharpe (1994), "The Sharpe ratio". The root-of-time scale holds for uncorrelated returns only.
    """
    year, excess = _check_year(periods_per_year), _known(returns) - risk_free
    std = _std(excess, rounding_of(returns))
    return math.sqrt(year) * float(excess.mean()) / std if std > 0.0 else math.nan


def sharpe_interval(
    returns: ArrayLike, *, periods_per_year: float, risk_free: float = 0.0, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the bounds of the Sharpe ratio a year: SR -+ z sqrt((1 - g3 SR + (g4 - 1) / 4 SR^2) / (T - 1)) per date.

    The standard error allows for skewness g3 and kurtosis g4 (Mertens, 2002, "Comments on variance of the IID
    estimator in Lo (2002)"); it is the one of `probabilistic_sharpe_ratio`. NaN without dispersion.
    """
    check_share("confidence", confidence)
    year, excess = _check_year(periods_per_year), _known(returns) - risk_free
    sharpe = sharpe_ratio(returns, periods_per_year=1.0, risk_free=risk_free)
    skewness, kurtosis = moments(returns)
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if not variance > 0.0:
        return math.nan, math.nan
    half = normal_quantile(0.5 + confidence / 2.0) * math.sqrt(variance / (len(excess) - 1))
    return math.sqrt(year) * (sharpe - half), math.sqrt(year) * (sharpe + half)


def sortino_ratio(returns: ArrayLike, *, periods_per_year: float, risk_free: float = 0.0) -> float:
    """Return mean(return - risk_free) / downside deviation x sqrt(periods_per_year).

    Downside deviation = sqrt(mean(min(return - risk_free, 0)^2)) over all dates, gains counted as 0: Sortino
    and Price (1994), "Performance measurement in a downside risk framework". NaN without a loss beyond
    rounding or below two dates.
    """
    year, excess = _check_year(periods_per_year), _known(returns) - risk_free
    if len(excess) < 2:
        return math.nan
    losses = np.minimum(excess, 0.0)
    if -float(losses.min()) <= rounding_of(returns).relative:
        return math.nan
    return math.sqrt(year) * float(excess.mean()) / math.sqrt(float(np.square(losses).mean()))


def calmar_ratio(returns: ArrayLike, *, periods_per_year: float) -> float:
    """Return annual return / -max drawdown (Young, 1991, "Calmar ratio"); NaN where nothing was ever lost."""
    growth, depth = annual_return(returns, periods_per_year=periods_per_year), max_drawdown(returns)
    return growth / -depth if -depth > rounding_of(returns).relative else math.nan


def hit_rate(returns: ArrayLike) -> float:
    """Return the share of known dates with a return above 0; NaN without a date."""
    values = _known(returns)
    return float((values > 0.0).mean()) if len(values) else math.nan


def _known(returns: ArrayLike) -> Series:
    values = as_series("returns", returns)
    return values[~np.isnan(values)]


def _std(values: Series, rounding: Rounding) -> float:
    """Return the standard deviation, ddof 1; exactly 0 without dispersion, NaN below two dates."""
    if len(values) < 2:
        return math.nan
    return 0.0 if no_dispersion(values, rounding=rounding) else float(values.std(ddof=1))


def _why_undefined(values: Series, rounding: Rounding, what: str) -> str:
    return reason(values, what) if no_dispersion(values, rounding=rounding) else ""


def _check_year(periods_per_year: float) -> float:
    if not (math.isfinite(periods_per_year) and periods_per_year > 0.0):
        raise ValueError(f"periods_per_year must be finite and above 0, got {periods_per_year!r}")
    return float(periods_per_year)


def _refuse_ruin(values: Series) -> None:
    places = np.flatnonzero(values < -1.0)
    if len(places):
        first = ", ".join(f"{values[place]:g} at {place}" for place in places[:3])
        raise ValueError(f"returns holds {len(places)} value(s) below -1, which cannot compound: {first}")
