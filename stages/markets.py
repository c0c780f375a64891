"""Markets with dates of their own, as split finds and tells of them: on their dates delay and horizons are counted."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from factor_data import Labels, Markets, SavedPanel, find_markets, lost_labels, named_markets, write_markets
from factor_data.panel.markets import Rows
from stages.running.stage import StageError

FEW = 0.03
"""Share of labels that may be lost without a word."""


def assign_markets(panel: SavedPanel, folder: Path, calendars: Mapping[str, Sequence[str]]) -> SavedPanel:
    """The panel saved in `folder` with its markets, named or found; they are told of where they are several."""
    markets = markets_of(panel.rows, calendars)
    write_markets(folder, markets)
    if len(markets.names) > 1:
        print(f"{len(markets.names)} markets count bars on dates of their own (split.calendars):", file=sys.stderr)
        print("\n".join(f"  {line}" for line in markets.describe()), file=sys.stderr)
    return replace(panel, known_markets=markets)


def markets_of(rows: Rows, calendars: Mapping[str, Sequence[str]]) -> Markets:
    """The markets that are named, else those that are found."""
    try:
        return named_markets(rows, calendars) if calendars else find_markets(rows)
    except ValueError as error:
        raise StageError(f"params.yaml: split.{error}") from None


def tell_lost_labels(panel: SavedPanel, labels: Labels) -> None:
    """Warn where labels are lost because entry or exit falls on a date on which only other symbols have a bar."""
    lost = {
        name: lost_labels(panel.rows, panel.markets, label.delay, label.horizon)
        for name, label in labels.items()
        if label.horizon is not None
    }
    name = max(lost, key=lambda one: lost[one][0], default=None)
    if name is None:
        return
    share, symbol, most = lost[name]
    if share > FEW:
        print(
            f"warning: {share:.0%} of the labels {name} are unknown: the symbol has no bar at entry or "
            f"exit, others of its market have; most of {symbol}, {most:.0%}. Where exchanges have holidays or hours of "
            "their own, name their symbols in split.calendars, and bars are counted on their own dates",
            file=sys.stderr,
        )


def checked_reach(panel: SavedPanel, purge: int | None, bars: int) -> int:
    """Return how many dates of the panel a label of so many bars reaches; StageError where the purge is shorter."""
    reach = panel.markets.reach(bars)
    if purge is not None and bars <= purge < reach:
        raise StageError(
            f"params.yaml: split.folds.purge: {purge} must be at least {reach}, the dates of all markets that lie "
            f"between a date and the one {bars} dates of its own market later; null takes the least"
        )
    return reach
