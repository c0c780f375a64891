"""To which bar a document belongs: the first one of its symbol whose cut-off is not before the document's stamp.

Stamps and cut-offs are compared as instants. Where a clock was set back and a wall-clock time happened twice, a
document is taken to be the later one and a cut-off the earlier one, so that no document is used too early.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.panel.panel import Panel
from factor_data.panel.stamps import as_stamps


@dataclass(frozen=True, kw_only=True)
class NewsClock:
    """Until when news counts for a bar, and on which clocks the two are stamped."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    cutoff_minutes: int = 0
    """Minutes after a bar's timestamp until which news still belong to it: 960 for days from 00:00 that close 16:00."""
    stamp_zone: str | None = None
    """Time zone of the news stamps, as UTC; None: the clock of the bars. Both zones or neither."""
    market_zone: str | None = None
    """Time zone of the bars' timestamps and the cut-off, as America/New_York."""

    def __post_init__(self) -> None:
        if not 0 <= self.cutoff_minutes < 24 * 60:
            raise ValueError(f"cutoff_minutes must lie in [0, 1440), got {self.cutoff_minutes}")
        if (self.stamp_zone is None) != (self.market_zone is None):
            raise ValueError(
                f"stamp_zone ({self.stamp_zone}) and market_zone ({self.market_zone}) go together: "
                "give both, or neither if news and bars are stamped by one clock"
            )
        for name in ("stamp_zone", "market_zone"):
            _check_zone(name, getattr(self, name))


class DocumentRows(NamedTuple):
    """The documents that belong to a bar.

    row : (num_kept,) int64 panel row
    waited : (num_kept,) int64 calendar positions from the first date that could know it to the row's: more than 0
        where the symbol had no bar
    kept : (num_kept,) int64 positions in the news
    """

    row: NDArray[np.int64]
    waited: NDArray[np.int64]
    kept: NDArray[np.int64]


def document_rows(news: pd.DataFrame, panel: Panel, clock: NewsClock) -> DocumentRows:
    """Find the panel row each document belongs to.

    A document stamped exactly at the cut-off still belongs. Documents of symbols that the panel has not, or after a
    symbol's last cut-off, belong to no row and are left out; those before the first bar belong to the first.
    """
    stamps, cutoffs = _instants(as_stamps(news["timestamp"], "timestamp of the news"), panel.dates, clock)
    date = np.searchsorted(cutoffs, stamps, side="left")
    names = news["symbol"].to_numpy(dtype=object).astype(np.str_)
    symbol = np.searchsorted(panel.symbols, names)
    known = (date < panel.num_dates) & (symbol < panel.num_symbols)
    known[known] = panel.symbols[symbol[known]] == names[known]
    row = np.searchsorted(panel.row_key, symbol * panel.num_dates + date)
    known &= row < panel.num_rows
    known[known] = panel.symbol_code[row[known]] == symbol[known]
    kept = np.flatnonzero(known)
    waited = panel.date_code[row[kept]] - date[kept]
    return DocumentRows(row[kept].astype(np.int64), waited.astype(np.int64), kept)


@dataclass(frozen=True, kw_only=True)
class NewsCoverage:
    """Counts of documents by their fate."""

    documents: int
    unknown_symbol: int
    """Documents of symbols without a bar in the panel."""
    after_last_bar: int
    """Known too late for any bar of their symbol."""
    forgotten: int
    """Older than `memory` dates at the first bar that could know them: before a listing, in a suspension."""
    used: int


def news_coverage(news: pd.DataFrame, panel: Panel, clock: NewsClock, memory: int | None = None) -> NewsCoverage:
    """Count the documents that some row knows and those that none does; `memory` None: nothing is forgotten."""
    _, waited, kept = document_rows(news, panel, clock)
    with_bars = panel.symbols[np.unique(panel.symbol_code)]
    unknown = int((~news["symbol"].isin(list(with_bars))).sum())
    forgotten = 0 if memory is None else int((waited >= memory).sum())
    return NewsCoverage(
        documents=len(news),
        unknown_symbol=unknown,
        after_last_bar=len(news) - unknown - len(kept),
        forgotten=forgotten,
        used=len(kept) - forgotten,
    )


def _instants(
    stamps: NDArray[np.datetime64], dates: NDArray[np.datetime64], clock: NewsClock
) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    """Stamps of the documents and cut-offs of the dates, on one clock that never steps back."""
    cutoffs = dates + np.timedelta64(clock.cutoff_minutes, "m")
    if clock.stamp_zone is None or clock.market_zone is None:
        return stamps, cutoffs
    return _to_utc(stamps, clock.stamp_zone, later=True), _to_utc(cutoffs, clock.market_zone, later=False)


def _to_utc(wall_clock: NDArray[np.datetime64], zone: str, *, later: bool) -> NDArray[np.datetime64]:
    """Instants of wall-clock times; of a time that came twice the later or the earlier one.

    A time that was skipped when the clock was set forward is moved out of the gap to the same side.
    """
    is_summer_time = np.full(len(wall_clock), not later)  # of the two, summer time comes first
    local = pd.DatetimeIndex(wall_clock).tz_localize(
        ZoneInfo(zone), ambiguous=is_summer_time, nonexistent="shift_forward" if later else "shift_backward"
    )
    return local.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ns]")


def _check_zone(name: str, zone: str | None) -> None:
    if zone is None:
        return
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name}: no time zone {zone!r}; give a name as UTC or America/New_York") from error
