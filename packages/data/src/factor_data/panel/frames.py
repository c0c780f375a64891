"""Frames of any library as the long pandas frame that a panel is made of, and what is said where they do not fit.

Taken are pandas frames and what speaks Arrow's C stream interface (polars, pyarrow, DuckDB ...): nothing of these
libraries is imported. Categories, time zones and missing values come through.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

TIMESTAMP, SYMBOL = "timestamp", "symbol"
ADJUSTED = "adj_close"
ADJUSTED_NAMES = ("adj_close", "adjusted_close", "adjclose", "adj close", "adjusted close")
FIELDS = ("open", "high", "low", "close", "volume")
OTHER_NAMES = {
    TIMESTAMP: ("date", "datetime", "time", "ts", "day", "trade_date", "tradedate", "ds"),
    SYMBOL: ("ticker", "instrument", "asset", "code", "sid", "permno", "isin", "unique_id", "ts_code", "stock"),
    "open": ("o", "open_price", "price_open"),
    "high": ("h", "high_price", "price_high", "max"),
    "low": ("l", "low_price", "price_low", "min"),
    "close": ("c", "close_price", "price_close", "last", "price"),
    "volume": ("v", "vol", "qty", "quantity", "shares"),
}
"""What other libraries and vendors call the columns, in lower case: proposed, never taken in silence."""


def as_pandas(frame: Any, name: str = "frame") -> pd.DataFrame:
    """Return a frame as pandas' own: as it is, or read from Arrow's C stream, nulls of numbers as NaN.

    TypeError for what is no frame; a lazy one has to be collected first.
    """
    if isinstance(frame, pd.DataFrame):
        return frame
    if not hasattr(frame, "__arrow_c_stream__") or isinstance(frame, pd.Series):
        lazy = "; collect() it first" if hasattr(frame, "collect") else ""
        raise TypeError(
            f"{name} must be a frame of pandas or of a library that speaks Arrow (polars, pyarrow, DuckDB), got "
            f"{type(frame).__module__}.{type(frame).__name__}{lazy}"
        )
    table = pa.table(frame)
    plain = [_read(kind.type) for kind in table.schema]
    table = table.cast(pa.schema(list(zip(table.column_names, plain, strict=True))))
    return table.to_pandas(date_as_object=False)


def long_frame(frame: Any, name: str = "frame") -> pd.DataFrame:
    """Return bars with the columns `timestamp` and `symbol`, one row a bar, from any of the shapes that they come in.

    Parameters
    ----------
    frame : a long frame with these two columns; one whose index holds them (a MultiIndex, or stamps beside a column
        `symbol`); a wide one with a row a date and columns (field, symbol) or (symbol, field); or a mapping of fields
        to wide frames. A row of a wide frame in which all fields of a symbol are missing is no bar
    name : what it is called in messages

    Raises
    ------
    TypeError where it is no frame, ValueError where the two columns are not found, with what was found instead
    """
    if isinstance(frame, Mapping):
        if not frame:
            raise ValueError(f"{name} is empty: a mapping of fields to frames of dates by symbols is needed")
        wide = {str(field): as_pandas(values, f"{name}[{field!r}]") for field, values in frame.items()}
        return _from_wide(pd.concat(wide, axis=1), name)
    table = as_pandas(frame, name)
    if TIMESTAMP in table.columns and SYMBOL in table.columns:
        return table
    if table.columns.nlevels == 2:
        return _from_wide(table, name)
    if table.index.nlevels == 2 or (table.index.dtype.kind == "M" and SYMBOL in table.columns):
        table = _index_to_columns(table)
    check_columns(table, (TIMESTAMP, SYMBOL), name)
    return table


def check_columns(table: pd.DataFrame, needed: Sequence[str], name: str) -> None:
    """Refuse a frame that lacks columns: ValueError that names what is there, and proposes which may be meant."""
    missing = [column for column in needed if column not in table.columns]
    if not missing:
        return
    found = [str(column) for column in table.columns]
    meant = {near: column for column in missing if (near := _nearest(column, found, needed)) is not None}
    listed = f"{found[:12]}{f' and {len(found) - 12} more' if len(found) > 12 else ''}"
    advice = f"; perhaps rename {', '.join(f'{old!r} to {new!r}' for old, new in meant.items())}" if meant else ""
    if not meant and table.index.dtype.kind == "M":
        advice = "; a frame of dates by symbols holds one field: give a mapping of fields to such frames"
    raise ValueError(f"{name} has no column {', '.join(map(repr, missing))}; it has {listed}{advice}")


def numbers_of(table: pd.DataFrame, column: str, name: str) -> np.ndarray:
    """Return a column as float64, NaN = missing; ValueError naming column, row and value where it holds text."""
    values = table[column]
    if values.ndim == 2:
        raise ValueError(f"{name} has {values.shape[1]} columns {column!r}: keep one")
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if values.dtype.kind in "mM":
        raise ValueError(f"{name}: column {column!r} holds {values.dtype}: a panel holds numbers, so leave it out")
    try:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        numbers = pd.to_numeric(values, errors="coerce")
        row = int(np.flatnonzero(np.asarray(numbers.isna() & values.notna()))[:1].sum())
        raise ValueError(
            f"{name}: column {column!r} holds {values.iloc[row]!r} in row {row + 1}: a panel holds numbers, so "
            "leave the column out, or give codes"
        ) from None


def arrow_columns(columns: Mapping[str, np.ndarray], codes: np.ndarray, symbols: np.ndarray, stamps: np.ndarray) -> Any:
    """Return a pyarrow table: timestamp, symbol as a dictionary of names, then columns of numbers, NaN as null."""
    named = {
        TIMESTAMP: pa.array(stamps),
        SYMBOL: pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(symbols.tolist(), pa.string())),
    }
    return pa.table(named | {name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def _read(kind: Any) -> Any:
    """Return the type that pandas reads: text in views becomes plain text, also inside dictionaries."""
    if pa.types.is_dictionary(kind):
        return pa.dictionary(pa.int32(), _read(kind.value_type))
    return pa.string() if kind == pa.string_view() else kind


def _from_wide(table: pd.DataFrame, name: str) -> pd.DataFrame:
    levels = [{str(value).lower() for value in table.columns.get_level_values(number)} for number in range(2)]
    found = [len(set(FIELDS) & level) for level in levels]  # a symbol may be called OPEN or LOW
    fields = [number for number in range(2) if found[number] > found[1 - number]]
    if len(fields) != 1 or table.index.nlevels != 1:
        raise ValueError(
            f"{name} has columns of two levels, {[sorted(level)[:5] for level in levels]}: one of them must hold the "
            f"fields ({', '.join(FIELDS)}) and the other symbols, and the index the dates"
        )
    wide = table.copy(deep=False)
    wide.columns = wide.columns.set_names(["field", SYMBOL] if fields == [0] else [SYMBOL, "field"])
    long: Any = wide.stack(SYMBOL, future_stack=True).dropna(how="all")
    long.index = long.index.set_names([TIMESTAMP, SYMBOL])
    long.columns = [_lower(column) for column in long.columns]
    return long.reset_index()


def _lower(column: Hashable) -> str:
    """The name of a field, in small letters where it is one that a panel must have or the adjusted close."""
    small = str(column).lower()
    if small in ADJUSTED_NAMES:
        return ADJUSTED
    return small if small in FIELDS else str(column)


def check_adjusted(table: pd.DataFrame, name: str) -> None:
    """Refuse an adjusted close by another name: without `adj_close` the close would be taken for it, splits and all."""
    other = [column for column in table.columns if column != ADJUSTED and str(column).lower() in ADJUSTED_NAMES]
    if other and ADJUSTED not in table.columns:
        raise ValueError(
            f"{name} has a column {other[0]!r}, which a panel calls {ADJUSTED!r}: rename it, or leave it out"
        )


def _index_to_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Move the levels of the index into columns: the one of stamps is the timestamp, the other one the symbol."""
    kinds = [table.index.get_level_values(number).dtype.kind for number in range(table.index.nlevels)]
    names = list(table.index.names)
    if kinds.count("M") == 1:
        stamps = kinds.index("M")
        names = [TIMESTAMP if place == stamps else SYMBOL for place in range(len(names))]
    clash = [name for name in names if name in table.columns]
    for level, name in enumerate(names):
        if name in clash and not (table.index.get_level_values(level) == table[name].array).all():
            raise ValueError(
                f"the frame has a column {name!r} and a level {table.index.names[level]!r} of its index that would be "
                f"{name!r}, and they differ: reset_index() or drop the one that is not meant"
            )
    return table.set_axis(table.index.set_names(names), axis=0).drop(columns=clash).reset_index()


def _nearest(column: str, found: Iterable[str], needed: Sequence[str]) -> str | None:
    """Return the column that is probably meant: the same in other letters, a known other name, a likely slip."""
    free = [name for name in found if name not in needed]
    for name in free:
        if name.lower() == column or name.lower().replace(" ", "_") in OTHER_NAMES.get(column, ()):
            return name
    return next(iter(difflib.get_close_matches(column, free, 1, 0.75)), None)
