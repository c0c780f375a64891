"""The names of a table's columns, and of CSV how it is written; no row is read but the first few."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factor_data.reading.config import ReadConfig
from factor_data.reading.dialect import Dialect, Head, is_text_sample, read_head
from factor_data.reading.listing import Listed
from factor_data.reading.notes import Notes
from factor_data.reading.raw import said_of
from factor_data.reading.sources import File
from factor_data.reading.stamps import is_text
from factor_data.reading.vendors import VENDORS

PANDAS_INDEX = r"__index_level_\d+__"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_HEADER = 2**20  # bytes
SAMPLED_BYTES = 2**16
MOST_COLUMNS = 5_000
FIELDS = frozenset(
    {"open", "high", "low", "close", "adj close", "volume", "dividends", "stock splits", "capital gains"}
)
PAIR = re.compile(r"\('(.*)', '(.*)'\)")  # what pandas makes of a column with two names


@dataclass(frozen=True)
class Header:
    """A table and the names of its columns.

    Attributes
    ----------
    dialect : how CSV is written, None of Parquet
    unfit : columns that can be no numbers -> why, as the type or a value says
    partitions : names and values of the folders `name=value` that the table lies in
    first : of CSV, the first known value of each column
    pairs : of a table with two names a column, as yfinance writes it: column -> (symbol, field)
    """

    file: File
    names: list[str]
    dialect: Dialect | None = None
    unfit: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    first: Mapping[str, str] = field(default_factory=dict)

    def require(self, *needed: str) -> None:
        """Refuse the file for the first column it lacks."""
        known = set(self.names)
        missing = [name for name in needed if name not in known]
        if missing:
            raise ValueError(
                f"{self.file}: column {missing[0]!r} is missing; needed are {list(needed)}, found {shown(self.names)}"
            )


def shown(names: list[str]) -> str:
    """The names of a table for a message, the first twenty of many."""
    return str(names) if len(names) <= 20 else f"{names[:20]} and {len(names) - 20:,} more"


def read_header(listed: Listed, config: ReadConfig, notes: Notes) -> Header:
    """Return the header of a file. A name twice is refused; the numbering that pandas adds to Parquet is no column."""
    file = listed.file
    with file.open() as opened, said_of(file):
        header = _of_parquet(file, opened) if file.is_parquet else _of_csv(file, opened, config, notes)
    if len(header.names) > MOST_COLUMNS:
        raise ValueError(f"{file}: has {len(header.names):,} columns, at most {MOST_COLUMNS:,} are read")
    repeated = sorted(name for name, count in Counter(header.names).items() if count > 1)
    if repeated:
        raise ValueError(f"{file}: columns repeat: {shown(repeated)}")
    return replace(header, partitions=listed.partitions)


def _of_parquet(file: File, opened: Any) -> Header:
    schema = pq.read_schema(opened)
    if len(schema) > MOST_COLUMNS:  # the types of so many are not looked at
        return Header(file, list(schema.names))
    names, unfit = [], {}
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        is_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        if re.fullmatch(PANDAS_INDEX, column.name) and not (is_time or is_text(kind)):
            continue
        names.append(column.name)
        if is_text(kind) or is_time or pa.types.is_binary(kind) or pa.types.is_nested(kind) or pa.types.is_time(kind):
            unfit[column.name] = f"type {kind}"
    found = {name: PAIR.fullmatch(name) for name in names}
    pairs = _pairs({name: (pair[1], pair[2]) for name, pair in found.items() if pair})
    return Header(file, names, unfit=unfit, pairs=pairs)


def _of_csv(file: File, opened: Any, config: ReadConfig, notes: Notes) -> Header:
    content = bytes(opened.read(SAMPLED_BYTES))
    if b"\n" not in content and b"\r" not in content:  # a longer line of names
        content += bytes(opened.read(LONGEST_HEADER))
    is_whole = not opened.read(1)
    text = content.removeprefix(BYTE_ORDER_MARK).decode("utf-8", errors="strict" if is_whole else "ignore")
    if text.count("\n") + text.count("\r") == 0 and not is_whole:
        raise csv.Error(f"the line of names is longer than {LONGEST_HEADER:,} bytes")
    head = read_head(text, config.dialect, config.separator, is_whole)
    if config.separator is None and head.dialect.separator != ",":
        notes.guess("sign between values", f"{head.dialect.separator!r} in {file.name}")
    if head.dialect.skip_lines > config.skip_lines and text.splitlines()[config.skip_lines].lstrip().startswith("#"):
        notes.guess("comment lines passed over", f"{head.dialect.skip_lines - config.skip_lines} in {file.name}")
    wide = _three_lines(file, head)
    if wide is not None:
        return wide
    if head.is_values:
        head = _named_by_vendor(file, head, config, notes)
    unfit: dict[str, str] = {}
    first: dict[str, str] = {}
    for position, name in enumerate(head.names[:MOST_COLUMNS]):
        values = head.samples(position)
        first |= {name: values[0]} if values else {}
        if is_text_sample(head.dialect, values):
            unfit[name] = f"text, as {values[0][:40]!r}"
    return Header(file, head.names, head.dialect, unfit, first=first)


def _named_by_vendor(file: File, head: Head, config: ReadConfig, notes: Notes) -> Head:
    """Names for a file whose first line holds values: those of the vendor that writes as many columns without names."""
    vendors = [config.vendor] if config.vendor else list(VENDORS)
    for vendor in vendors:
        for names in VENDORS[vendor].headers:
            if len(names) == len(head.names):
                if not config.vendor:
                    notes.guess("names of columns, as there is no line of them", f"{file.name} as of {vendor}")
                return replace(head, dialect=replace(head.dialect, names=names), names=list(names))
    raise ValueError(
        f"{file}: the first line holds values and no names of columns: {head.names[:8]}; say them with "
        f"names: [timestamp, open, high, low, close, volume] ({len(head.names)} are needed)"
    )


def _three_lines(file: File, head: Head) -> Header | None:
    """A table of pandas with two names a column: a line of prices, one of tickers, one with the name of the index."""
    if len(head.rows) < 2 or head.dialect.names is not None:
        return None
    first, second, third = head.names, head.rows[0], head.rows[1]
    if not len(first) == len(second) == len(third) > 1 or any(third[1:]) or not third[0].strip():
        return None
    names = [third[0], *(f"{one} {other}" for one, other in zip(first[1:], second[1:], strict=True))]
    pairs = _pairs(dict(zip(names[1:], zip(first[1:], second[1:], strict=True), strict=True)))
    if not pairs or len(set(names)) < len(names):
        return None
    dialect = replace(head.dialect, skip_lines=head.dialect.skip_lines + 3, names=tuple(names))
    return Header(file, names, dialect, pairs=pairs)


def _pairs(found: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Column -> (symbol, field), whichever comes first; none where neither of the two is a field of bars throughout."""
    for symbol, name in ((1, 0), (0, 1)):
        if found and all(pair[name].lower() in FIELDS for pair in found.values()):
            return {column: (pair[symbol], pair[name].lower()) for column, pair in found.items()}
    return {}
