"""Layout "long": one row per (timestamp, symbol), whatever the columns are called.

Files have the columns timestamp, symbol, open, high, low, close, volume, or others that a map says to be these. Every
other column of numbers and flags is read; text is left out and named. A table with `timestamps` is one of Kronos, in
which volume and amount may be absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from factor_data.reading.columns import (
    KEY,
    check_intervals,
    find_columns,
    is_called_otherwise,
    number_columns,
    proposal,
)
from factor_data.reading.config import ReadConfig
from factor_data.reading.header import Header, shown
from factor_data.reading.keyed_file import KeyedFile
from factor_data.reading.notes import Notes
from factor_data.reading.tabular import format_of


def long_bars(headers: Sequence[Header], config: ReadConfig, notes: Notes) -> list[KeyedFile]:
    """The files in the order given; a file that lacks a column is refused."""
    kronos = config if config.vendor else replace(config, vendor="kronos")
    files = [_long_file(header, kronos if "timestamps" in header.names else config, notes) for header in headers]
    check_intervals([(file.path, file.interval or None) for file in files])
    return files


def _long_file(header: Header, config: ReadConfig, notes: Notes) -> KeyedFile:
    columns = find_columns(header, config)
    missing = [name for name in KEY if name not in columns.roles and not (name == "symbol" and columns.partition)]
    if missing:
        raise ValueError(
            f"{header.file}: column {missing[0]!r} is missing; found {shown(header.names)}; "
            f"{proposal(header, columns, missing)}"
        )
    numbers, absent = number_columns(header, columns, config, notes, is_long=True)
    called = is_called_otherwise(columns)
    if called and not config.columns:
        by = f"map of {columns.vendor}" if columns.vendor else "common names"
        notes.guess(f"columns by the {by}", f"{called} in {header.file.name}")
    interval = columns.interval_of(header.names)
    return KeyedFile(
        **format_of(header, config),
        numbers=numbers,
        absent=absent,
        time_column=columns.roles["timestamp"],
        day_time_column=columns.roles.get("time_of_day"),
        symbol_column=columns.roles.get("symbol"),
        symbol=columns.partition or "",
        interval_column=interval,
        interval=header.first.get(interval, "") if interval else "",
    )
