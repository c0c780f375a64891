"""One fold: the dates of its segments and of what was left out between them; checks; JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from factor_data.atomic import write_json
from factor_data.inline import inline_html, inline_table
from factor_data.json_document import as_written, read_document

if TYPE_CHECKING:
    from factor_data.panel.panel import Panel

Segment = Literal["train", "valid", "test"]
SEGMENTS: tuple[Segment, ...] = ("train", "valid", "test")
LEFT_OUT = ("purge", "embargo")
Dates = NDArray[np.datetime64]


def _no_dates() -> Dates:
    return np.array([], dtype="datetime64[ns]")


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """Dates of one fold, each a sorted datetime64[ns] array; no date is in two of them.

    Walking forward, train < valid < test. In combinatorial purged cross-validation a segment consists of several
    ranges, training dates may come after tested ones, and valid may be empty. `purge` and `embargo` are the dates
    that were taken out of training or validation so that no label of one segment is made of prices of another.
    """

    index: int
    train: Dates
    valid: Dates
    test: Dates
    purge: Dates = field(default_factory=_no_dates)
    embargo: Dates = field(default_factory=_no_dates)

    def __repr__(self) -> str:
        spans = ", ".join(f"{name} {_span(self.dates(name))}" for name in SEGMENTS)
        return f"Fold({self.index}: {spans}, {len(self.purge)} purged, {len(self.embargo)} embargoed)"

    def _repr_html_(self) -> str:
        return FoldList([self])._repr_html_()

    def dates(self, segment: Segment) -> Dates:
        """Return the dates of a segment by its name."""
        if segment not in SEGMENTS:
            raise ValueError(f"segment must be one of {SEGMENTS}, got {segment!r}")
        return {"train": self.train, "valid": self.valid, "test": self.test}[segment]

    def rows(self, panel: Panel, segment: Segment) -> NDArray[np.bool_]:
        """Return the (num_rows,) mask of the panel's rows whose date is in the segment."""
        return np.isin(panel.dates, self.dates(segment))[panel.date_code]

    def describe(self) -> dict[str, str | int]:
        """Return one row of the table of folds.

        The index; per segment its first date, last date and number of dates; the numbers of dates purged and
        embargoed. An empty segment has empty text for its dates.
        """
        row: dict[str, str | int] = {"fold": self.index}
        for segment in SEGMENTS:
            dates = self.dates(segment)
            row[f"{segment}_first"] = iso(dates[0]) if len(dates) else ""
            row[f"{segment}_last"] = iso(dates[-1]) if len(dates) else ""
            row[f"{segment}_dates"] = len(dates)
        return row | {"purge_dates": len(self.purge), "embargo_dates": len(self.embargo)}


class FoldList(list[Fold]):
    """Folds in order: a list that a notebook shows as a table with a picture."""

    def __repr__(self) -> str:
        return "FoldList([\n" + "".join(f"  {fold!r},\n" for fold in self) + "])" if self else "FoldList([])"

    def _repr_html_(self) -> str:
        from factor_data.folds.picture import fold_picture

        if not self:
            return inline_html("Folds", {"folds": 0})
        calendar = np.unique(np.concatenate([getattr(fold, part) for fold in self for part in (*SEGMENTS, *LEFT_OUT)]))
        rows = [fold.describe() for fold in self]
        columns = [name.replace("_", " ") for name in rows[0]]
        table = inline_table(columns, [list(row.values()) for row in rows])
        facts = {"folds": len(self), "dates": len(calendar), "from": iso(calendar[0]), "to": iso(calendar[-1])}
        return inline_html("Folds", facts, fold_picture(self, calendar), table)


def check_folds(panel: Panel, folds: Sequence[Fold]) -> None:
    """Refuse folds of which a segment has no bar in the panel."""
    occupied = panel.dates[np.unique(panel.date_code)]
    for fold in folds:
        for segment in SEGMENTS:
            dates = fold.dates(segment)
            if not np.isin(dates, occupied).any():
                span = f"{iso(dates[0])} .. {iso(dates[-1])}" if len(dates) else "no date"
                raise ValueError(f"fold {fold.index}: segment {segment} ({span}) has no bar in the panel")


def check_tested_once(folds: Sequence[Fold]) -> None:
    """Refuse folds that test a date more than once: predictions of one date would then be counted twice."""
    tested: dict[np.datetime64, int] = {}
    for fold in folds:
        for date in fold.test:
            if date in tested:
                raise ValueError(f"{iso(date)} is tested in fold {tested[date]} and in fold {fold.index}")
            tested[date] = fold.index


def write_folds(path: str | Path, folds: Sequence[Fold]) -> None:
    """Write the dates of every fold as JSON; timestamps as ISO text."""
    content = [
        {
            "index": fold.index,
            **{name: [iso(date) for date in getattr(fold, name)] for name in (*SEGMENTS, *LEFT_OUT)},
        }
        for fold in folds
    ]
    write_json(path, {"folds": content})


def read_folds(path: str | Path) -> FoldList:
    """Read what `write_folds` wrote; ValueError naming the file, and the key that it lacks."""
    with as_written(path):
        return FoldList(
            Fold(
                index=fold["index"],
                **{name: _dates_of(fold[name]) for name in (*SEGMENTS, *LEFT_OUT)},
            )
            for fold in read_document(path)["folds"]
        )


def _dates_of(values: Any) -> Dates:
    dates = np.array(values, dtype="datetime64[ns]")
    if dates.ndim != 1:
        raise TypeError(f"dates must be a list, got {values!r}")
    return dates


def _span(dates: Dates) -> str:
    return f"{iso(dates[0])} .. {iso(dates[-1])} ({len(dates)})" if len(dates) else "none"


def iso(date: np.datetime64) -> str:
    """Shortest exact ISO text: a date where the stamp is midnight, date and time otherwise."""
    day = date.astype("datetime64[D]")
    if day == date:
        return str(day)
    second = date.astype("datetime64[s]")
    return str(second) if second == date else str(date)
