"""Timestamps of a batch: the wall clock of each row and the zone it was given in."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factor_data.reading.clock import ISO_CLOCK, Clock, Unit
from factor_data.reading.place import Place

# ISO 8601, or year/month/day with an hour of one digit: a day, or a day and a time that may have a zone
STAMP = (
    r"^\s*(?P<day>\d{4}-\d{1,2}-\d{1,2}|\d{4}/\d{1,2}/\d{1,2}|\d{8})"
    r"(?:[T ](?P<time>\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)\s*"
    r"(?P<zone>Z|UTC|[+-](?:0\d|1[0-5])(?::?[0-5]\d)?)?)?\s*$"  # no zone is 16 hours from UTC
)
DIGITS = r"^\s*(\d{1,7}|\d{9,19})\s*$"  # eight are a day
# how many digits stamps as numbers have: an epoch from 2001 to 2286, or a date written without signs
EPOCH_DIGITS: dict[int, Unit] = {10: "s", 13: "ms", 16: "us", 19: "ns"}
DATE_DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
NANOSECONDS: dict[Unit, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
MINUTE = 60 * 10**9
HOW_TO_SAY = "say time_unit (s, ms, us or ns since 1970) or time_format"
# datetime64[ns] ends in 2262 and numpy wraps around silently
EARLIEST, LATEST = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")


@dataclass(frozen=True)
class Stamps:
    """Each different stamp once, and which row has which: daily bars of a market have few different ones."""

    wall: NDArray[np.datetime64]  # (num_different,) datetime64[ns], the wall clock
    zone: NDArray[np.int64]  # (num_different,) index into zones
    zones: tuple[str | None, ...]  # as written: None, "Z", "-05:00", "America/New_York"
    code: NDArray[np.int64]  # (num_rows,) index into wall and zone
    written: NDArray  # (num_different,) text, numbers or datetime64, for messages
    offset: NDArray[np.int64] | None = None  # (num_different,) minutes from UTC, where that is known

    @property
    def values(self) -> NDArray[np.datetime64]:
        """(num_rows,) datetime64[ns]."""
        return self.wall[self.code]

    def first_row(self, zone: int) -> int:
        """The first row, counted from 0, with the zone of that index."""
        return int(np.argmax(self.zone[self.code] == zone))


def parse_stamps(place: Place, column: pa.ChunkedArray, name: str, clock: Clock = ISO_CLOCK) -> Stamps:
    """Return the stamps of a column of text, dates, timestamps or whole numbers. What is none of these is refused.

    One rule for all readers: the wall clock is kept as it is written, beside its zone; a number whose digits do not say
    what it counts is no date; numbers since 1970 are in UTC.
    """
    if column.null_count:
        place.refuse(f"{name} is missing in", np.asarray(column.is_null()))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if not (is_text(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
        place.refuse(f"{name} has type {kind}; give ISO 8601 text, a timestamp type or whole numbers")
    encoded = column.combine_chunks().dictionary_encode()
    different = encoded.dictionary
    code = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_integer(kind):
        return in_zone(place, _parse_digits(place, different.cast(pa.string()), code, name, clock), clock)
    if is_text(kind):
        return in_zone(place, _parse_text(place, different.cast(pa.string()), code, name, clock), clock)
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    wall = _local(place, different, name) if zone else different
    values = np.asarray(wall.to_numpy(zero_copy_only=False))
    no_zone = np.zeros(len(values), dtype=np.int64)
    nanoseconds = _nanoseconds(place, values, code, name)
    offset = None
    if zone:
        instants = different.cast(pa.timestamp(kind.unit)).to_numpy(zero_copy_only=False).astype("datetime64[ns]")
        offset = (nanoseconds - instants).astype(np.int64) // MINUTE
    return in_zone(place, Stamps(nanoseconds, no_zone, (zone,), code, values, offset), clock)


def _local(place: Place, different: pa.Array, name: str) -> pa.Array:
    """The wall clock of stamps with a zone."""
    try:
        return pc.local_timestamp(different)
    except pa.ArrowInvalid:
        place.refuse(f"{name} has the time zone {different.type.tz!r}, which is none")
        raise


def in_zone(place: Place, stamps: Stamps, clock: Clock) -> Stamps:
    """The stamps by the clock of the zone that is wanted; those without a zone stay, and are said to have none."""
    if clock.zone is None or stamps.zones == (None,) or stamps.offset is None:
        return stamps
    utc = pd.DatetimeIndex(stamps.wall - (stamps.offset * MINUTE).astype("timedelta64[ns]")).tz_localize("UTC")
    wall = utc.tz_convert(clock.zone).tz_localize(None).to_numpy().astype("datetime64[ns]")
    offset = (wall - utc.tz_localize(None).to_numpy()).astype(np.int64) // MINUTE
    return Stamps(wall, np.zeros_like(stamps.zone), (clock.zone,), stamps.code, stamps.written, offset)


def offset_minutes(zone: str | None) -> int | None:
    """Minutes from UTC of a zone that is written as an offset, None of any other."""
    if zone in ("Z", "UTC"):
        return 0
    found = re.fullmatch(r"([+-])(\d{2}):?(\d{2})?", zone or "")
    if not found:
        return None
    minutes = int(found[2]) * 60 + int(found[3] or 0)
    return -minutes if found[1] == "-" else minutes


def is_text(kind: pa.DataType) -> bool:
    """Return True if an Arrow type is one of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _parse_text(place: Place, different: pa.Array, code: NDArray[np.int64], name: str, clock: Clock) -> Stamps:
    written = different.to_numpy(zero_copy_only=False).astype(object)
    blank = np.asarray(pc.equal(pc.utf8_trim_whitespace(different), ""))
    if blank.any():
        place.refuse(f"{name} is missing in", blank[code])
    if clock.format is not None:
        return _without_zone(place, _by_format(place, written, code, name, clock.format), code, written, name)
    if clock.unit is not None or (len(different) and pc.all(pc.match_substring_regex(different, DIGITS)).as_py()):
        return _parse_digits(place, pc.utf8_trim_whitespace(different), code, name, clock)
    parts = pc.extract_regex(different, STAMP)
    day = pc.replace_substring_regex(parts.field("day"), r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3")
    day = pc.replace_substring_regex(day, "/", "-")
    time = pc.if_else(pc.equal(parts.field("time"), ""), "00:00", parts.field("time"))
    for single, double in ((r"-(\d)(-|$)", r"-0\1\2"), (r"-(\d)$", r"-0\1")):
        day = pc.replace_substring_regex(day, single, double)
    text = pc.binary_join_element_wise(day, pc.replace_substring_regex(time, r"^(\d):", r"0\1:"), "T")
    try:  # where a stamp has not the form, parts and text are null
        wall = None if parts.null_count else text.cast(pa.timestamp("ns")).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        wall = None
    if wall is None:
        wall = _parse_one_by_one(place, text, parts, code, written, name)
    zones = parts.field("zone").dictionary_encode()
    names = tuple(zone or None for zone in zones.dictionary.to_pylist())
    zone = zones.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    minutes = np.array([offset_minutes(one) or 0 for one in names], dtype=np.int64)
    offset = None if None in names else minutes[zone]
    return Stamps(wall, zone, names, code, written, offset)


def _without_zone(
    place: Place, wall: NDArray[np.datetime64], code: NDArray[np.int64], written: NDArray, name: str
) -> Stamps:
    return Stamps(_nanoseconds(place, wall, code, name), np.zeros(len(wall), dtype=np.int64), (None,), code, written)


def _by_format(place: Place, written: NDArray, code: NDArray[np.int64], name: str, form: str) -> NDArray[np.datetime64]:
    parsed = pd.to_datetime(pd.Series(written, dtype=object).str.strip(), format=form, errors="coerce")
    wrong = parsed.isna().to_numpy()
    if wrong.any():
        place.refuse(f"{name} is not written as time_format {form!r} in", wrong[code], written[code])
    return parsed.to_numpy()


def _parse_digits(place: Place, different: pa.Array, code: NDArray[np.int64], name: str, clock: Clock) -> Stamps:
    """Stamps that are whole numbers: since 1970 in UTC, or dates without signs; by their digits if nobody says it."""
    written = different.to_numpy(zero_copy_only=False).astype(object)
    if clock.format is not None:
        return _without_zone(place, _by_format(place, written, code, name, clock.format), code, written, name)
    wrong = ~np.asarray(pc.match_substring_regex(different, r"^-?\d{1,19}$"), dtype=bool)
    if wrong.any():
        place.refuse(f"{name} must be whole numbers, is not in", wrong[code], written[code])
    unit = clock.unit
    if unit is None:
        lengths = {len(number) for number in written}
        length = lengths.pop() if len(lengths) == 1 else 0
        if length in DATE_DIGITS:
            form = DATE_DIGITS[length]
            return _without_zone(place, _by_format(place, written, code, name, form), code, written, name)
        if length not in EPOCH_DIGITS:
            place.refuse(f"{name} is a number, as {written[0]}, and its digits do not say what it counts: {HOW_TO_SAY}")
        unit = EPOCH_DIGITS[length]
        if unit == "s" and int(max(written)) >= 1_970_000_000:
            place.refuse(f"{name} as {max(written)} may be seconds or yyyymmddHH: {HOW_TO_SAY}")
    numbers = [int(number) * NANOSECONDS[unit] for number in written]
    outside = np.array([abs(number) >= 2**63 for number in numbers], dtype=bool)
    if outside.any():
        place.refuse(f"{name} in {unit} is not in the years 1678 to 2261 in", outside[code], written[code])
    wall = np.array(numbers, dtype=np.int64).view("datetime64[ns]")
    zero = np.zeros(len(wall), dtype=np.int64)
    return Stamps(_nanoseconds(place, wall, code, name), zero, ("UTC",), code, written, zero)


def _parse_one_by_one(
    place: Place, text: pa.Array, parts: pa.Array, code: NDArray[np.int64], written: NDArray, name: str
) -> NDArray[np.datetime64]:
    """Say which stamps are no dates (as the 13th month), or lie where datetime64[ns] does not reach."""
    series = pd.Series(text.to_pylist(), dtype=object).where(~np.asarray(parts.is_null()), None)
    parsed = pd.to_datetime(series, format="ISO8601", errors="coerce")
    wrong = parsed.isna().to_numpy()
    if wrong.any():
        place.refuse(
            f"{name} is not ISO 8601 (as 2020-01-31 or 2020-01-31T09:35) in",
            wrong[code],
            written[code],
            rule="other forms are read with time_format, as '%d.%m.%Y'",
        )
    return _nanoseconds(place, parsed.to_numpy(), code, name)


def _nanoseconds(
    place: Place, wall: NDArray[np.datetime64], code: NDArray[np.int64], name: str
) -> NDArray[np.datetime64]:
    own = wall.dtype  # in another unit stamps may wrap around before they are compared
    outside = (wall < EARLIEST.astype(own)) | (wall >= LATEST.astype(own))
    if outside.any():
        place.refuse(f"{name} is not in the years 1678 to 2261 in", outside[code], wall[code].astype(str).tolist())
    return wall.astype("datetime64[ns]")
