"""Which rows may be samples: enough bars of the symbol behind them, no gap too long, not too much missing.

A row without a whole window is no sample. Nothing is padded, repeated or filled to make one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_data.windows.checks import check_row_order
from factor_data.windows.source import DenseMatrix


@dataclass(frozen=True, kw_only=True)
class SampleReport:
    """Counts of rows; a row is counted under the first rule that refuses it, in this order."""

    candidates: int
    """Requested rows."""
    short_history: int
    """Fewer than `lookback` bars of the symbol up to the row."""
    gap: int
    """More than `max_gap` calendar dates missing between two bars of the window."""
    session: int
    """Bars of more than one session in the window."""
    missing: int
    """More than the share `max_missing` of the window's values missing."""
    samples: int
    """Rows that are left."""


def session_codes(timestamps: NDArray[np.datetime64], starts: Sequence[str] = ("00:00",)) -> NDArray[np.int64]:
    """Return the number of the session of each stamp, (num_rows,): windows that share it span no break.

    `starts` are the times of day, HH:MM, at which a session begins. A session lasts until the next one begins, also
    over midnight; by default it is a calendar day.
    """
    stamps = np.asarray(timestamps)
    day = stamps.astype("datetime64[D]")
    minutes = np.array([int(start[:2]) * 60 + int(start[3:]) for start in starts]).astype("timedelta64[m]")
    begun = np.searchsorted(minutes, stamps - day, side="right")
    return day.astype(np.int64) * len(starts) + begun


def find_samples(
    source: DenseMatrix,
    lookback: int,
    symbol_code: NDArray[np.integer],
    date_code: NDArray[np.integer],
    rows: NDArray | None,
    *,
    max_missing: float,
    max_gap: int | None,
    session_code: NDArray[np.integer] | None,
) -> tuple[NDArray[np.int64], SampleReport]:
    """Return the rows that are samples, ascending, and the counts of those that are not."""
    check_row_order(symbol_code, date_code)
    candidates = _candidates(len(symbol_code), rows)
    found, counts = candidates, {}
    keep = found >= lookback - 1
    keep[keep] = symbol_code[found[keep]] == symbol_code[found[keep] - (lookback - 1)]
    found, counts["short_history"] = found[keep], int((~keep).sum())
    same_symbol = symbol_code[1:] == symbol_code[:-1]
    breaks = {
        "gap": None if max_gap is None else same_symbol & (np.diff(date_code.astype(np.int64)) - 1 > max_gap),
        "session": None if session_code is None else same_symbol & (np.diff(session_code) != 0),
    }
    for name, broken in breaks.items():
        keep = np.ones(len(found), dtype=bool) if broken is None else ~_any_in_window(broken, found, lookback)
        found, counts[name] = found[keep], int((~keep).sum())
    if max_missing < 1.0:
        total = np.concatenate([[0], np.cumsum(_missing_per_row(source))])
        share = (total[found + 1] - total[found + 1 - lookback]) / (lookback * source.shape[1])
        keep = share <= max_missing
    else:
        keep = np.ones(len(found), dtype=bool)
    found, counts["missing"] = found[keep], int((~keep).sum())
    return found, SampleReport(candidates=len(candidates), samples=len(found), **counts)


def _candidates(num_rows: int, rows: NDArray | None) -> NDArray[np.int64]:
    if rows is None:
        return np.arange(num_rows, dtype=np.int64)
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (num_rows,):
            raise ValueError(f"rows as a mask must have shape ({num_rows},), got {rows.shape}")
        return np.flatnonzero(rows)
    rows = np.unique(rows.astype(np.int64))
    if len(rows) and not (rows[0] >= 0 and rows[-1] < num_rows):
        raise ValueError(f"rows must lie in [0, {num_rows}), got {rows[0]} .. {rows[-1]}")
    return rows


def _any_in_window(broken: NDArray[np.bool_], rows: NDArray[np.int64], lookback: int) -> NDArray[np.bool_]:
    """True where a step between two bars of the window is broken; `broken[i]` is the step from row i to i + 1."""
    total = np.concatenate([[0], np.cumsum(broken)])
    return total[rows] > total[rows - (lookback - 1)]


def _missing_per_row(source: DenseMatrix) -> NDArray[np.int64]:
    """NaN of floats, 0 of integer tokens."""
    is_float = np.issubdtype(source.dtype, np.floating)
    counts = [(np.isnan(block) if is_float else block == 0).sum(axis=1) for block in source.blocks()]
    return np.concatenate([np.empty(0, dtype=np.int64), *counts]).astype(np.int64)
