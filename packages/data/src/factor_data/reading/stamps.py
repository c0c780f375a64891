"""Timestamps of a batch: the wall clock of each row and the zone it was given in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factor_data.reading.place import Place

ZONE_PATTERN = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(Z|UTC|[+-]\d{2}(?::?\d{2})?)\s*$"
DAY_PATTERN = r"\d{4}-?\d{2}-?\d{2}"
# datetime64[ns] ends in 2262 and numpy wraps around silently
EARLIEST, LATEST = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")


@dataclass(frozen=True)
class Stamps:
    """Each different stamp once, and which row has which: daily bars of a market have few different ones."""

    wall: NDArray[np.datetime64]  # (num_different,) datetime64[ns], the wall clock
    zone: NDArray[np.int64]  # (num_different,) index into zones
    zones: tuple[str | None, ...]  # as written: None, "Z", "-05:00", "America/New_York"
    code: NDArray[np.int64]  # (num_rows,) index into wall and zone
    written: NDArray[np.object_]  # (num_different,) how it is said in messages

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
        return _parse_text(place, different, code, name)
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    wall = pc.local_timestamp(different) if zone else different
    values = np.asarray(wall.to_numpy(zero_copy_only=False))
    no_zone = np.zeros(len(values), dtype=np.int64)
    return Stamps(_nanoseconds(place, values, code, name), no_zone, (zone,), code, values.astype(object))


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is one of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _parse_text(place: Place, different: pa.Array, code: NDArray[np.int64], name: str) -> Stamps:
    written = different.to_numpy(zero_copy_only=False).astype(object)
    text = pd.Series(written).str.strip()
    blank = (text == "").to_numpy()
    if blank.any():
        place.refuse(f"{name} is missing in", blank[code])
    zone_text = text.str.extract(ZONE_PATTERN, expand=False)
    zone, zones = pd.factorize(zone_text.to_numpy(dtype=object), use_na_sentinel=False)
    names = tuple(None if pd.isna(z) else str(z) for z in zones)
    length = np.array([len(n or "") for n in names])[zone]
    naive = [t[: len(t) - n].strip() for t, n in zip(text, length, strict=True)]
    parsed = pd.to_datetime(pd.Series(naive, dtype=object), format="ISO8601", errors="coerce")
    wrong = (parsed.isna() | ~text.str.match(DAY_PATTERN)).to_numpy(dtype=bool)
    if wrong.any():
        place.refuse(
            f"{name} is not ISO 8601 (as 2020-01-31 or 2020-01-31T09:35) in", wrong[code], written[code]
        )
    return Stamps(_nanoseconds(place, parsed.to_numpy(), code, name), zone, names, code, written)


def _nanoseconds(
    place: Place, wall: NDArray[np.datetime64], code: NDArray[np.int64], name: str
) -> NDArray[np.datetime64]:
    outside = (wall < EARLIEST) | (wall >= LATEST)
    if outside.any():
        place.refuse(f"{name} is not in the years 1678 to 2261 in", outside[code], wall.astype(str)[code])
    return wall.astype("datetime64[ns]")
