"""The date and symbol of rows that come as frames, and scores of forecasts date by date."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

SYMBOL_NAMES = ("symbol", "instrument", "asset", "ticker")
MIN_ROWS = 3
"""Rows that a date needs for a rank correlation: of two there are but -1 and 1."""


def keys_of_rows(X: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the date and the symbol of each row, as the index of a pandas frame has them; None where it has not.

    A date is the one level of stamps; a symbol is a level beside it that is named so (`SYMBOL_NAMES`).
    """
    index: Any = getattr(X, "index", None)
    if not hasattr(index, "nlevels"):
        return None, None
    levels = [index.get_level_values(number) for number in range(index.nlevels)]
    dates = [level for level in levels if level.dtype.kind == "M"]
    symbols = [level for level in levels if level.name in SYMBOL_NAMES]
    if len(dates) != 1:
        return None, None
    return np.asarray(dates[0]), np.asarray(symbols[0]) if symbols else None


def check_same_rows(X: Any, y: Any) -> None:
    """Refuse targets whose index tells other dates or symbols than that of X, row by row: both are read by place."""
    if keys_of_rows(X)[0] is None or keys_of_rows(y)[0] is None or X.index.equals(y.index):
        return
    if len(X) != len(y):
        return  # told by its number of rows
    places = [place for place, (one, other) in enumerate(zip(X.index, y.index, strict=True)) if one != other]
    if places:
        raise ValueError(
            f"X and y must have the same index in the same order: row {places[0] + 1} is {X.index[places[0]]} in X and "
            f"{y.index[places[0]]} in y; y.reindex(X.index) puts it in order"
        )


def mean_rank_ic(prediction: np.ndarray, y: np.ndarray, dates: np.ndarray | None) -> float:
    """Return the mean over dates of the Spearman correlation of forecast and target.

    Parameters
    ----------
    prediction, y : (N,) or (N, H), NaN in y = unknown, left out; with several columns the mean over them
    dates : (N,) the date of each row; None: all rows are one

    Returns
    -------
    float, NaN where no date has `MIN_ROWS` known rows. A date on which all targets are equal does not count; one on
    which all forecasts are equal counts 0: nothing is told apart.
    """
    prediction, y = (np.asarray(values, np.float64).reshape(len(values), -1) for values in (prediction, y))
    code = np.zeros(len(y), np.int64) if dates is None else np.unique(np.asarray(dates), return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    rows_of_date = np.split(order, np.flatnonzero(np.diff(code[order])) + 1)
    columns = [
        np.nanmean(found)
        for column in range(y.shape[1])
        if np.isfinite(found := [_rank_ic(prediction[rows, column], y[rows, column]) for rows in rows_of_date]).any()
    ]
    return float(np.mean(columns)) if len(columns) == y.shape[1] else float("nan")


def _rank_ic(prediction: np.ndarray, y: np.ndarray) -> float:
    known = np.isfinite(y)
    x_rank, y_rank = rankdata(prediction[known]), rankdata(y[known])
    if len(x_rank) < MIN_ROWS or y_rank.min() == y_rank.max():
        return float("nan")
    if x_rank.min() == x_rank.max():
        return 0.0
    return float(np.corrcoef(x_rank, y_rank)[0, 1])
