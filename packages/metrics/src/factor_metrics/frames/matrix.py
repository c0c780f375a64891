"""From the long frame (timestamp, symbol, value) to a matrix, the only way in.

pandas is an extra of this package (`pip install factor-metrics[frames]`), so it is imported where it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix
from factor_metrics.labels import same_labels

if TYPE_CHECKING:
    import pandas as pd


@same_labels("timestamp", "symbol", "value")
def to_matrix(
    timestamp: ArrayLike,
    symbol: ArrayLike,
    value: ArrayLike,
    dates: ArrayLike | None = None,
    symbols: ArrayLike | None = None,
    outside: Literal["raise", "drop"] = "raise",
) -> tuple[Matrix, NDArray[np.datetime64], NDArray[np.object_]]:
    """Return (matrix, dates, symbols) of a long table; absent cells are NaN.

    Parameters
    ----------
    timestamp, symbol, value
        (num_rows,) each: columns of one long frame, rows in any order.
    dates, symbols
        The axes wanted, unique. Default: the sorted unique values of the rows.
    outside
        What to do with rows whose date or symbol is not on the axes given: "raise" or "drop".

    Returns
    -------
    tuple
        (num_dates, num_symbols) float64, datetime64[ns] (num_dates,), str (num_symbols,).

    Raises
    ------
    ValueError
        Lengths differ, a key is missing, a (timestamp, symbol) occurs twice, an axis has duplicates, or (with
        "raise") a row lies outside of the axes. The message counts and shows the first three rows.

    Examples
    --------
    >>> matrix, dates, symbols = to_matrix(["2024-01-02", "2024-01-03"], ["A", "B"], [1.0, 2.0])
    >>> matrix
    array([[ 1., nan],
           [nan,  2.]])
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("to_matrix needs pandas: pip install factor-metrics[frames]") from error
    if outside not in ("raise", "drop"):
        raise ValueError(f"outside must be 'raise' or 'drop', got {outside!r}")
    times = _stamps(timestamp, "timestamp")
    names = pd.Index(np.asarray(symbol, dtype=object))
    cells = np.asarray(value, dtype=np.float64)
    if not len(times) == len(names) == len(cells):
        raise ValueError(
            f"timestamp, symbol and value must have the same length, got {len(times)}, {len(names)} and {len(cells)}"
        )
    refuse_rows("timestamp or symbol is missing", np.asarray(times.isna() | names.isna()), times, names)
    date_axis = _axis("dates", _stamps(dates, "dates") if dates is not None else None, times)
    symbol_axis = _axis("symbols", pd.Index(np.asarray(symbols, dtype=object)) if symbols is not None else None, names)
    row, column = date_axis.get_indexer(times), symbol_axis.get_indexer(names)
    off_axes = (row < 0) | (column < 0)
    if outside == "raise":
        refuse_rows("not on the given dates and symbols", off_axes, times, names)
    cell = np.where(off_axes, -1 - np.arange(len(row)), row.astype(np.int64) * len(symbol_axis) + column)
    refuse_rows("the same (timestamp, symbol) occurs twice", pd.Index(cell).duplicated(), times, names)

    matrix = np.full((len(date_axis), len(symbol_axis)), np.nan)
    matrix[row[~off_axes], column[~off_axes]] = cells[~off_axes]
    return matrix, date_axis.to_numpy(), symbol_axis.to_numpy()


def _stamps(values: ArrayLike, name: str) -> pd.DatetimeIndex:
    """The wall clock of stamps that share one zone or have none; missing ones are left to who counts rows."""
    import pandas as pd

    given = values if isinstance(values, pd.Index) else pd.Index(pd.Series(values))
    kind = pd.api.types.infer_dtype(given, skipna=True)
    if len(given) and ("integer" in kind or kind in ("floating", "boolean", "decimal")) and not given.isna().all():
        raise ValueError(
            f"{name} are numbers, as {given[0]!r}: numbers are no dates until it is said what they count, as "
            "pd.to_datetime(values, unit='ms', utc=True) or pd.to_datetime(values, format='%Y%m%d')"
        )
    try:
        index = pd.DatetimeIndex(given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must be stamps of one zone, or of none ({error})") from None
    return index.tz_localize(None).as_unit("ns")


def _axis(name: str, wanted: pd.Index | None, values: pd.Index) -> pd.Index:
    if wanted is None:
        return values.unique().sort_values()
    repeated = wanted[wanted.duplicated()]
    if len(repeated):
        raise ValueError(f"{name} must be unique, got {len(repeated)} repeated value(s), first {repeated[0]}")
    return wanted


def refuse_rows(rule: str, bad: NDArray[np.bool_], times: pd.Index, names: pd.Index) -> None:
    """Refuse a long table with `bad` rows: count, rule, place and keys of the first three."""
    if bad.any():
        places = np.flatnonzero(bad)
        first = "; ".join(f"row {place}: ({times[place]}, {names[place]})" for place in places[:3])
        raise ValueError(f"{len(places)} row(s) refused, {rule}: {first}")
