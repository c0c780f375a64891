"""One time zone for everything that is read together, or none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.reading.place import Place
from factor_data.reading.stamps import Stamps, offset_minutes

HOUR = 3_600_000_000_000  # in nanoseconds
# Zones of exchanges, one for each rule of daylight saving
EXCHANGE_ZONES = (
    "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Halifax",
    "America/Sao_Paulo", "America/Santiago", "America/Mexico_City", "Europe/London", "Europe/Berlin",
    "Europe/Helsinki", "Europe/Moscow", "Europe/Istanbul", "Asia/Jerusalem", "Australia/Sydney",
    "Pacific/Auckland",
)  # fmt: skip
Key = int | str | None  # an offset in minutes, the name of a zone, or none


@dataclass(frozen=True)
class _Seen:
    path: str
    row: int
    zone: str | None
    written: str


@dataclass
class OneZone:
    """Takes the stamps of batch after batch and refuses a second zone.

    Offsets may differ only as the daylight saving of one exchange makes them differ: a vendor that writes
    -05:00 in winter and -04:00 in summer is read, and the zone is then America/New_York. To know this it is
    enough to keep at which hours each offset was written.
    """

    seen: dict[Key, _Seen] = field(default_factory=dict)
    hours: dict[Key, list[NDArray[np.int64]]] = field(default_factory=dict)
    candidates: tuple[str, ...] = EXCHANGE_ZONES
    met: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    """Hours of the wall clock at which each offset from UTC was met."""

    @property
    def zone(self) -> str | None:
        """The zone so far: as it was written, or the exchange zone that explains all offsets."""
        if len(self.seen) > 1:
            return self.candidates[0]
        return next(iter(self.seen.values())).zone if self.seen else None

    def add(self, place: Place, stamps: Stamps) -> str | None:
        """Take a batch and return the zone so far."""
        for index, zone in enumerate(stamps.zones):
            key = _key(zone)
            if key not in self.seen:
                row = stamps.first_row(index)
                written = str(stamps.written[stamps.code[row]])
                self.seen[key] = _Seen(place.path, place.first_row + row, zone, written)
                if len(self.seen) > 1 and not all(isinstance(known, int) for known in self.seen):
                    self._refuse()
            if isinstance(key, int):
                wall = stamps.wall[stamps.zone == index].astype(np.int64)
                self._add_hours(key, np.unique(wall // HOUR))
        if stamps.offset is not None:
            self._refuse_hours_twice(place, stamps.wall, stamps.offset)
        return self.zone

    def _refuse_hours_twice(self, place: Place, wall: NDArray[np.datetime64], offset: NDArray[np.int64]) -> None:
        """Where daylight saving ends an hour comes twice: on the wall clock two bars would be one."""
        hours = wall.astype(np.int64) // HOUR
        for minutes in np.unique(offset).tolist():
            own = np.unique(hours[offset == minutes])
            known = self.met.get(minutes)
            self.met[minutes] = own if known is None else np.union1d(known, own)
            for other, there in self.met.items():
                twice = np.intersect1d(own, there) if other != minutes else own[:0]
                if len(twice):
                    hour = np.datetime64(int(twice[0]) * HOUR, "ns").astype("datetime64[m]")
                    raise ValueError(
                        f"{place.path}: the hour from {hour} comes twice, as daylight saving ends"
                        f"{f' in {self.zone}' if self.zone else ''}: bars would share stamps; read them by a clock "
                        "without daylight saving: time_zone: UTC (--time-zone UTC)"
                    )

    def _add_hours(self, offset: int, hours: NDArray[np.int64]) -> None:
        self.hours.setdefault(offset, []).append(hours)
        if len(self.hours) < 2:
            return
        self.candidates = tuple(
            zone
            for zone in self.candidates
            if all(_explains(zone, key, np.concatenate(parts)) for key, parts in self.hours.items() if parts)
        )
        self.hours = {key: [] for key in self.hours}  # from here on only what is new must be looked at
        if not self.candidates:
            self._refuse()

    def _refuse(self) -> None:
        first, second = list(self.seen.values())[-2:]
        rule = "all timestamps must share one zone, or have none"
        if first.path == second.path:
            raise ValueError(
                f"{first.path}: time zones differ between rows: row {first.row} is {first.written!r}, "
                f"row {second.row} is {second.written!r}; {rule}"
            )
        raise ValueError(
            f"time zones differ between files: {first.path} has {first.zone or 'none'}, "
            f"{second.path} has {second.zone or 'none'}; {rule}"
        )


def _key(zone: str | None) -> Key:
    minutes = offset_minutes(zone)
    return zone if minutes is None else minutes


def _explains(zone: str, offset: Key, hours: NDArray[np.int64]) -> bool:
    """Return True if a zone has that offset (minutes) at all these hours of its wall clock."""
    wall = pd.DatetimeIndex(hours * HOUR)
    utc = (wall - pd.Timedelta(minutes=int(offset or 0))).tz_localize("UTC")
    return bool((utc.tz_convert(zone).tz_localize(None) == wall).all())
