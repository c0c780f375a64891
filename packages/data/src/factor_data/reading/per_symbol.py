"""Layouts "symbol" and "kronos": one file per symbol, or several, the symbol in the file name alone.

Vendors call the time column Date, Datetime or nothing at all, and prices Open, Adj Close, Stock Splits: names are
read in lower case with _ for blanks. Kronos files have `timestamps,open,high,low,close` and maybe volume and amount.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from factor_data.reading.columns import (
    Columns,
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
from factor_data.reading.table import SYMBOL_RULE, composed, is_symbol
from factor_data.reading.tabular import format_of
from factor_data.reading.vendors import VENDORS


def symbol_bars(headers: Sequence[Header], config: ReadConfig, notes: Notes) -> list[KeyedFile]:
    """The files sorted by symbol and path.

    Two files of one symbol are refused unless a pattern said which part of their names is the symbol, and so is a file
    without a column it needs.
    """
    found: dict[str, KeyedFile] = {}
    files, intervals = [], []
    for header in headers:
        file, pattern = _symbol_file(header, config, notes)
        intervals.append((file.path, config.interval_of(header.file.stem, pattern)))
        if file.symbol in found and (pattern or config.pattern) is None:
            raise ValueError(
                f"{file.path} and {found[file.symbol].path} both hold the symbol {file.symbol!r}: "
                "say with symbol_pattern which part of the file name tells them apart"
            )
        found[file.symbol] = file
        files.append(file)
    check_intervals(intervals)
    return sorted(files, key=lambda file: (file.symbol, file.path))


def kronos_bars(headers: Sequence[Header], config: ReadConfig, notes: Notes) -> list[KeyedFile]:
    """As `symbol_bars`, of files with `timestamps`; volume and amount may be absent."""
    for header in headers:
        header.require("timestamps", *(["volume"] if "amount" in header.names else []))  # alone it says nothing
    return symbol_bars(headers, config if config.vendor else replace(config, vendor="kronos"), notes)


def _symbol_file(header: Header, config: ReadConfig, notes: Notes) -> tuple[KeyedFile, str | None]:
    """The file, and the pattern of its vendor by which its name says the symbol."""
    columns = find_columns(header, config)
    columns.roles.pop("symbol", None)  # the name of the file says it
    if "timestamp" not in columns.roles:
        raise ValueError(
            f"{header.file}: needs one time column (unnamed, Date, Datetime, Time, timestamp or timestamps), found "
            f"{list(columns.times)} among {shown(header.names)}; {proposal(header, columns, ['timestamp'])}"
        )
    numbers, absent = number_columns(header, columns, config, notes, is_long=False)
    pattern = VENDORS[columns.vendor].symbol_pattern if columns.vendor else None
    symbol = composed(config.symbol_of(header.file.path, header.file.stem, pattern))
    if not is_symbol(symbol):
        raise ValueError(f"{header.file}: symbol {symbol!r} {SYMBOL_RULE}")
    _note_guesses(header, columns, config, notes, symbol)
    file = KeyedFile(
        **format_of(header, config),
        symbol=symbol,
        time_column=columns.roles["timestamp"],
        day_time_column=columns.roles.get("time_of_day"),
        numbers=numbers,
        absent=absent,
        may_be_empty=True,
    )
    return file, pattern


def _note_guesses(header: Header, columns: Columns, config: ReadConfig, notes: Notes, symbol: str) -> None:
    if config.symbol_pattern is None:
        notes.guess("symbol from the name of the file", f"{symbol!r} from {header.file.name}")
    called = is_called_otherwise(columns)
    if called and not config.columns:
        by = f"map of {columns.vendor}" if columns.vendor else "common names"
        notes.guess(f"columns by the {by}", f"{called} in {header.file.name}")
