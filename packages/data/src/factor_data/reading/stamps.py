"""Timestamps of a batch: the wall clock of each row and the zone it was given in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factor_data.reading.place import Place

# ISO 8601: a day, or a day and a time that may have a zone
STAMP = (
    r"^\s*(?P<day>\d{4}-\d{2}-\d{2}|\d{8})"
    r"(?:[T ](?P<time>\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)\s*(?P<zone>Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?\s*$"
)
# datetime64[ns] ends in 2262 and numpy wraps around silently
EARLIEST, LATEST = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")


@dataclass(frozen=True)
class Stamps:
    """Each different stamp once, and which row has which: daily bars of a market have few different ones."""

    wall: NDArray[np.datetime64]  # (num_different,) datetime64[ns], the wall clock
    zone: NDArray[np.int64]  # (num_different,) index into zones
    zones: tuple[str | None, ...]  # as written: None, "Z", "-05:00", "America/New_York"
    code: NDArray[np.int64]  # (num_rows,) index into wall and zone
    written: NDArray  # (num_different,) text or datetime64, for messages

    @property
    def values(self) -> NDArray[np.datetime64]:
        """(num_rows,) datetime64[ns]."""
        return self.wall[self.code]

    def first_row(self, zone: int) -> int:
        """The first row, counted from 0, with the zone of that index."""
        return int(np.argmax(self.zone[self.code] == zone))


def parse_stamps(place: Place, column: pa.ChunkedArray, name: str) -> Stamps:
    """Return the stamps of a column of ISO 8601 text, dates or timestamps. What is neither is refused."""
    if column.null_count:
        place.refuse(f"{name} is missing in", np.asarray(column.is_null()))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if not (is_text(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        place.refuse(f"{name} has type {kind}; give ISO 8601 text or a timestamp type")
    encoded = column.combine_chunks().dictionary_encode()
    different = encoded.dictionary
    code = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if is_text(kind):
        return _parse_text(place, different.cast(pa.string()), code, name)
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    wall = pc.local_timestamp(different) if zone else different
    values = np.asarray(wall.to_numpy(zero_copy_only=False))
    no_zone = np.zeros(len(values), dtype=np.int64)
    return Stamps(_nanoseconds(place, values, code, name), no_zone, (zone,), code, values)


def is_text(kind: pa.DataType) -> bool:
    """Return True if an Arrow type is one of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _parse_text(place: Place, different: pa.Array, code: NDArray[np.int64], name: str) -> Stamps:
    written = different.to_numpy(zero_copy_only=False).astype(object)
    blank = np.asarray(pc.equal(pc.utf8_trim_whitespace(different), ""))
    if blank.any():
        place.refuse(f"{name} is missing in", blank[code])
    parts = pc.extract_regex(different, STAMP)
    day = pc.replace_substring_regex(parts.field("day"), r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3")
    time = pc.if_else(pc.equal(parts.field("time"), ""), "00:00", parts.field("time"))
    text = pc.binary_join_element_wise(day, time, "T")
    try:  # where a stamp has not the form, parts and text are null
        wall = None if parts.null_count else text.cast(pa.timestamp("ns")).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        wall = None
    if wall is None:
        wall = _parse_one_by_one(place, text, parts, code, written, name)
    zones = parts.field("zone").dictionary_encode()
    names = tuple(zone or None for zone in zones.dictionary.to_pylist())
    return Stamps(wall, zones.indices.to_numpy(zero_copy_only=False).astype(np.int64), names, code, written)


def _parse_one_by_one(
    place: Place, text: pa.Array, parts: pa.Array, code: NDArray[np.int64], written: NDArray, name: str
) -> NDArray[np.datetime64]:
    """Say which stamps are no dates (as the 13th month), or lie where datetime64[ns] does not reach."""
    series = pd.Series(text.to_pylist(), dtype=object).where(~np.asarray(parts.is_null()), None)
    parsed = pd.to_datetime(series, format="ISO8601", errors="coerce")
    wrong = parsed.isna().to_numpy()
    if wrong.any():
        place.refuse(f"{name} is not ISO 8601 (as 2020-01-31 or 2020-01-31T09:35) in", wrong[code], written[code])
    return _nanoseconds(place, parsed.to_numpy(), code, name)


def _nanoseconds(
    place: Place, wall: NDArray[np.datetime64], code: NDArray[np.int64], name: str
) -> NDArray[np.datetime64]:
    outside = (wall < EARLIEST) | (wall >= LATEST)
    if outside.any():
        place.refuse(f"{name} is not in the years 1678 to 2261 in", outside[code], wall[code].astype(str).tolist())
    return wall.astype("datetime64[ns]")
