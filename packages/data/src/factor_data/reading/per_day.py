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
import pyarrow as pa
from numpy.typing import NDArray

from factor_data.bar_columns import REQUIRED_COLUMNS
from factor_data.reading.config import ReadConfig
from factor_data.reading.header import Header, shown
from factor_data.reading.notes import Notes
from factor_data.reading.place import Place
from factor_data.reading.sources import File
from factor_data.reading.stamps import Stamps, parse_stamps
from factor_data.reading.table import to_symbols
from factor_data.reading.tabular import BarFile, absent_prices, format_of
from factor_data.reading.time_of_day import time_of_day

FACTOR_NAME = r"(?:factor_)?(\d+)"
OPTIONAL = (*REQUIRED_COLUMNS, "adj_close", "amount", "vwap", "luld", "ADV50")


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
        return to_symbols(place, rows["sid"], "sid", integers=self.file.is_parquet)

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
            stamps = parse_stamps(place, column, "time", self.clock)
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


def day_bars(headers: Sequence[Header], config: ReadConfig, notes: Notes) -> list[DayFile]:
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
        known = {*file.key_columns, *file.numbers.values()}
        for name in header.names:
            if name not in known and name not in config.texts:
                notes.leave_out_column(name, file.path, "no factor, target or column of a bar")
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
            f"factors, found {shown(header.names)}"
        )
    known = set(header.names)
    chosen = dict.fromkeys([*factors, *config.targets, *(name for name in OPTIONAL if name in known)])
    numbers = {name: name for name in chosen}
    return DayFile(
        **format_of(header, config),
        day=day,
        numbers=numbers,
        absent=absent_prices(numbers),
        has_date="date" in known,
        has_time="time" in known,
    )
