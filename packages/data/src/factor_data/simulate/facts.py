"""Stylised facts of returns: the numbers that distinguish a market from noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LAGS = (1, 5, 20)


def stylised_facts(returns: pd.DataFrame) -> dict[str, float]:
    """Describe one-bar returns by the usual facts, each the median over symbols unless stated.

    Parameters
    ----------
    returns : (num_dates, num_symbols) frame, NaN = missing; symbols with fewer than 100 returns are left out

    Returns
    -------
    volatility, kurtosis (excess) and skewness of returns; autocorrelation of returns and of absolute returns
    at lags 1, 5 and 20; leverage (correlation of the return with the absolute return one bar later);
    cross_correlation (mean over pairs of symbols of the return correlation); market_kurtosis and
    market_acf_abs_1 of the equally weighted mean. Autocorrelations use returns clipped at 10 median absolute
    deviations, else single jumps rule them.
    """
    kept = returns.loc[:, returns.notna().sum() >= 100]
    if kept.shape[1] == 0:
        raise ValueError(f"returns has no symbol with 100 returns, of {returns.shape[1]} symbols")
    series = [kept[name].to_numpy(dtype=float) for name in kept.columns]
    facts = {
        "volatility": _median(np.nanstd(x) for x in series),
        "kurtosis": _median(_moment(x, 4) - 3.0 for x in series),
        "skewness": _median(_moment(x, 3) for x in series),
    }
    clipped = [_clip(x) for x in series]
    for lag in LAGS:
        facts[f"acf_return_{lag}"] = _median(_lagged_correlation(x, x, lag) for x in clipped)
    for lag in LAGS:
        facts[f"acf_abs_return_{lag}"] = _median(_lagged_correlation(abs(x), abs(x), lag) for x in clipped)
    facts["leverage"] = _median(_lagged_correlation(x, abs(x), 1) for x in clipped)
    facts["cross_correlation"] = _mean_pair_correlation(clipped)
    market = kept.mean(axis=1).to_numpy()
    facts["market_volatility"] = float(np.nanstd(market))
    facts["market_kurtosis"] = _moment(market, 4) - 3.0
    facts["market_acf_abs_1"] = _lagged_correlation(abs(market), abs(market), 1)
    return facts


def _median(values: object) -> float:
    return float(np.nanmedian(list(values)))  # type: ignore[call-overload]


def _moment(x: NDArray, power: int) -> float:
    deviation = x - np.nanmean(x)
    return float(np.nanmean(deviation**power) / np.nanstd(x) ** power)


def _clip(x: NDArray) -> NDArray:
    center = np.nanmedian(x)
    reach = 10.0 * np.nanmedian(np.abs(x - center))
    return np.clip(x, center - reach, center + reach)


def _lagged_correlation(first: NDArray, later: NDArray, lag: int) -> float:
    x, y = first[:-lag], later[lag:]
    both = ~(np.isnan(x) | np.isnan(y))
    return float(np.corrcoef(x[both], y[both])[0, 1]) if both.sum() > 2 else np.nan


def _mean_pair_correlation(series: list[NDArray], num_symbols: int = 200) -> float:
    """Mean correlation over all pairs among up to `num_symbols` evenly chosen symbols."""
    chosen = series[:: max(1, len(series) // num_symbols)][:num_symbols]
    matrix = pd.DataFrame(np.column_stack(chosen)).corr(min_periods=100).to_numpy()
    return float(np.nanmean(matrix[~np.eye(len(matrix), dtype=bool)])) if len(matrix) > 1 else np.nan
