"""Walk-forward folds: which dates a model is fitted on, tuned on and scored on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from factor_data.atomic import write_json
from factor_data.panel import Panel

Segment = Literal["train", "valid", "test"]
SEGMENTS: tuple[Segment, ...] = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """Dates of one fold, each segment a sorted datetime64[ns] array; train < valid < test."""

    index: int
    train: NDArray[np.datetime64]
    valid: NDArray[np.datetime64]
    test: NDArray[np.datetime64]

    def dates(self, segment: Segment) -> NDArray[np.datetime64]:
        """Return the dates of a segment by its name."""
        if segment not in SEGMENTS:
            raise ValueError(f"segment must be one of {SEGMENTS}, got {segment!r}")
        return {"train": self.train, "valid": self.valid, "test": self.test}[segment]

    def rows(self, panel: Panel, segment: Segment) -> NDArray[np.bool_]:
        """Return the (num_rows,) mask of the panel's rows whose date is in the segment."""
        return np.isin(panel.dates, self.dates(segment))[panel.date_code]

    def describe(self) -> dict[str, str | int]:
        """Return the index and, per segment, its first date, last date and number of dates."""
        facts: dict[str, str | int] = {"fold": self.index}
        for segment in SEGMENTS:
            dates = self.dates(segment)
            facts[segment] = f"{_iso(dates[0])} .. {_iso(dates[-1])} ({len(dates)})"
        return facts


def walk_forward(
    dates: NDArray[np.datetime64],
    train: int,
    valid: int,
    test: int,
    step: int,
    purge: int,
    embargo: int,
    expanding: bool = False,
) -> list[Fold]:
    """Cut a calendar into folds that move forward in time.

    Fold k is laid out as ``train | purge | valid | purge | test`` and starts ``k * step`` dates after fold 0;
    with ``expanding`` its train range starts at the first date instead. Dates in a purge belong to no
    segment. From the train range the ``embargo`` dates right after each earlier fold's test range are taken
    out. Only folds whose test range fits in full are made.

    Parameters
    ----------
    dates : (num_dates,) datetime64, sorted and unique
    train, valid, test : int >= 1, number of dates of the ranges (train before the embargo is taken out)
    step : int >= 1, dates from one fold to the next
    purge, embargo : int >= 0, in dates. purge must be at least delay + horizon, see ``check_purge``
    expanding : grow the train range instead of moving it

    Returns
    -------
    list of Fold, at least one

    Raises
    ------
    ValueError on a length out of range, unsorted dates, or a history too short for one fold

    Examples
    --------
    >>> days = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]")
    >>> [f.test.astype("datetime64[D]").astype(str).tolist()
    ...  for f in walk_forward(days, train=3, valid=1, test=2, step=2, purge=1, embargo=0)]
    [['2020-01-07', '2020-01-08'], ['2020-01-09', '2020-01-10']]
    """
    calendar = np.asarray(dates).astype("datetime64[ns]")
    _check_lengths(train=train, valid=valid, test=test, step=step, purge=purge, embargo=embargo)
    if np.any(calendar[1:] <= calendar[:-1]):
        raise ValueError("dates must be sorted and unique")
    needed = train + purge + valid + purge + test
    if len(calendar) < needed:
        raise ValueError(
            f"history too short for one fold: train {train} + purge {purge} + valid {valid} + purge {purge} "
            f"+ test {test} need {needed} dates, {len(calendar)} are present"
        )
    folds: list[Fold] = []
    embargoed = np.zeros(len(calendar), dtype=bool)
    for index, start in enumerate(range(0, len(calendar) - needed + 1, step)):
        valid_start = start + train + purge
        test_start = valid_start + valid + purge
        first = 0 if expanding else start
        kept = ~embargoed[first : start + train]
        if not kept.any():
            raise ValueError(f"fold {index}: embargo {embargo} leaves none of the {len(kept)} train dates")
        folds.append(
            Fold(
                index=index,
                train=calendar[first : start + train][kept],
                valid=calendar[valid_start : valid_start + valid],
                test=calendar[test_start : test_start + test],
            )
        )
        embargoed[test_start + test : test_start + test + embargo] = True
    return folds


def _check_lengths(**lengths: int) -> None:
    for name, value in lengths.items():
        lowest = 0 if name in ("purge", "embargo") else 1
        if value < lowest:
            raise ValueError(f"{name} must be at least {lowest}, got {value}")


def check_purge(purge: int, horizons: Sequence[int], delay: int) -> None:
    """Refuse a purge that lets a training label reach into the next segment."""
    needed = max(horizons) + delay
    if purge < needed:
        raise ValueError(
            f"purge must be at least delay + longest horizon = {delay} + {max(horizons)} = {needed}, "
            f"got {purge}"
        )


def check_folds(panel: Panel, folds: Sequence[Fold]) -> None:
    """Refuse folds of which a segment has no bar in the panel."""
    occupied = panel.dates[np.unique(panel.date_code)]
    for fold in folds:
        for segment in SEGMENTS:
            dates = fold.dates(segment)
            if not np.isin(dates, occupied).any():
                span = f"{_iso(dates[0])} .. {_iso(dates[-1])}" if len(dates) else "no date"
                raise ValueError(f"fold {fold.index}: segment {segment} ({span}) has no bar in the panel")


def write_folds(path: str | Path, folds: Sequence[Fold]) -> None:
    """Write the dates of every fold as JSON; timestamps as ISO text."""
    content = [
        {"index": fold.index, **{segment: [_iso(d) for d in fold.dates(segment)] for segment in SEGMENTS}}
        for fold in folds
    ]
    write_json(path, {"folds": content})


def read_folds(path: str | Path) -> list[Fold]:
    """Read what ``write_folds`` wrote."""
    content = json.loads(Path(path).read_text())["folds"]
    return [
        Fold(
            index=fold["index"],
            **{segment: np.array(fold[segment], dtype="datetime64[ns]") for segment in SEGMENTS},
        )
        for fold in content
    ]


def _iso(date: np.datetime64) -> str:
    """Shortest exact ISO text: a date where the stamp is midnight, date and time otherwise."""
    day = date.astype("datetime64[D]")
    if day == date:
        return str(day)
    second = date.astype("datetime64[s]")
    return str(second) if second == date else str(date)
