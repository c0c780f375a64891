"""Windows of bars, read straight from arrays: per symbol, normalised by their lookback alone.

A panel's rows are sorted by symbol and date. Bars in which a number is missing are left out, so a window holds the last
bars that are complete, as a chart does. Nothing is kept per window: a window is an end position, and its bars are
gathered and normalised on request.

Shapes: W windows, T = lookback + bars ahead, N complete bars, C = 6 columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume", "amount")
OFFICIAL_EPSILON = 1e-5
SERIES_AT_ONCE = 512  # whose paths are drawn together
SCALE_EPSILON = 1e-6  # of a column's mean size: a hundredth of a basis point of a price


@dataclass(frozen=True, kw_only=True, eq=False)
class KlineBars:
    """The complete bars of many symbols, one symbol after the other."""

    values: NDArray[np.float32]
    """(N, C)"""
    date_code: NDArray[np.int64]
    """(N,) position of the bar's date in the calendar."""
    first: NDArray[np.int64]
    """(N,) position of the first bar of the same symbol."""
    position_of_row: NDArray[np.int64]
    """(num_rows,) of the panel: the last complete bar of the symbol at or before the row, -1 where there is none."""

    def ends(self, rows: NDArray[np.bool_], lookback: int) -> NDArray[np.int64]:
        """Rows (W,) of the mask (num_rows,) that have `lookback` complete bars up to them."""
        chosen = np.flatnonzero(rows & (self.position_of_row >= 0))
        position = self.position_of_row[chosen]
        return chosen[position - self.first[position] + 1 >= lookback]

    def ends_within(self, dates: NDArray[np.bool_], lookback: int, ahead: int, num_inside: int) -> NDArray[np.int64]:
        """Positions (W,) of last lookback bars, such that the last `num_inside` bars of the window lie on `dates`.

        `dates` (num_dates,) is True on the dates in question. Where they have gaps (training dates around a test
        range), the bars inside must not reach over one.
        """
        position = np.arange(len(self.values))
        start, last = position - lookback + 1, position + ahead
        whole = (start >= self.first) & (last < len(position))
        whole[whole] = self.first[last[whole]] == self.first[whole]
        position, last = position[whole], last[whole]
        from_code, to_code = self.date_code[last - num_inside + 1], self.date_code[last]
        rank = np.cumsum(dates)
        inside = dates[from_code] & dates[to_code] & (rank[to_code] - rank[from_code] == to_code - from_code)
        return position[inside]

    def read(self, positions: NDArray[np.int64], lookback: int, ahead: int = 0) -> NDArray[np.float32]:
        """Bars (W, lookback + ahead, C) as they are; `positions` (W,) are those of the last lookback bars."""
        return self.values[_window(positions, lookback, ahead)]

    def dates(self, positions: NDArray[np.int64], lookback: int, ahead: int = 0) -> NDArray[np.int64]:
        """Date codes (W, lookback + ahead) of the same bars."""
        return self.date_code[_window(positions, lookback, ahead)]


def kline_bars(
    columns: Mapping[str, NDArray[np.floating]],
    symbol_code: NDArray[np.integer],
    date_code: NDArray[np.integer],
) -> KlineBars:
    """The complete bars of a panel whose rows are sorted by symbol and date.

    `columns` hold open, high, low, close and volume (num_rows,), NaN = missing, and amount if it is known; without it
    the amount of a bar is its volume times the mean of its prices. Where no bar of any symbol has a volume (rates of
    exchange) both are 0, as in the published code. ValueError for a missing column or unsorted rows.
    """
    missing = [name for name in COLUMNS[:-1] if name not in columns]
    if missing:
        raise ValueError(f"columns lacks {missing[0]!r}: K-lines need {', '.join(COLUMNS[:-1])}")
    symbol, date = np.asarray(symbol_code, np.int64), np.asarray(date_code, np.int64)
    if np.any((np.diff(symbol) < 0) | ((np.diff(symbol) == 0) & (np.diff(date) <= 0))):
        raise ValueError("rows must be sorted by symbol_code and then by date_code, no pair twice")
    values = np.empty((len(symbol), len(COLUMNS)), dtype=np.float32)
    for number, name in enumerate(COLUMNS[:-1]):
        values[:, number] = columns[name]
    if np.isnan(values[:, 4]).all():
        values[:, 4:] = 0.0
    else:
        prices = values[:, :4].mean(axis=1, dtype=np.float64)
        values[:, 5] = columns["amount"] if "amount" in columns else values[:, 4] * prices
    complete = np.isfinite(values).all(axis=1)
    kept_symbol = symbol[complete]
    position = np.cumsum(complete) - 1
    first = np.searchsorted(kept_symbol, kept_symbol)
    known = position >= 0
    known[known] = kept_symbol[position[known]] == symbol[known]
    return KlineBars(
        values=values[complete],
        date_code=date[complete],
        first=first,
        position_of_row=np.where(known, position, -1),
    )


def normalise(
    values_WTC: NDArray[np.float32], lookback: int, clip: float, official_parity: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Windows in units of their own lookback, clipped to [-clip, clip], and its centre and scale (W, 1, C).

    (x - mean) / (standard deviation + 1e-6 mean(abs(x))), all of the first `lookback` bars: bars ahead do not enter. So
    the same path is the same window at a price of 100 and of 1e-8, and in any unit of the volume. Of a column that is 0
    in the whole lookback the scale is 0 and whatever is not 0 ahead is clipped. `official_parity` adds 1e-5 in units of
    the column instead, as the published code does: a price of 1e-5 or below is then all but constant.
    """
    past = values_WTC[:, :lookback]
    newest = past[:, -1:]
    center = newest + (past - newest).mean(axis=1, keepdims=True)  # exact for a constant
    unit = np.abs(past).mean(axis=1, keepdims=True)
    size = np.where(unit > 0.0, unit, np.float32(1.0))
    spread = np.sqrt(np.square((past - center) / size).mean(axis=1, keepdims=True))
    if official_parity:
        scale = spread * size + np.float32(OFFICIAL_EPSILON)
    else:
        scale = (spread + np.float32(SCALE_EPSILON)) * unit
    normalised = (values_WTC - center) / np.where(scale > 0.0, scale, np.float32(1.0))
    normalised = np.where((scale > 0.0) | (normalised == 0.0), normalised, np.copysign(np.float32(clip), normalised))
    return np.clip(normalised, -clip, clip), center, scale


def _window(positions: NDArray[np.int64], lookback: int, ahead: int) -> NDArray[np.int64]:
    return positions[:, None] + np.arange(1 - lookback, ahead + 1)
