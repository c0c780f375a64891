"""How a CSV file is written: separator, lines before the names, signs in numbers; found out from its first lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

SEPARATORS = (",", ";", "\t", "|")
COMMENT = "#"
VALUE = re.compile(r"\s*(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}.*)?\s*")
MISSING_TEXT = ("", "nan", "NaN", "NAN", "null", "NULL", "NA", "N/A", "None")
FLAGS = ("true", "false")
MOST_SAMPLED = 50  # lines below the header that are looked at


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a CSV file is written."""

    separator: str = ","
    skip_lines: int = 0
    """Lines before the names, or before the values where `names` stands for a header."""
    names: tuple[str, ...] | None = None
    """Names of the columns where the file has no line of them that can be used as it is."""
    decimal: str = "."
    thousands: str = ""
    """Sign between groups of three digits; none: not written."""

    def plain_number(self, text: str) -> str:
        """Return a number as programs write it."""
        text = text.strip()
        if self.thousands:
            text = text.replace(self.thousands, "")
        return text if self.decimal == "." else text.replace(self.decimal, ".")


@dataclass(frozen=True)
class Head:
    """The first lines of a CSV file: how it is written, its names, and some rows below."""

    dialect: Dialect
    names: list[str]
    rows: list[list[str]]
    is_values: bool = False
    """True where the first line holds values: the file has no names."""

    def samples(self, column: int) -> list[str]:
        """The values of a column in the first rows that are not missing."""
        values = [row[column].strip() for row in self.rows if len(row) > column]
        return [value for value in values if value not in MISSING_TEXT]


def read_head(text: str, given: Dialect, separator: str | None, is_whole: bool) -> Head:
    """Find out how a file is written from its beginning `text`.

    Parameters
    ----------
    given : what is known of it; `names` and `skip_lines` are taken as they are
    separator : the sign between values; None: the one that parts the line of names most
    is_whole : whether `text` is all of the file: else its last line may be cut
    """
    lines = re.split(r"\r\n|\n|\r", text)
    if not is_whole and len(lines) > 1:
        lines.pop()
    at = given.skip_lines
    while at < len(lines) and (not lines[at].strip() or lines[at].lstrip().startswith(COMMENT)):
        at += 1
    if at >= len(lines):
        raise csv.Error("the file is empty")
    if separator is None:
        # the first sign wins where none parts the line more often than a comma does
        separator = max(SEPARATORS, key=lambda sign: len(fields_of(lines[at : at + 1], sign)[0]))
    dialect = replace(given, separator=separator, skip_lines=at)
    first = fields_of(lines[at : at + 1], separator)[0]
    below = at + (0 if given.names else 1)
    rows = fields_of([line for line in lines[below : below + MOST_SAMPLED] if line.strip()], separator)
    names = list(given.names) if given.names else first
    return Head(dialect, names, rows, is_values=not given.names and _are_values(first))


def fields_of(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Part lines into fields; a quoted field may go on in the next line."""
    if not any('"' in line for line in lines):  # the reader has a limit to the length of a field
        return [line.split(separator) for line in lines] or [[]]
    return list(csv.reader(lines, delimiter=separator)) or [[]]


def is_text_sample(dialect: Dialect, values: Sequence[str]) -> bool:
    """Return True for a column whose known values are all neither numbers nor flags."""
    return bool(values) and not any(
        VALUE.fullmatch(dialect.plain_number(value)) or value.lower() in (*FLAGS, "inf", "-inf", "infinity")
        for value in values
    )


def _are_values(fields: Sequence[str]) -> bool:
    """A line of five fields or more of which all but at most one, which may be a symbol, are numbers or dates."""
    known = [field for field in fields if field.strip()]
    return len(known) >= 5 and sum(not VALUE.fullmatch(field) for field in known) <= 1
