"""Stamps of what arrives, by the importer's rule: all in one zone or in none, the wall clock is kept, never mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from factor_data.panel.stamps import as_stamps
from factor_data.reading.place import Place
from factor_data.reading.stamps import Stamps, offset_minutes, parse_stamps
from factor_data.reading.zones import OneZone

Zones = Mapping[str, str]
"""Zones in which stamps have come, as written ("" is none), each with the wall clock of its first stamp."""


def wall_clock(values: Any, name: str) -> tuple[NDArray[np.datetime64], NDArray[np.str_]]:
    """Return stamps by their wall clock, and the zone each is in as it was written, (num_rows,) both; "" is none.

    Text is read as the importer reads it, so offsets may differ only as the daylight saving of one exchange makes them
    differ. ValueError for two zones, for stamps with and without one side by side, and for what is no stamp.
    """
    series = pd.Series(values)
    if pd.api.types.infer_dtype(series, skipna=True) == "string":
        column = pa.chunked_array([pa.array(series, type=pa.string(), from_pandas=True)])
        stamps = parse_stamps(Place(name), column, "timestamp")
        OneZone().add(Place(name), stamps)
        written = np.array([zone or "" for zone in stamps.zones])
        return stamps.values, written[stamps.zone][stamps.code]
    found = as_stamps(values, f"{name}: timestamp")
    zone = getattr(series.dtype, "tz", None)
    if zone is None and len(series) and series.dtype == object:
        zone = getattr(series.iloc[0], "tzinfo", None)
    return found, np.full(len(found), "" if zone is None else str(zone).removeprefix("UTC") or "UTC")


def with_zones(known: Zones, stamps: NDArray[np.datetime64], zones: NDArray[np.str_], name: str) -> dict[str, str]:
    """Return the zones that were met with those of more stamps; ValueError where they are not one, or none.

    `stamps` and `zones` are (num_rows,), as from `wall_clock`.
    """
    names, first = np.unique(zones, return_index=True)
    met = {str(one): str(stamps[place]) for one, place in zip(names, first, strict=True)} | dict(known)
    if len(met) < 2 or not len(names):  # the usual case, which needs no look at the rules of daylight saving
        return met
    wall = np.r_[np.array(list(known.values()), dtype="datetime64[ns]"), stamps]
    every = np.r_[np.array(list(known), dtype=np.str_), zones]
    kinds, code = np.unique(every, return_inverse=True)
    minutes = [offset_minutes(kind) for kind in kinds.tolist()]
    OneZone().add(
        Place(name),
        Stamps(
            wall=wall,
            zone=code,
            zones=tuple(kind or None for kind in kinds.tolist()),
            code=np.arange(len(wall)),
            written=np.char.add(np.datetime_as_string(wall, unit="m"), every),
            offset=None if None in minutes else np.array(minutes, dtype=np.int64)[code],
        ),
    )
    return met


def check_one_clock(bars: Zones, news: Zones) -> None:
    """Refuse documents of another zone than the bars', where the bundle matches both by one clock; ValueError."""
    if any(bars) and any(news):
        with_zones(bars, np.array(list(news.values()), dtype="datetime64[ns]"), np.array(list(news)), "bars and news")


def without_zone(text: str, name: str) -> np.datetime64:
    """Return a date that was written as text; ValueError for none, and for one with a zone.

    Which zone the bars are in may not be known any more, so a date is matched with their wall clock.
    """
    try:
        stamps, zones = wall_clock([text], name)
    except ValueError as error:
        raise ValueError(f"{name} {text[:40]!r}: must be a date such as 2024-01-31 ({error})") from None
    if zones[0]:
        raise ValueError(f"{name} {text!r}: has a zone: a date is by the clock of the bars, leave {zones[0]} out")
    return stamps[0]
