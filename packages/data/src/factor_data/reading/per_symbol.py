"""Layouts "symbol" and "kronos": one file per symbol, the symbol in the file name alone.

Vendors call the time column Date, Datetime or nothing at all, and prices Open, Adj Close, Stock Splits: names are
read in lower case with _ for blanks. Kronos files have `timestamps,open,high,low,close,volume,amount`; the amount, or
volume and amount, may be absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factor_data.panel.panel import PRICE_COLUMNS, REQUIRED_COLUMNS
from factor_data.reading.config import ReadConfig
from factor_data.reading.place import Place
from factor_data.reading.stamps import Stamps, parse_stamps
from factor_data.reading.tabular import BarFile, Header, absent_prices

VENDOR_TIME_NAMES = ("", "date", "datetime", "time", "unnamed:_0")
TIME_NAMES = (*VENDOR_TIME_NAMES, "timestamp", "timestamps")
KRONOS_COLUMNS = ("timestamps", *PRICE_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class SymbolFile(BarFile):
    """All bars of one symbol."""

    symbol: str
    time_column: str

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Return the column that identifies a bar within the file."""
        return (self.time_column,)

    def stamps(self, place: Place, rows: pa.Table) -> Stamps:
        """Return the times of the rows."""
        return parse_stamps(place, rows[self.time_column], "timestamp")

    def symbols(self, place: Place, rows: pa.Table) -> NDArray[np.object_]:
        """Return the symbol of the file, once per row."""
        return np.full(rows.num_rows, self.symbol, dtype=object)


def is_vendor_header(header: Header) -> bool:
    """Return True if a header has a vendor's time column and at least the four prices."""
    plain = {plain_name(name) for name in header.names}
    return bool(plain.intersection(VENDOR_TIME_NAMES)) and plain >= set(PRICE_COLUMNS)


def plain_name(name: str) -> str:
    """The name of a column in lower case with _ for blanks: "Adj Close" is adj_close."""
    return "_".join(name.lower().split())


def symbol_bars(
    headers: Sequence[Header], config: ReadConfig, needed: tuple[str, ...] = REQUIRED_COLUMNS
) -> list[SymbolFile]:
    """The files sorted by symbol. Two files of one symbol are refused, and a file without a column it needs."""
    found: dict[str, SymbolFile] = {}
    for header in headers:
        file = _symbol_file(header, config, needed)
        if file.symbol in found:
            raise ValueError(
                f"{file.path} and {found[file.symbol].path} both hold the symbol {file.symbol!r}: "
                "say with symbol_pattern which part of the file name tells them apart"
            )
        found[file.symbol] = file
    return [found[symbol] for symbol in sorted(found)]


def kronos_bars(headers: Sequence[Header], config: ReadConfig) -> list[SymbolFile]:
    """As `symbol_bars`, with the columns of Kronos: a volume that is absent is missing on every bar."""
    for header in headers:
        header.require(*KRONOS_COLUMNS)
        if "amount" in header.names:
            header.require("volume")
    return symbol_bars(headers, config, needed=PRICE_COLUMNS)


def _symbol_file(header: Header, config: ReadConfig, needed: tuple[str, ...]) -> SymbolFile:
    names = {plain_name(name): name for name in header.names}
    if len(names) < len(header.names):
        raise ValueError(f"{header.file}: columns repeat when case and blanks are ignored: {header.names}")
    times = [name for name in TIME_NAMES if name in names]
    if len(times) != 1:
        raise ValueError(
            f"{header.file}: needs one time column (unnamed, Date, Datetime, Time, timestamp or timestamps), "
            f"found {[names[name] for name in times]} among {header.names}"
        )
    missing = [name for name in needed if name not in names]
    if missing:
        raise ValueError(
            f"{header.file}: column {missing[0]!r} is missing; needed are {list(needed)}, found {header.names}"
        )
    symbol = config.symbol_of(header.file.path, header.file.stem)
    if symbol != symbol.strip() or not symbol.isprintable():
        raise ValueError(f"{header.file}: symbol {symbol!r} must be printable text without blanks around it")
    return SymbolFile(
        file=header.file,
        symbol=symbol,
        time_column=names.pop(times[0]),
        numbers=names,
        absent=absent_prices(names),
        may_be_empty=True,
    )
