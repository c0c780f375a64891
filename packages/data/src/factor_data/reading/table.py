"""A batch of rows as a checked table: timestamp, symbol, then numbers and text in the types promised."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factor_data.bar_columns import REQUIRED_COLUMNS
from factor_data.reading.dialect import FLAGS, MISSING_TEXT, Dialect
from factor_data.reading.place import Place
from factor_data.reading.stamps import is_text

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:nan|inf|infinity)$"
LARGEST_EXACT = 2**53  # the largest integer up to which float64 holds every integer
LONGEST_SYMBOL = 255  # signs; arrays have room for the longest in each place
SYMBOL_RULE = f"must be printable text without blanks around it, at most {LONGEST_SYMBOL} signs"


@dataclass(frozen=True)
class Table:
    """Rows of one file, in their order.

    Attributes
    ----------
    path : the file, as the user wrote it
    frame : timestamp datetime64[ns] wall clock without zone, symbol str, other columns float64 or text
    zone : the zone of all timestamps read so far, None for none
    first_row : the row of the file, counted from 1, that is the first of the frame
    share : how much of the file has been read with this table, in (0, 1]: for progress bars
    was_sorted : whether the rows were in another order in the file; the frame's index then has their numbers, from 0
    """

    path: str
    frame: pd.DataFrame
    zone: str | None
    first_row: int = 1
    share: float = 1.0
    was_sorted: bool = False


def frame_of(columns: Mapping[str, NDArray]) -> pd.DataFrame:
    """A frame of arrays as they are: nothing is copied, and no text becomes another type."""
    index = pd.RangeIndex(len(next(iter(columns.values()))))
    series = {name: pd.Series(values, index=index, dtype=values.dtype, copy=False) for name, values in columns.items()}
    return pd.DataFrame(series, index=index, copy=False)


def to_numbers(place: Place, column: pa.ChunkedArray, name: str, dialect: Dialect | None) -> NDArray[np.float64]:
    """Return finite float64, NaN where missing; a flag is 1.0 or 0.0 where it is no price and no volume.

    Text is read as numbers only if it comes from CSV: `dialect` says how they are written there.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_integer(kind):
        _check_exact(place, column, name)
    elif is_text(kind):
        column = _parse_numbers(place, column, name, dialect)
    elif pa.types.is_boolean(kind) and name not in REQUIRED_COLUMNS:
        column = column.cast(pa.int8())
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.string())  # to float64 from there: rounded correctly
    elif not (pa.types.is_floating(kind) or pa.types.is_null(kind)):
        place.refuse(f"column {name!r} has type {kind}; it must be numeric")
    values = column.cast(pa.float64(), safe=False).combine_chunks().to_numpy(zero_copy_only=False)
    if np.isinf(values).any():
        place.refuse(f"column {name!r} is infinite in", np.isinf(values), rule="numbers must be finite")
    return values


def _check_exact(place: Place, column: pa.ChunkedArray, name: str) -> None:
    extremes = pc.min_max(column).as_py()
    if extremes["min"] is None or max(-extremes["min"], extremes["max"]) <= LARGEST_EXACT:
        return
    values = column.to_pylist()
    place.refuse(
        f"column {name!r} must be numbers that float64 holds exactly (up to 2**53), is not in",
        np.array([value is not None and abs(value) > LARGEST_EXACT for value in values]),
        values,
    )


def _parse_numbers(place: Place, column: pa.ChunkedArray, name: str, dialect: Dialect | None) -> pa.ChunkedArray:
    """Text as numbers; in Parquet text is no number, whatever it says."""
    written = column
    if dialect is not None:
        if dialect.thousands:
            column = _without_thousands(place, column, name, dialect)
        if dialect.decimal != ".":
            column = pc.replace_substring(column, dialect.decimal, ".")
        try:
            return column.cast(pa.float64())
        except pa.ArrowInvalid:  # missing values, blanks around numbers, flags, or no numbers: look closer
            column = pc.utf8_trim_whitespace(column)
            missing = pc.is_in(column, value_set=pa.array(MISSING_TEXT, column.type))
            column = pc.if_else(missing, pa.scalar(None, column.type), column)
        try:
            return column.cast(pa.float64())
        except pa.ArrowInvalid:
            column = column if name in REQUIRED_COLUMNS else _flags_as_numbers(column)
    is_number = pc.match_substring_regex(column, NUMBER) if dialect is not None else pc.is_null(column)
    wrong = ~np.asarray(pc.fill_null(is_number, True), dtype=bool)
    if wrong.any():
        rule = "" if dialect is None else _signs_advice(np.asarray(written)[wrong][0])
        place.refuse(f"column {name!r} must be numeric, is not in", wrong, written.to_pylist(), rule)
    return column.cast(pa.float64())


def _without_thousands(place: Place, column: pa.ChunkedArray, name: str, dialect: Dialect) -> pa.ChunkedArray:
    """Text without the sign between thousands; refused where it stands elsewhere, as in 1,5, which is no 15."""
    sign, point = re.escape(dialect.thousands), re.escape(dialect.decimal)
    grouped = rf"^\s*[+-]?\d{{1,3}}(?:{sign}\d{{2,3}})*{sign}\d{{3}}(?:{point}\d*)?\s*$"
    has = pc.match_substring(column, dialect.thousands)
    wrong = np.asarray(pc.fill_null(pc.and_not(has, pc.match_substring_regex(column, grouped)), False), dtype=bool)
    if wrong.any():
        place.refuse(
            f"column {name!r} has {dialect.thousands!r} where it does not part thousands in", wrong, column.to_pylist()
        )
    return pc.replace_substring(column, dialect.thousands, "")


def _flags_as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    lower = pc.utf8_lower(column)
    for number, flag in enumerate(reversed(FLAGS)):
        column = pc.if_else(pc.fill_null(pc.equal(lower, flag), False), pa.scalar(str(number), column.type), column)
    return column


def _signs_advice(value: str) -> str:
    """What to say where a number is written with other signs: 1.234,5 or 1,234.5."""
    if re.fullmatch(r"\s*[+-]?\d{1,3}(\.\d{3})*,\d+\s*", value):
        return "a comma may be the decimal sign (decimal: ',') or part thousands (thousands: ',')"
    if re.fullmatch(r"\s*[+-]?\d{1,3}([ ',.]\d{3})+(\.\d+)?\s*", value):
        return "say which sign parts thousands (thousands: ',')"
    return ""


def composed(symbol: str) -> str:
    """The symbol in Unicode's composed form (NFC), since some systems write E and an accent apart: one, not two."""
    return unicodedata.normalize("NFC", symbol)


def is_symbol(symbol: str) -> bool:
    """Return whether a text may be a symbol: `SYMBOL_RULE`."""
    return symbol == symbol.strip() and symbol.isprintable() and 0 < len(symbol) <= LONGEST_SYMBOL


def to_symbols(place: Place, column: pa.ChunkedArray, name: str, integers: bool = False) -> NDArray[np.object_]:
    """Return str objects, composed (`composed`); whole numbers are symbols only with `integers`."""
    if pa.types.is_integer(column.type) and integers:
        column = column.cast(pa.string())
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not is_text(kind):
        place.refuse(f"column {name!r} has type {kind}; it must be text (000001 is not 1)")
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    names = encoded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    code = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    missing = np.append(np.array([n is None or n == "" for n in names], dtype=bool), True)
    if missing[code].any():
        place.refuse(f"{name} is missing in", missing[code])
    wrong = np.array([not is_symbol(n) for n in names], dtype=bool)
    if wrong.any():
        shown = np.array([n[:LONGEST_SYMBOL] for n in names], dtype=object)
        place.refuse(f"{name} {SYMBOL_RULE}, is not in", wrong[code], shown[code])
    return np.array([composed(n) for n in names], dtype=object)[code]


def to_text(place: Place, column: pa.ChunkedArray, name: str) -> NDArray[np.object_]:
    """Return str objects of a column that must be text and never missing."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_text(column.type):
        place.refuse(f"column {name!r} has type {column.type}; it must be text")
    values = column.to_numpy(zero_copy_only=False)
    missing = np.asarray(pc.fill_null(pc.equal(column, ""), True), dtype=bool)
    if missing.any():
        place.refuse(f"{name} is missing in", missing)
    return values
