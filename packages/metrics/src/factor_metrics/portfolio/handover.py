"""Forecasts and books as optimisers, back-testers and tear sheets take them.

Expected returns, a pandas Series of returns, frames of orders, frames of signals.

pandas is an extra of this package (`pip install factor-metrics[frames]`), so it is imported where it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, as_matrix, check_at_least, check_same_shape, refuse_cells
from factor_metrics.dispersion import no_dispersion_by_date, rounding_of
from factor_metrics.labels import same_labels
from factor_metrics.portfolio.limits import decided_dates

if TYPE_CHECKING:
    import pandas as pd

    from factor_metrics.portfolio.backtest import Backtest


class Signals(NamedTuple):
    """When each symbol enters and leaves a book: bool frames, dates by symbols, as vectorbt's `from_signals` takes."""

    entries: pd.DataFrame
    exits: pd.DataFrame
    short_entries: pd.DataFrame
    short_exits: pd.DataFrame


@same_labels("prediction", "volatility")
def expected_returns(prediction: ArrayLike, volatility: ArrayLike, ic: float) -> Matrix:
    """Return what forecasts say of returns, for an optimiser: IC x volatility x score (Grinold 1994).

    Parameters
    ----------
    prediction
        (num_dates, num_symbols); the score is its distance from the mean of its date in standard deviations.
    volatility
        (num_dates, num_symbols) standard deviation of the label, known on the date, at least 0.
    ic
        Pearson correlation of score and label over the symbols of a date, from -1 to 1, as measured out of sample.

    Returns
    -------
    numpy.ndarray
        (num_dates, num_symbols) in the unit of `volatility`, relative to the mean of the date. NaN where an input
        is NaN; 0 on dates without dispersion: a constant forecast expects nothing of a symbol.
    """
    forecast, sigma = as_matrix("prediction", prediction), as_matrix("volatility", volatility)
    check_same_shape("prediction", forecast, "volatility", sigma)
    if not -1.0 <= ic <= 1.0:
        raise ValueError(f"ic must be from -1 to 1, got {ic!r}")
    refuse_cells("volatility", "must be at least 0", sigma, sigma < 0.0)
    known = np.where(np.isnan(sigma), np.nan, forecast)
    flat = no_dispersion_by_date(known, rounding=rounding_of(prediction))
    count = np.count_nonzero(~np.isnan(known), axis=1, keepdims=True)
    mean = np.nansum(known, axis=1, keepdims=True) / np.maximum(count, 1)
    spread = np.sqrt(np.nansum((known - mean) ** 2, axis=1, keepdims=True) / np.maximum(count - 1, 1))
    score = np.divide(known - mean, spread, out=np.where(np.isnan(known), np.nan, 0.0), where=~flat[:, None])
    return ic * sigma * score


def to_returns(book: Backtest, name: str = "strategy") -> pd.Series:
    """Return the net returns of a book by date, as quantstats, empyrical and pyfolio read them.

    Dates before the first trade, and after ruin, have no return and are left out.

    Raises
    ------
    ValueError
        The dates of the book are no dates: tear sheets count years by them.
    """
    import pandas as pd

    dates = np.asarray(book.dates)
    if dates.dtype.kind != "M":
        raise ValueError(f"the dates of the book must be datetime64, got {dates.dtype}: backtest(..., dates=...)")
    known = ~np.isnan(book.returns)
    return pd.Series(book.returns[known], index=pd.DatetimeIndex(dates[known], name="date"), name=name)


def to_orders(weights: ArrayLike, dates: ArrayLike, symbols: ArrayLike, delay: int = 1) -> pd.DataFrame:
    """Return target shares of equity on the date of their trade: vectorbt's `size` of `size_type="targetpercent"`.

    Parameters
    ----------
    weights
        (num_dates, num_symbols) as `backtest` takes them: known at the close of their date, a date all NaN keeps
        the book.
    dates, symbols
        The axes, (num_dates,) and (num_symbols,).
    delay
        Dates from decision to trade, at least 0, as in `TradingRules`.

    Returns
    -------
    pandas.DataFrame
        NaN where nothing is ordered: on dates that keep the book and before the first trade.
    """
    import pandas as pd

    wanted = _delayed(weights, delay)
    return pd.DataFrame(wanted, index=pd.Index(np.asarray(dates)), columns=pd.Index(np.asarray(symbols)))


def to_signals(weights: ArrayLike, dates: ArrayLike, symbols: ArrayLike, delay: int = 1) -> Signals:
    """Return on which dates symbols enter and leave a book, long and short apart; sizes are not kept.

    Parameters and dates are those of `to_orders`. A symbol that turns from long to short leaves the one side and
    enters the other on the same date. `from_signals` of the result gives the sides again.
    """
    import pandas as pd

    orders = to_orders(weights, dates, symbols, delay)
    side = _sides(orders.to_numpy())
    before = np.vstack([np.zeros((1, side.shape[1]), dtype=np.int8), side[:-1]])

    def frame(cells: NDArray[np.bool_]) -> pd.DataFrame:
        return pd.DataFrame(cells, index=orders.index, columns=orders.columns)

    long, was_long, short, was_short = side == 1, before == 1, side == -1, before == -1
    return Signals(
        frame(long & ~was_long), frame(was_long & ~long), frame(short & ~was_short), frame(was_short & ~short)
    )


def from_signals(signals: Signals) -> NDArray[np.int8]:
    """Return the side of each symbol on each date, (num_dates, num_symbols): 1 long, -1 short, 0 not held.

    Raises
    ------
    ValueError
        A symbol is long and short on one date; date and symbol of the first are named.
    """
    long = _held(signals.entries.to_numpy(), signals.exits.to_numpy())
    short = _held(signals.short_entries.to_numpy(), signals.short_exits.to_numpy())
    both = np.argwhere(long & short)
    if len(both):
        row, column = both[0]
        raise ValueError(
            f"{signals.entries.columns[column]} is long and short on {signals.entries.index[row]}: "
            "it must leave one side before it enters the other"
        )
    return long.astype(np.int8) - short.astype(np.int8)


def _delayed(weights: ArrayLike, delay: int) -> Matrix:
    check_at_least("delay", delay, 0)
    wanted = as_matrix("weights", weights)
    decided_dates(wanted)  # refuses a date of which some weights alone are unknown
    moved = np.full(wanted.shape, np.nan)
    moved[delay:] = wanted[: max(len(wanted) - delay, 0)]
    return moved


def _sides(orders: Matrix) -> NDArray[np.int8]:
    """Sign of what is held, from the last date with orders; 0 before the first."""
    decided = decided_dates(orders)
    last = np.maximum.accumulate(np.where(decided, np.arange(len(orders)), -1))
    return np.where(last[:, None] < 0, 0, np.sign(np.nan_to_num(orders[last]))).astype(np.int8)


def _held(entries: NDArray[np.bool_], exits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each symbol is held after each date; an exit and an entry on one date cancel to an entry."""
    rows = np.arange(1, len(entries) + 1)[:, None]
    entered = np.maximum.accumulate(np.where(entries, rows, 0), axis=0)
    left = np.maximum.accumulate(np.where(exits, rows, 0), axis=0)
    return (entered > 0) & (entered >= left)
