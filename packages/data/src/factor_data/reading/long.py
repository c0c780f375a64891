"""Layout "long": Parquet or CSV files with the columns timestamp, symbol, open, high, low, close, volume."""

from __future__ import annotations

from factor_data.panel import REQUIRED_COLUMNS
from factor_data.reading.raw import column_names
from factor_data.reading.sources import File
from factor_data.reading.tabular import BarFile

KEY = ("timestamp", "symbol")


def long_file(file: File) -> BarFile:
    """Every column beside timestamp and symbol is a number column."""
    found = column_names(file)
    missing = [name for name in (*KEY, *REQUIRED_COLUMNS) if name not in found]
    if missing:
        raise ValueError(
            f"{file}: column {missing[0]!r} is missing; needed are {[*KEY, *REQUIRED_COLUMNS]}, found {found}"
        )
    numbers = {name: name for name in found if name not in KEY}
    return BarFile(file=file, time="timestamp", symbol="symbol", numbers=numbers)
