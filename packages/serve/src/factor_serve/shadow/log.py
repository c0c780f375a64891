"""The log: a line of JSON for each date that was forecast, and for each label of a date once it is known.

Lines are appended and synced; each has the sha256 of its content, so a line that was changed is refused by its number.
One that a kill has cut off is the last, and is left out.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data.atomic import canonical_json
from factor_data.whole_file import room_told

FORECASTS, LABELS, SUM = "forecasts", "labels", "sha256"


@dataclass(eq=False)
class Log:
    """What a log holds: forecasts by date, labels by label and date, both by symbol."""

    forecasts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    labels: dict[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)

    @property
    def dates(self) -> list[str]:
        """Dates that were forecast, ascending."""
        return sorted(self.forecasts)

    @property
    def bundle(self) -> str | None:
        """Identity of the bundle that made the forecasts; None where there are none."""
        return next((str(one["bundle"]) for one in self.forecasts.values()), None)

    @property
    def label_names(self) -> list[str]:
        """Labels that are forecast, in the order of the bundle."""
        return list(self.overlaps)

    @property
    def overlaps(self) -> dict[str, int]:
        """Dates over which neighbouring labels overlap, by label in the order of the bundle."""
        first: Mapping[str, Any] = next(iter(self.forecasts.values()), {"labels": []})
        return {str(name): int(overlap) for name, overlap in first["labels"]}

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record; ValueError for one that is no record, comes twice, or is of another bundle."""
        if record.get("kind") == FORECASTS:
            if record["date"] in self.forecasts:
                raise ValueError(f"{record['date']} was forecast before")
            if self.bundle not in (None, record["bundle"]):
                raise ValueError(f"is of the bundle {record['bundle'][:12]}, lines before are of {self.bundle[:12]}")
            self.forecasts[record["date"]] = record
        elif record.get("kind") == LABELS:
            self.labels[record["label"], record["date"]] = dict(zip(record["symbols"], record["values"], strict=True))
        else:
            raise ValueError(f"kind {record.get('kind')!r}: must be {FORECASTS} or {LABELS}")

    def matrices(self, label: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return forecasts and labels (num_dates, num_symbols) by date of the log, NaN where unknown."""
        rows = [self.forecasts[date] for date in self.dates]
        symbols = sorted({symbol for row in rows for symbol in row["symbols"]})
        place = {symbol: number for number, symbol in enumerate(symbols)}
        said, came = np.full((2, len(rows), len(symbols)), np.nan)
        for number, row in enumerate(rows):
            said[number, [place[symbol] for symbol in row["symbols"]]] = np.array(row["forecasts"][label], dtype=float)
            for symbol, value in self.labels.get((label, row["date"]), {}).items():
                if symbol in place:
                    came[number, place[symbol]] = value
        return said, came


def read_log(path: Path) -> Log:
    """Return the records of a file; ValueError naming file, line and what is wrong with it."""
    log = Log()
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):  # behind the last line end is nothing, or a line that was cut off
        try:
            record = json.loads(line)
            said = record.pop(SUM, None)
            if said != _sum(record):
                raise ValueError("was changed after it was written: it does not match its sha256")
            log.add(record)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path}: line {number}: {error}") from None
    return log


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other processes from a log between reading and appending: both would log the same date, which is refused.

    The file is made where there is none. ValueError where another process holds it.
    """
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # freed by the system however this process ends
        except BlockingIOError:
            raise ValueError(f"{path}: another process writes it: wait until that has ended") from None
        yield


def append(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Append records in one write that is synced, behind the last whole line."""
    lines = b"".join(_line(record) for record in records)
    with room_told(path, None, len(lines)), path.open("ab+") as file:
        file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def _line(record: Mapping[str, Any]) -> bytes:
    return (canonical_json({**record, SUM: _sum(record)}) + "\n").encode()


def _sum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(record).encode()).hexdigest()
