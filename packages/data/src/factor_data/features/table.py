"""The feature table: one name, one function of the panel, one line of meaning.

All are ratios or standardised quantities of adjusted prices and volumes over the symbol's own bars, never price
levels, and use nothing after the close of t. None changes when the symbol's adj_close, its prices or its volumes are
multiplied by a constant: the first is what a split after t does, the others what a vendor's unit does. c, o, h, l, v
are adjusted close, open, high, low and volume; r is the one-bar return. Each returns (num_rows,) float64, NaN where its
window is not complete and known. Calendar features depend on the time stamp alone. To add a feature: write the
function, add its line to `BAR_FEATURES` and its reference to the tests, which then hold it to the rules.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from factor_data.features.calendar import (
    DAYS_IN_WEEK,
    HOURS_IN_DAY,
    MONTHS_IN_YEAR,
    cosine,
    day_of_month,
    day_of_week,
    month,
    sine,
    time_of_day,
)
from factor_data.features.indicators import INDICATOR_FEATURES
from factor_data.features.kernels import (
    Floats,
    rolling_correlation,
    rolling_log_mean,
    rolling_max,
    rolling_mean,
    rolling_skewness,
    rolling_std,
)
from factor_data.features.memory import memory_features
from factor_data.history import lagged
from factor_data.panel.panel import Panel

Feature = Callable[[Panel], Floats]
VOLUME_FLOOR = 0.01  # of the mean volume: what a bar without volume counts as in logarithms


def past_return(panel: Panel, bars: int, skip: int = 0) -> Floats:
    """c[t - skip] / c[t - bars] - 1."""
    close, age = panel.adjusted("close"), panel.age
    recent = lagged(close, age, skip) if skip else close
    return recent / lagged(close, age, bars) - 1.0


def volatility(panel: Panel, bars: int) -> Floats:
    """Standard deviation of r over the last `bars` bars."""
    return rolling_std(past_return(panel, 1), panel.age, bars)


def skewness(panel: Panel, bars: int) -> Floats:
    """Skewness of r over the last `bars` bars."""
    return rolling_skewness(past_return(panel, 1), panel.age, bars)


def close_to_mean(panel: Panel, bars: int) -> Floats:
    """c over its mean of the last `bars` bars, minus 1."""
    close = panel.adjusted("close")
    return close / rolling_mean(close, panel.age, bars) - 1.0


def distance_to_high(panel: Panel, bars: int) -> Floats:
    """c over the highest close of the last `bars` bars, minus 1: 0 at a new high."""
    close = panel.adjusted("close")
    return close / rolling_max(close, panel.age, bars) - 1.0


def mean_range(panel: Panel, bars: int) -> Floats:
    """Mean of (h - l) / c over the last `bars` bars."""
    columns = panel.columns
    return rolling_mean((columns["high"] - columns["low"]) / columns["close"], panel.age, bars)


def close_location(panel: Panel) -> Floats:
    """(2c - h - l) / (h - l): -1 at the low, +1 at the high; NaN for a bar without range."""
    high, low, close = (panel.columns[name] for name in ("high", "low", "close"))
    spread = np.where(high > low, high - low, np.nan)
    return (2.0 * close - high - low) / spread


def overnight_gap(panel: Panel) -> Floats:
    """o[t] / c[t - 1] - 1."""
    return panel.adjusted("open") / lagged(panel.adjusted("close"), panel.age, 1) - 1.0


def intraday_return(panel: Panel) -> Floats:
    """c / o - 1 of the bar."""
    return panel.columns["close"] / panel.columns["open"] - 1.0


def volume_surprise(panel: Panel, bars: int) -> Floats:
    """log(v / m + 0.01) minus its mean over the `bars` bars before t, of which m is the mean volume.

    In units of m nothing is left of the unit that volumes are counted in, nor of later splits; a bar without any
    volume counts as one with a hundredth of m.
    """
    volume, age = panel.adjusted("volume"), panel.age
    mean = rolling_mean(volume, age, bars)
    usual = rolling_log_mean(volume, mean, VOLUME_FLOOR, age, bars)
    unit = lagged(mean, age, 1)
    return np.log(volume / np.where(unit > 0.0, unit, np.nan) + VOLUME_FLOOR) - lagged(usual, age, 1)


def volume_trend(panel: Panel, short: int, long: int) -> Floats:
    """Mean of log(v / m + 0.01) over `short` bars minus over `long` bars, of which m is the mean volume."""
    volume, age = panel.adjusted("volume"), panel.age
    mean = rolling_mean(volume, age, long)
    recent, usual = (rolling_log_mean(volume, mean, VOLUME_FLOOR, age, bars) for bars in (short, long))
    return recent - usual


def price_volume_correlation(panel: Panel, bars: int) -> Floats:
    """Correlation of r with the change of volume, (v - v[-1]) / (v + v[-1]), over the last `bars` bars."""
    volume, age = panel.adjusted("volume"), panel.age
    before = lagged(volume, age, 1)
    both = volume + before
    change = np.where(both > 0.0, (volume - before) / both, 0.0 * both)  # none between two bars without volume
    return rolling_correlation(past_return(panel, 1), change, age, bars)


def _return_times_volume(panel: Panel) -> Floats:
    returns, age = past_return(panel, 1), panel.age
    before = lagged(rolling_std(returns, age, 20), age, 1)
    standardised = np.clip(returns / np.where(before > 0.0, before, np.nan), -4.0, 4.0)
    return standardised * np.clip(volume_surprise(panel, 20), -2.0, 2.0)


def return_times_volume(panel: Panel, bars: int = 1) -> Floats:
    """Mean over `bars` bars of r in units of its earlier 20-bar volatility (within 4) times volume surprise (within 2).

    Positive: a move up on high, or down on low volume.
    """
    product = _return_times_volume(panel)
    return product if bars == 1 else rolling_mean(product, panel.age, bars)


def illiquidity(panel: Panel, short: int, long: int) -> Floats:
    """Log of the mean of abs(r) / (close * volume) over `short` bars, less that over `long` bars.

    The measure is Amihud's (2002), J. Financial Markets 5; his level is in units of money, so it is held against the
    symbol's own.
    """
    traded, age = panel.columns["close"] * panel.columns["volume"], panel.age
    impact = np.abs(past_return(panel, 1)) / np.where(traded > 0.0, traded, np.nan)
    recent, usual = (rolling_mean(impact, age, bars) for bars in (short, long))
    return np.log(np.where(recent > 0.0, recent / usual, np.nan))


def max_return(panel: Panel, bars: int) -> Floats:
    """Largest r of the last `bars` bars: Bali, Cakici & Whitelaw (2011), J. Financial Economics 99."""
    return rolling_max(past_return(panel, 1), panel.age, bars)


BAR_FEATURES: dict[str, Feature] = {
    "return_1": lambda panel: past_return(panel, 1),
    "return_5": lambda panel: past_return(panel, 5),
    "return_10": lambda panel: past_return(panel, 10),
    "return_20": lambda panel: past_return(panel, 20),
    "return_60": lambda panel: past_return(panel, 60),
    "momentum_60_5": lambda panel: past_return(panel, 60, skip=5),
    "volatility_5": lambda panel: volatility(panel, 5),
    "volatility_20": lambda panel: volatility(panel, 20),
    "volatility_60": lambda panel: volatility(panel, 60),
    "skewness_20": lambda panel: skewness(panel, 20),
    "close_to_mean_5": lambda panel: close_to_mean(panel, 5),
    "close_to_mean_20": lambda panel: close_to_mean(panel, 20),
    "close_to_mean_60": lambda panel: close_to_mean(panel, 60),
    "distance_to_high_60": lambda panel: distance_to_high(panel, 60),
    "range_20": lambda panel: mean_range(panel, 20),
    "close_location": close_location,
    "overnight_gap": overnight_gap,
    "intraday_return": intraday_return,
    "volume_surprise_20": lambda panel: volume_surprise(panel, 20),
    "volume_trend_5_60": lambda panel: volume_trend(panel, 5, 60),
    "price_volume_corr_20": lambda panel: price_volume_correlation(panel, 20),
    "return_times_volume": return_times_volume,
    "return_times_volume_5": lambda panel: return_times_volume(panel, 5),
    "amihud_20": lambda panel: illiquidity(panel, 20, 60),
    "max_return_20": lambda panel: max_return(panel, 20),
}

CALENDAR_FEATURES: dict[str, Feature] = {
    "day_of_week": day_of_week,
    "day_of_week_sin": lambda panel: sine(day_of_week(panel), DAYS_IN_WEEK),
    "day_of_week_cos": lambda panel: cosine(day_of_week(panel), DAYS_IN_WEEK),
    "day_of_month": day_of_month,
    "month": month,
    "month_sin": lambda panel: sine(month(panel), MONTHS_IN_YEAR),
    "month_cos": lambda panel: cosine(month(panel), MONTHS_IN_YEAR),
    "time_of_day": time_of_day,
    "time_of_day_sin": lambda panel: sine(time_of_day(panel), HOURS_IN_DAY),
    "time_of_day_cos": lambda panel: cosine(time_of_day(panel), HOURS_IN_DAY),
}

MEMORY_FEATURES: dict[str, Feature] = memory_features(
    {
        "return_1": BAR_FEATURES["return_1"],
        "abs_return_1": lambda panel: np.abs(past_return(panel, 1)),
        **{name: BAR_FEATURES[name] for name in ("return_times_volume", "volume_surprise_20")},
        **{name: BAR_FEATURES[name] for name in ("close_location", "overnight_gap")},
    }
)

FEATURES: dict[str, Feature] = {**BAR_FEATURES, **CALENDAR_FEATURES, **INDICATOR_FEATURES, **MEMORY_FEATURES}
