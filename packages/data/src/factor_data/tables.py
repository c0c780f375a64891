"""One Parquet or CSV file as a checked table: timestamps, symbols, then numbers and text in the types
promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

MISSING_TEXT = ("", "nan", "NaN", "NAN", "null", "NULL", "NA", "N/A", "None")
ZONE_PATTERN = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(Z|UTC|[+-]\d{2}(?::?\d{2})?)\s*$"


@dataclass(frozen=True)
class Table:
    """A file's frame: timestamp datetime64[ns] without zone, symbol str, other columns float64 or text."""

    path: Path
    frame: pd.DataFrame
    zone: str | None  # the zone all timestamps carried, None for none
    first_row: int = 1


def offenders(mask: NDArray[np.bool_], values: Sequence | NDArray | None = None) -> str:
    """Say how many rows a mask marks and which come first: "4 rows, first 2, 7, 9"."""
    rows = np.flatnonzero(mask)
    named = [f"{row + 1}" + ("" if values is None else f" ({values[row]!r})") for row in rows[:3]]
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''}, first {', '.join(named)}"


def read_table(path: Path, required: Sequence[str], text_columns: Sequence[str] = ()) -> Table:
    """Read one file and check timestamp, symbol and the type of every column (see ``read_bars`` for the
    rules).

    With ``text_columns`` only the required columns are kept; otherwise every other column must be numeric.
    """
    raw = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path, text_columns)
    missing = [name for name in required if name not in raw.columns]
    if missing:
        raise ValueError(
            f"{path}: column {missing[0]!r} is missing; needed are {list(required)}, "
            f"found {list(raw.columns)}"
        )
    if raw.columns.has_duplicates:
        raise ValueError(f"{path}: columns repeat: {sorted(set(raw.columns[raw.columns.duplicated()]))}")
    if len(raw) == 0:
        raise ValueError(f"{path}: holds no row")
    timestamp, zone = _timestamps(path, raw["timestamp"])
    columns: dict[str, NDArray | pd.Series] = {
        "timestamp": timestamp,
        "symbol": _symbols(path, raw["symbol"]),
    }
    for name in required if text_columns else raw.columns:
        if name in text_columns:
            columns[name] = raw[name].astype(object)
        elif name not in columns:
            columns[str(name)] = _numbers(path, raw[name])
    return Table(path=path, frame=pd.DataFrame(columns), zone=zone)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path}: cannot be read as Parquet, is it truncated? ({str(error).splitlines()[0]})"
        ) from error
    return table.to_pandas(date_as_object=False, types_mapper=None)


def _read_csv(path: Path, text_columns: Sequence[str]) -> pd.DataFrame:
    try:
        header = pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns
        as_text = {name: str for name in ("timestamp", "symbol", *text_columns) if name in header}
        return pd.read_csv(
            path,
            dtype=as_text,
            keep_default_na=False,
            na_values={name: [""] if name in as_text else list(MISSING_TEXT) for name in header},
            float_precision="round_trip",
            encoding="utf-8-sig",
            low_memory=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as CSV ({str(error).splitlines()[0]})") from error


def _numbers(path: Path, column: pd.Series) -> NDArray[np.float64]:
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        raise ValueError(f"{path}: column {column.name!r} has type {column.dtype}; it must be numeric")
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = column.to_numpy(dtype=object)
    number = pd.to_numeric(column.astype(object), errors="coerce")
    wrong = (number.isna() & column.notna()).to_numpy()
    if not wrong.any() and pd.api.types.is_string_dtype(column.dtype):
        wrong = column.notna().to_numpy()  # numbers stored as text
    if wrong.any():
        raise ValueError(
            f"{path}: column {column.name!r} must be numeric, is not in {offenders(wrong, values)}"
        )
    return number.to_numpy(dtype=np.float64, na_value=np.nan)


def _symbols(path: Path, column: pd.Series) -> NDArray[np.object_]:
    if pd.api.types.is_numeric_dtype(column):
        raise ValueError(
            f"{path}: column 'symbol' has type {column.dtype}; it must be text (000001 is not 1)"
        )
    values = column.to_numpy(dtype=object)
    missing = column.isna().to_numpy() | (values == "")
    if missing.any():
        raise ValueError(f"{path}: symbol is missing in {offenders(missing)}")
    names = column.unique()
    wrong = [name for name in names if not isinstance(name, str) or name != name.strip()]
    if wrong:
        raise ValueError(f"{path}: symbols must be text without blanks around them, got {wrong[:3]!r}")
    return values


def _timestamps(path: Path, column: pd.Series) -> tuple[NDArray[np.datetime64], str | None]:
    """Return wall-clock stamps and the zone they were given in."""
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(f"{path}: timestamp is missing in {offenders(missing)}")
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_localize(None).to_numpy().astype("datetime64[ns]"), str(column.dt.tz)
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.to_numpy().astype("datetime64[ns]"), None
    if pd.api.types.is_numeric_dtype(column):
        raise ValueError(f"{path}: timestamp has type {column.dtype}; give ISO 8601 text or a timestamp type")
    text = column.astype(str).str.strip()
    zone = text.str.extract(ZONE_PATTERN, expand=False)
    zones = zone.unique()
    if len(zones) > 1:
        first = [
            int(np.flatnonzero((zone.isna() if pd.isna(z) else zone == z).to_numpy())[0]) for z in zones[:2]
        ]
        raise ValueError(
            f"{path}: time zones differ between rows: row {first[0] + 1} is {text[first[0]]!r}, "
            f"row {first[1] + 1} is {text[first[1]]!r}; all timestamps must share one zone, or have none"
        )
    has_zone = not pd.isna(zones[0])
    naive = text.str.slice(stop=-len(zones[0])).str.strip() if has_zone else text
    parsed = pd.to_datetime(naive, format="ISO8601", errors="coerce")
    wrong = parsed.isna().to_numpy()
    if wrong.any():
        raise ValueError(
            f"{path}: timestamp is not ISO 8601 (as 2020-01-31 or 2020-01-31T09:35) in "
            f"{offenders(wrong, column.to_numpy(dtype=object))}"
        )
    return parsed.to_numpy().astype("datetime64[ns]"), (str(zones[0]) if has_zone else None)
