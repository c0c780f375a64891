"""The truth: how well a forecaster could do who knew every impulse up to t."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.fit.cross_section import group_ranks
from factor_data.labels.returns import forward_return
from factor_data.panel.panel import Panel
from factor_data.simulate.alpha import expected_return
from factor_data.simulate.config import MarketConfig
from factor_data.simulate.returns import Paths

MIN_SYMBOLS = 10
DELAY = 1


def expected_returns(config: MarketConfig, paths: Paths) -> dict[int, NDArray[np.float64]]:
    """Horizon -> (num_dates, num_symbols) expected label at delay 1 given the impulses up to t, NaN if not listed."""
    return {
        horizon: np.where(paths.listed, paths.volatility * expected_return(paths.history, config, horizon), np.nan)
        for horizon in config.horizons
    }


def attainable(
    bars: pd.DataFrame,
    expected: dict[int, NDArray[np.float64]],
    dates: NDArray[np.datetime64],
    symbols: NDArray[np.str_],
) -> pd.DataFrame:
    """IC and rank IC per date and horizon of the expected label against the label that came.

    Returns DataFrame(timestamp, horizon, attainable_ic, attainable_rank_ic, num_symbols); the ICs are NaN on
    dates with fewer than 10 known labels, and where nothing is expected (`signal` 0).
    """
    panel = Panel.from_frame(bars, dates)
    symbol_column = np.searchsorted(symbols, panel.symbols)[panel.symbol_code]
    tables = []
    for horizon, matrix in expected.items():
        label = forward_return(panel, horizon, delay=DELAY)
        forecast = matrix[panel.date_code, symbol_column]
        forecast = np.where(np.isnan(label), np.nan, forecast)
        label = np.where(np.isnan(forecast), np.nan, label)
        count = np.bincount(panel.date_code[~np.isnan(label)], minlength=len(dates))
        ranks = (group_ranks(forecast, panel.date_code)[0], group_ranks(label, panel.date_code)[0])
        enough = count >= MIN_SYMBOLS
        ic = np.where(enough, _correlation_by_date(forecast, label, panel.date_code, len(dates)), np.nan)
        rank_ic = np.where(enough, _correlation_by_date(*ranks, panel.date_code, len(dates)), np.nan)
        tables.append(
            pd.DataFrame(
                {
                    "timestamp": dates,
                    "horizon": np.int64(horizon),
                    "attainable_ic": np.round(ic, 6),
                    "attainable_rank_ic": np.round(rank_ic, 6),
                    "num_symbols": count,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def expectation_frame(
    expected: dict[int, NDArray[np.float64]], dates: NDArray[np.datetime64], symbols: NDArray[np.str_]
) -> pd.DataFrame:
    """Return DataFrame(timestamp, horizon, a float32 column per symbol) of `expected_returns`, NaN where not listed.

    Rounded to 1e-8, so that another CPU writes another number only where a digit tips.
    """
    tables = []
    for horizon, matrix in expected.items():
        values = pd.DataFrame(np.round(matrix, 8).astype(np.float32), columns=symbols)
        keys = pd.DataFrame({"timestamp": dates, "horizon": np.full(len(dates), horizon, dtype=np.int64)})
        tables.append(pd.concat([keys, values], axis=1))
    return pd.concat(tables, ignore_index=True)


def _correlation_by_date(left: NDArray, right: NDArray, date_code: NDArray, num_dates: int) -> NDArray[np.float64]:
    """(num_dates,) Pearson correlation over the rows of each date; NaN where either side is constant."""
    known = ~np.isnan(left)
    date, x, y = date_code[known], left[known], right[known]
    with np.errstate(invalid="ignore", divide="ignore"):
        count = np.bincount(date, minlength=num_dates)
        x = x - (np.bincount(date, x, num_dates) / count)[date]
        y = y - (np.bincount(date, y, num_dates) / count)[date]
        scale = np.sqrt(np.bincount(date, x * x, num_dates) * np.bincount(date, y * y, num_dates))
        return np.where(scale > 0, np.bincount(date, x * y, num_dates) / scale, np.nan)
