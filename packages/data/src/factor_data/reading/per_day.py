"""Layout "day": one file per day, named YYYYMMDD or YYYY-MM-DD, with ready-made factors and targets.

Columns: `sid` (whole number or text), factors, targets, optional `date` (must be that of the name) and `time`
(HH:MM:SS text, a time type, or the whole number HHMMSS; without it every bar is stamped with its day), optional
prices, volume, limit flag `luld` and weight `ADV50`. What the files lack of open, high, low, close and volume is
NaN in every row: their bars are known by factors and targets alone. Other columns are not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factor_data.panel.panel import REQUIRED_COLUMNS
from factor_data.reading.config import ReadConfig
from factor_data.reading.place import Place
from factor_data.reading.sources import File
from factor_data.reading.stamps import Stamps, is_text, parse_stamps
from factor_data.reading.table import to_symbols
from factor_data.reading.tabular import BarFile, Header, absent_prices

FACTOR_NAME = r"(?:factor_)?(\d+)"
OPTIONAL = (*REQUIRED_COLUMNS, "adj_close", "amount", "vwap", "luld", "ADV50")
CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?"
NANOSECONDS = (3_600_000_000_000, 60_000_000_000, 1_000_000_000)  # of hour, minute, second


@dataclass(frozen=True, kw_only=True)
class DayFile(BarFile):
    """All bars of one day."""

    day: np.datetime64
    has_date: bool
    has_time: bool

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Return the columns that identify a bar beside the file's day."""
        return ("sid", *(["date"] if self.has_date else []), *(["time"] if self.has_time else []))

    def symbols(self, place: Place, rows: pa.Table) -> NDArray[np.object_]:
        """Return the symbols of the rows; Parquet may hold them as integers."""
        return to_symbols(place, rows["sid"], "sid", integers=self.file.suffix == ".parquet")

    def stamps(self, place: Place, rows: pa.Table) -> Stamps:
        """Return the times of the rows: the day of the file, with the time of day where there is a column."""
        if self.has_date:
            self._check_date(place, rows["date"])
        midnight = self.day.astype("datetime64[ns]")
        if not self.has_time:
            none = np.zeros(rows.num_rows, dtype=np.int64)
            return Stamps(np.array([midnight]), none[:1], (None,), none, np.array([str(self.day)], dtype=object))
        column = rows["time"]
        if pa.types.is_timestamp(column.type):
            stamps = parse_stamps(place, column, "time")
            self._refuse_other_days(place, stamps.values, "time")
            return stamps
        clock, code, written = time_of_day(place, column)
        return Stamps(midnight + clock, np.zeros(len(clock), dtype=np.int64), (None,), code, written)

    def _check_date(self, place: Place, column: pa.ChunkedArray) -> None:
        if pa.types.is_integer(column.type):
            column = column.cast(pa.string())
        self._refuse_other_days(place, parse_stamps(place, column, "date").values, "date")

    def _refuse_other_days(self, place: Place, values: NDArray[np.datetime64], name: str) -> None:
        wrong = values.astype("datetime64[D]") != self.day
        if wrong.any():
            place.refuse(
                f"{name} must be on {self.day}, the day in the file name, is not in",
                wrong,
                values.astype(str),
            )


def day_bars(headers: Sequence[Header], config: ReadConfig) -> list[DayFile]:
    """The files in order of their days.

    Every header is checked: a bad name, a day twice, or a missing sid, factor or target column is refused before a
    row is read.
    """
    found: dict[np.datetime64, DayFile] = {}
    for header in headers:
        file = _day_file(header, config)
        if file.day in found:
            raise ValueError(f"{file.path} and {found[file.day].path} are both the day {file.day}")
        found[file.day] = file
    return [found[day] for day in sorted(found)]


def day_of(file: File) -> np.datetime64 | None:
    """The day that a file name stands for, None where it is no day."""
    found = re.fullmatch(r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})", file.stem)
    try:
        return np.datetime64(f"{found[1]}-{found[3]}-{found[4]}", "D") if found else None
    except ValueError:
        return None


def _day_file(header: Header, config: ReadConfig) -> DayFile:
    day = day_of(header.file)
    if day is None:
        raise ValueError(
            f"{header.file}: the file name must be a day, YYYYMMDD or YYYY-MM-DD, got {header.file.stem!r}"
        )
    factors = config.factors or tuple(
        sorted((n for n in header.names if re.fullmatch(FACTOR_NAME, n)), key=lambda n: int(re.sub(r"\D", "", n)))
    )
    header.require("sid", *factors, *config.targets)
    if not factors:
        raise ValueError(
            f"{header.file}: no factor column (named 0, 1, ... or factor_0, ...); say which they are with "
            f"factors, found {header.names}"
        )
    chosen = dict.fromkeys([*factors, *config.targets, *(name for name in OPTIONAL if name in header.names)])
    numbers = {name: name for name in chosen}
    return DayFile(
        file=header.file,
        day=day,
        numbers=numbers,
        absent=absent_prices(numbers),
        has_date="date" in header.names,
        has_time="time" in header.names,
    )


def time_of_day(
    place: Place, column: pa.ChunkedArray
) -> tuple[NDArray[np.timedelta64], NDArray[np.int64], NDArray[np.object_]]:
    """Return the different times since midnight, which row has which, and how they are written."""
    if column.null_count:
        place.refuse("time is missing in", np.asarray(column.is_null()))
    kind = column.type
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_time(kind)):
        place.refuse(f"time has type {kind}; give HH:MM:SS text, a time type or HHMMSS")
    encoded = column.combine_chunks().dictionary_encode()
    code = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_time(kind):
        ticks = pc.cast(encoded.dictionary, pa.time64("ns")).cast(pa.int64()).to_numpy()
        return ticks.astype("timedelta64[ns]"), code, encoded.dictionary.cast(pa.string()).to_numpy(False)
    written = np.array([str(value) for value in encoded.dictionary.to_pylist()], dtype=object)
    text = pd.Series(written)
    if pa.types.is_integer(kind) or text.str.fullmatch(r"\d{1,6}").all():
        text = text.str.zfill(6).str.replace(r"^(\d\d)(\d\d)(\d\d)$", r"\1:\2:\3", regex=True)
    parts = text.str.extract(f"^{CLOCK}$")
    clock = [pd.to_numeric(parts[i]).fillna(0).to_numpy(np.int64) for i in range(3)]
    wrong = parts[0].isna().to_numpy() | (clock[0] > 23) | (clock[1] > 59) | (clock[2] > 59)
    if wrong.any():
        place.refuse("time is not HH:MM:SS (or the whole number HHMMSS) in", wrong[code], written[code])
    fraction = parts[3].fillna("0").str.ljust(9, "0").astype(np.int64).to_numpy()
    total = sum(part * scale for part, scale in zip(clock, NANOSECONDS, strict=True)) + fraction
    return total.astype("timedelta64[ns]"), code, written
