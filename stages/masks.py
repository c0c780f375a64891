"""What cleaning masks, as split tells of it: the rule, its count, and the line that keeps the bars it hits."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from factor_data import SEGMENTS, Fold, QualityReport, SavedPanel, SortedBars, Workers
from stages.params.split import SplitParams
from stages.running.stage import StageError

READ_BYTES = 16  # of a row while it is counted, about


def check_volume(bars: SortedBars, params: SplitParams) -> None:
    """Ask whether a market without volume has none, and say where amount is not looked at."""
    if "volume" in bars.facts.silent and params.clean.actions.get("suspended") != "flag":
        raise StageError(
            f"volume is 0 or less in all {bars.num_rows:,} bars: the rule 'suspended' would mask them all; "
            f"if this market has no volume (FX, indices), say so: {cure('suspended')}"
        )
    if "amount" in bars.facts.silent:
        print("amount is 0 or less in every bar: taken as not reported, no bar is suspended for it", file=sys.stderr)


def check_any_left(quality: QualityReport) -> None:
    """Refuse cleaning that leaves no bar in the universe: no label would be known."""
    if quality.summary["bars_in_universe"] == 0:
        raise StageError(f"no bar of {quality.summary['bars_in']:,} is left in the universe: {masked_by(quality)}")


def check_folds_left(folds: Sequence[Fold], panel: SavedPanel, quality: QualityReport, workers: Workers) -> None:
    """Refuse a fold that trains, chooses or tests on dates of which cleaning has left no bar in the universe."""
    per_date = np.zeros(len(panel.dates), dtype=np.int64)
    for part in panel.symbol_parts(workers.rows(READ_BYTES)):
        codes = panel.date_code.gather(part)[panel.in_universe(part)]
        per_date += np.bincount(codes, minlength=len(per_date))
    for fold in folds:
        for segment in SEGMENTS:
            dates = fold.dates(segment)
            if len(dates) and not per_date[np.isin(panel.dates, dates)].any():
                raise StageError(
                    f"fold {fold.index}: no bar of its {len(dates)} {segment} dates, {dates[0]!s:.10} to "
                    f"{dates[-1]!s:.10}, is left in the universe: {masked_by(quality)}"
                )


def masked_by(quality: QualityReport) -> str:
    """The rules that took bars out of the universe, each with its count and what to write instead."""
    said = [
        f"{rule.name} masks {rule.count:,} ({rule.description}), cure: "
        + (
            f"a lower split.clean.min_history, or {cure(rule.name)}"
            if rule.name == "short_history"
            else cure(rule.name)
        )
        for rule in quality.largest_masks()
    ]
    return "; ".join(said)


def cure(rule: str) -> str:
    """The line that keeps the bars a rule hits."""
    return f"split.clean.actions: {{{rule}: flag}}"
