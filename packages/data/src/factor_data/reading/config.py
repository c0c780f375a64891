"""Settings of a reader: facts that the files do not contain."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass, field, fields
from datetime import datetime
from difflib import get_close_matches
from typing import Any, ClassVar, get_args

from factor_data.bar_columns import REQUIRED_COLUMNS
from factor_data.reading.clock import Clock, Unit
from factor_data.reading.dialect import Dialect
from factor_data.reading.vendors import ALIASES, VENDORS, plain_name

EXCHANGES = (
    "NYSE", "NASDAQ", "AMEX", "NYSEAMERICAN", "NYSEMKT", "NYSEARCA", "ARCA", "BATS", "CBOE", "OTC", "IEX", "LSE", "TSX",
    "TSXV", "ASX", "HKEX", "HKG", "SSE", "SHSE", "SZSE", "JPX", "TSE", "KRX", "NSE", "BSE", "XETRA", "FWB", "SIX",
    "EURONEXT", "MOEX", "SGX", "JSE",
)  # fmt: skip
# EXCHANGE_SYMBOL_30Y: the name under which vendors deliver so many years (or months, days) of a symbol. Other words in
# front are part of the symbol, as the base of a pair of currencies is (BTC_USDT_1D)
VENDOR_NAME = rf"(?:{'|'.join(EXCHANGES)})_(?P<symbol>.+)_\d+[YMD]"


@dataclass(frozen=True, kw_only=True)
class ReadConfig:
    """Settings of the layouts whose files do not say everything; `import.yaml` has these keys."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    symbol_pattern: str | None = None
    """One file per symbol: regular expression with a group "symbol" that the file name, without its ending, must match.

    None: the part between exchange and years of EXCHANGE_SYMBOL_30Y, else the whole name. With a pattern a symbol may
    have several files.
    """
    factors: tuple[str, ...] | None = None
    """One file per day: the factor columns, in this order; None: all named by a number, or factor_<number>."""
    targets: tuple[str, ...] = ("intra30m", "nextT1d", "ema1d")
    """One file per day: the ready-made target columns, in this order."""
    frequency: str | None = None
    """qlib: which frequency to read where the folder holds several, as "day" or "5min"."""
    vendor: str | None = None
    """Name of a map of columns (VENDORS); None: found from the names of the columns."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our name (timestamp, time_of_day, symbol, open, ... or a new one) -> the column of the file."""
    leave_out: tuple[str, ...] = ()
    """Columns that are not read: names, or patterns such as note_*."""
    texts: tuple[str, ...] = ()
    """Columns of text beside the bars: each value is a document of news that is known with its bar."""
    absent: tuple[str, ...] = ()
    """Columns of bars that the files lack, such as volume: missing in every row."""
    time_format: str | None = None
    """How text stamps are written, as "%d.%m.%Y %H:%M"; None: ISO 8601, or year/month/day."""
    time_unit: Unit | None = None
    """Unit of stamps that are numbers since 1970; None: known from the number of digits, where that decides."""
    time_zone: str | None = None
    """Zone whose clock the bars keep, as "UTC": stamps of another are converted, stamps of none are in it already."""
    separator: str | None = None
    """Sign between the values of CSV; None: found from the line of names."""
    decimal: str = "."
    """Decimal sign of CSV."""
    thousands: str = ""
    """Sign between groups of three digits in CSV."""
    skip_lines: int = 0
    """Lines of CSV above the line of names."""
    names: tuple[str, ...] | None = None
    """Names of the columns of CSV files that have no line of names."""
    sort: bool = False
    """Whether the rows of a file may be in any order of time; it is then held in memory."""

    def __post_init__(self) -> None:
        for name in ("factors", "targets", "leave_out", "texts", "absent", "names"):
            values = getattr(self, name)
            if values is not None and len(set(values)) < len(values):
                raise ValueError(f"{name} names a column twice: {list(values)}")
        for column in self.absent:
            if column not in REQUIRED_COLUMNS:
                close = get_close_matches(column.lower(), REQUIRED_COLUMNS, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"they are {', '.join(REQUIRED_COLUMNS)}"
                raise ValueError(f"absent: {column!r} is no column of bars that a table must have; {hint}")
        if self.factors is not None and not self.factors:
            raise ValueError("factors must name at least one column, or be None for all")
        if self.vendor is not None and self.vendor not in VENDORS:
            raise ValueError(f"vendor must be one of {list(VENDORS)}, got {self.vendor!r}")
        if len(set(self.columns.values())) < len(self.columns):
            raise ValueError(f"columns gives a column of the file two names: {self.columns}")
        for ours in self.columns:
            if meant := _misspelt(ours):
                raise ValueError(f"columns.{ours}: did you mean {meant!r}? It would be a column like any other")
        self._check_pattern()
        self._check_time_format()
        self._check_formats()

    def _check_pattern(self) -> None:
        if self.symbol_pattern is None:
            return
        try:
            groups = re.compile(self.symbol_pattern).groupindex
        except re.error as error:
            raise ValueError(f"symbol_pattern {self.symbol_pattern!r} is no regular expression ({error})") from error
        if "symbol" not in groups:
            raise ValueError(
                f"symbol_pattern {self.symbol_pattern!r} has no group named symbol, as in "
                r"'[A-Z]+_(?P<symbol>.+)'"
            )

    def _check_time_format(self) -> None:
        if self.time_format is None:
            return
        if "%" not in self.time_format or "%z" in self.time_format:
            raise ValueError(f"time_format must be as '%d.%m.%Y', without %z, got {self.time_format!r}")
        try:
            datetime.strptime(datetime(2024, 1, 31).strftime(self.time_format), self.time_format)
        except (ValueError, re.error) as error:
            raise ValueError(f"time_format {self.time_format!r} is no format of stamps ({error})") from None

    def _check_formats(self) -> None:
        if self.time_unit is not None and self.time_unit not in get_args(Unit):
            raise ValueError(f"time_unit must be one of {list(get_args(Unit))}, got {self.time_unit!r}")
        if self.time_zone is not None:
            try:
                zoneinfo.ZoneInfo(self.time_zone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(f"time_zone {self.time_zone!r} is no zone; write as UTC or America/New_York") from None
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n'):
            raise ValueError(f"separator must be one sign, got {self.separator!r}")
        if len(self.decimal) != 1 or self.decimal in (*"0123456789+-eE", self.thousands):
            raise ValueError(f"decimal must be one sign that differs from thousands, got {self.decimal!r}")
        if len(self.thousands) > 1 or (self.thousands and self.thousands in "0123456789+-eE"):
            raise ValueError(f"thousands must be one sign or none, got {self.thousands!r}")
        if self.skip_lines < 0:
            raise ValueError(f"skip_lines must not be negative, got {self.skip_lines}")

    @property
    def clock(self) -> Clock:
        """How stamps are written."""
        return Clock(self.time_format, self.time_unit, self.time_zone)

    @property
    def dialect(self) -> Dialect:
        """What is said of how CSV is written."""
        return Dialect(skip_lines=self.skip_lines, names=self.names, decimal=self.decimal, thousands=self.thousands)

    @property
    def pattern(self) -> str | None:
        """The pattern of file names: the one given, else that of the vendor that is named."""
        return self.symbol_pattern or (VENDORS[self.vendor].symbol_pattern if self.vendor else None)

    def symbol_of(self, path: str, stem: str, pattern: str | None = None) -> str:
        """Return the symbol that a file name stands for; `pattern` is one that is tried where none is given."""
        asked = self.pattern
        if asked is None:
            vendor = re.fullmatch(pattern or VENDOR_NAME, stem)
            return vendor["symbol"] if vendor else stem
        found = re.fullmatch(asked, stem)
        if not found or not found["symbol"]:
            raise ValueError(f"{path}: file name {stem!r} does not match symbol_pattern {asked!r}")
        return found["symbol"]

    def interval_of(self, stem: str, pattern: str | None = None) -> str | None:
        """Return how long bars are by a file name, None where it does not say; `pattern` as of `symbol_of`."""
        found = re.fullmatch(self.pattern or pattern or VENDOR_NAME, stem)
        return found.groupdict().get("interval") if found else None

    def changed_fields(self) -> dict[str, Any]:
        """The fields that are not at their defaults."""
        return {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if getattr(self, one.name) != getattr(DEFAULT_CONFIG, one.name)
        }


DEFAULT_CONFIG = ReadConfig()


def _misspelt(ours: str) -> str | None:
    """Return the name of a column of bars that is meant by one with its letters in another order, or nearly all."""
    if ours in ALIASES:
        return None
    same = [name for name in ALIASES if sorted(plain_name(ours)) == sorted(name)]
    return next(iter([*same, *get_close_matches(plain_name(ours), ALIASES, n=1, cutoff=0.9)]), None)
