"""Layout "qlib": a folder of calendars/, instruments/ and features/ in qlib's binary format.

`calendars/<frequency>.txt` has a stamp a line; `instruments/all.txt` (or else every file there) has lines of
symbol, first and last stamp, apart by tabs; `features/<symbol>/<field>.<frequency>.bin` is float32, little endian:
first the position of its first value in the calendar, then a value per position. Where all fields are NaN there is no
bar. As in qlib, only what lies between a symbol's first and last stamp counts. Prices are taken as they are there:
adjusted, with the factor in the column `factor`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factor_data.bar_columns import REQUIRED_COLUMNS
from factor_data.reading.config import ReadConfig
from factor_data.reading.notes import Notes
from factor_data.reading.place import Place
from factor_data.reading.sources import File
from factor_data.reading.stamps import Stamps, parse_stamps
from factor_data.reading.table import Table, frame_of, is_symbol
from factor_data.reading.zones import OneZone

RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # no folder names in Windows


@dataclass(frozen=True, kw_only=True)
class QlibSymbol:
    """The folder of a symbol."""

    folder: File
    symbol: str
    calendar: Stamps
    fields: tuple[File, ...]
    spans: tuple[tuple[np.datetime64, np.datetime64], ...]
    """First and last stamp of each period in which it is listed."""
    read_numbers: bool = True

    @property
    def path(self) -> str:
        """Return the folder that messages name."""
        return self.folder.path

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the numbers that are read."""
        return tuple(_field(file) for file in self.fields) if self.read_numbers else ()

    def size(self) -> int:
        """Return the size of all files in bytes."""
        return sum(file.size() for file in self.fields)

    def keys_only(self) -> QlibSymbol:
        """Return the same source, of which only keys are read."""
        return replace(self, read_numbers=False)

    def tables(self, zone: OneZone, batch_rows: int) -> Iterator[Table]:
        """Yield the bars, nothing if there is none; rows are counted along the calendar, from 1."""
        values = {_field(file): self._values(file) for file in self.fields}
        stamps = self.calendar.values
        listed = np.zeros(len(stamps), dtype=bool)
        for first, last in self.spans:
            listed |= (stamps >= first) & (stamps <= last)
        has_bar = listed & ~np.all([np.isnan(column) for column in values.values()], axis=0)
        zone.add(Place(self.path), self.calendar)
        rows = np.flatnonzero(has_bar)
        for start in range(0, len(rows), batch_rows):
            part = rows[start : start + batch_rows]
            frame = {"timestamp": stamps[part], "symbol": np.full(len(part), self.symbol, dtype=object)}
            frame |= {name: values[name][part] for name in self.columns}
            yield Table(self.path, frame_of(frame), zone.zone, int(part[0]) + 1, (start + len(part)) / len(rows))

    def _values(self, file: File) -> NDArray[np.float64]:
        """One field on the whole calendar, NaN where the file has nothing."""
        with file.open() as opened:
            content = opened.read()
        if len(content) < 4 or len(content) % 4:
            raise ValueError(f"{file}: must be float32 numbers, has {len(content)} bytes")
        numbers = np.frombuffer(content, dtype="<f4")
        num_stamps, start = len(self.calendar.code), float(numbers[0])
        if not (start >= 0 and start.is_integer() and start + len(numbers) - 1 <= num_stamps):
            raise ValueError(
                f"{file}: starts at position {start:g} with {len(numbers) - 1} values, "
                f"the calendar has {num_stamps} stamps"
            )
        values = np.full(num_stamps, np.nan)
        with np.errstate(invalid="ignore"):  # whatever kind of NaN
            values[int(start) : int(start) + len(numbers) - 1] = numbers[1:]
        if np.isinf(values).any():
            Place(file.path).refuse("is infinite in", np.isinf(values), rule="numbers must be finite")
        return values


def qlib_bars(root: File, config: ReadConfig, notes: Notes) -> list[QlibSymbol]:
    """The symbols of a folder in alphabetical order. A symbol without its folder or a needed field is refused."""
    frequency = _frequency(root, config)
    calendar = _calendar(root.child("calendars").child(f"{frequency}.txt"), config)
    symbols, used = [], set()
    for name, spans in sorted(_instruments(root.child("instruments"), config).items()):
        stem = name.lower()
        folder = root.child("features").child(f"_qlib_{stem}" if RESERVED.fullmatch(stem) else stem)
        if not folder.is_folder():
            raise ValueError(f"{folder}: no such folder, instruments/ lists {name!r}")
        fields = tuple(
            sorted((f for f in folder.files((".bin",)) if f.name.endswith(f".{frequency}.bin")), key=_usual_order)
        )
        missing = [n for n in REQUIRED_COLUMNS if n not in {_field(file) for file in fields}]
        if missing:
            raise ValueError(
                f"{folder}: field {missing[0]!r} is missing; needed are {list(REQUIRED_COLUMNS)}, "
                f"found {[file.name for file in fields]}"
            )
        used.add(folder.name)
        symbols.append(QlibSymbol(folder=folder, symbol=name, calendar=calendar, fields=fields, spans=tuple(spans)))
    for entry in root.child("features").children():
        if entry.name not in used:
            notes.leave_out(entry.path, "no symbol of instruments/")
    return symbols


def _field(file: File) -> str:
    return file.name.split(".")[0]


def _usual_order(file: File) -> tuple[int, str]:
    """Open, high, low, close, volume, then the other fields by name."""
    name = _field(file)
    return (REQUIRED_COLUMNS.index(name) if name in REQUIRED_COLUMNS else len(REQUIRED_COLUMNS), name)


def _frequency(root: File, config: ReadConfig) -> str:
    found = [file.stem for file in root.child("calendars").files((".txt",)) if not file.stem.endswith("_future")]
    if config.frequency is not None and config.frequency not in found:
        raise ValueError(f"{root}/calendars: no frequency {config.frequency!r}, found {found}")
    if config.frequency is None and len(found) != 1:
        raise ValueError(f"{root}/calendars: say which frequency to read, found {found}")
    return config.frequency or found[0]


def _calendar(file: File, config: ReadConfig) -> Stamps:
    lines = _lines(file)
    column = pa.chunked_array([pa.array(lines, pa.string())])
    stamps = parse_stamps(Place(file.path), column, "timestamp", config.clock)
    wrong = np.diff(stamps.values) <= np.timedelta64(0)
    if wrong.any():
        Place(file.path, 2).refuse("stamps must be sorted and unique, are not in", wrong)
    return stamps


def _instruments(folder: File, config: ReadConfig) -> dict[str, list[tuple[np.datetime64, np.datetime64]]]:
    """Symbol -> its spans."""
    everything = folder.child("all.txt")
    files = [everything] if everything.is_file() else folder.files((".txt",)) if folder.is_folder() else []
    if not files:
        raise ValueError(f"{folder}: holds no .txt file of instruments")
    found: dict[str, list[tuple[np.datetime64, np.datetime64]]] = {}
    for file in files:
        lines = [line.split("\t") for line in _lines(file)]
        wrong = np.array([len(line) != 3 or not is_symbol(line[0].strip()) for line in lines])
        if wrong.any():
            Place(file.path).refuse("needs symbol, first and last stamp, apart by tabs, has not in", wrong)
        ends = [_column_of_stamps(file, [line[i] for line in lines], config) for i in (1, 2)]
        for (name, *_), first, last in zip(lines, *ends, strict=True):
            found.setdefault(name.strip().upper(), []).append((first, last))
    return found


def _column_of_stamps(file: File, text: Sequence[str], config: ReadConfig) -> NDArray[np.datetime64]:
    column = pa.chunked_array([pa.array(text, pa.string())])
    # far dates ("2199-12-31") stand for "still listed"; datetime64[ns] holds them
    return parse_stamps(Place(file.path), column, "timestamp", config.clock).values


def _lines(file: File) -> list[str]:
    """The lines that are not blank."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    with file.open() as opened:
        content = opened.read()
    try:
        lines = [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not UTF-8 text ({error})") from error
    if not lines:
        raise ValueError(f"{file}: is empty")
    return lines
