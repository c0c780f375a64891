"""The verdict over all trials as text: the sentence, the counts, what may be missing, the best of them."""

from __future__ import annotations

from factor_experiments.compare_text import chance
from factor_experiments.gathering import Gathered
from factor_experiments.trials import Verdict
from factor_metrics.report.terminal import aligned
from factor_metrics.report.text import DASH, MINUS, number

HEAD = ("trial", "rank IC", "ICIR", "t", "p alone", "p (BH)")
MOST_ROWS = 15
"""Trials that a terminal lists; the page and JSON have all."""


def trials_text(gathered: Gathered, verdict: Verdict) -> str:
    """Return the verdict as plain text."""
    shown = rows(verdict)[:MOST_ROWS]
    parts = [aligned([HEAD, *shown], (0,))]
    if len(shown) < verdict.num_judged:
        parts.append(f"... and {verdict.num_judged - len(shown)} more")
    parts += ["", *count_lines(gathered, verdict), *(f"Missing? {why}" for why in gathered.missing)]
    text = "\n".join([*parts, "", verdict.sentence])
    return text.replace(MINUS, "-").replace(DASH, "-")


def rows(verdict: Verdict) -> list[tuple[str, ...]]:
    """Return the cells of every judged trial, best first."""
    found = verdict.selection.trials if verdict.selection else ()
    return [
        (
            one.name,
            number(one.mean),
            number(one.sharpe, 3),
            number(one.t_stat, 1),
            chance(one.p_value),
            chance(one.adjusted_p_value),
        )
        for one in found
    ]


def written_down(gathered: Gathered) -> str:
    """Say how many trials the ledger has learnt of now."""
    if gathered.unwritten:
        return f"{gathered.new} of them are not written down ({gathered.unwritten})"
    return f"{gathered.new} were written down now"


def count_lines(gathered: Gathered, verdict: Verdict) -> list[str]:
    """Return what was counted, and what was not, in a sentence each."""
    said = [
        f"{len(gathered.trials)} trials in the ledger, {gathered.gone} of them in no commit any more; "
        f"{written_down(gathered)}.",
        f"Judged on {verdict.num_dates} dates of {verdict.label}: {verdict.num_judged}.",
    ]
    if verdict.num_partial:
        said.append(f"Counted, not judged, since they have some of these dates or do not vary: {verdict.num_partial}.")
    if verdict.num_bare:
        said.append(f"Counted, not judged, since their series are lost: {verdict.num_bare}.")
    if verdict.num_elsewhere:
        said.append(f"On other dates alone, no look at these, not counted: {verdict.num_elsewhere}.")
    if any(gathered.queue.values()):
        counted = ", ".join(f"{number} {status}" for status, number in gathered.queue.items())
        said.append(f"Tasks of DVC's queue, not counted: {counted}.")
    return said
