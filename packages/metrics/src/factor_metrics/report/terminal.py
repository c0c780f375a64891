"""The results of a folder as a plain table for a terminal or a log."""

from __future__ import annotations

from collections.abc import Sequence

from factor_metrics.report.data import ResultRow, finite
from factor_metrics.report.folder import FolderResults
from factor_metrics.report.results import result_key
from factor_metrics.report.text import DASH, MINUS, interval, number

HEAD = (
    "forecast",
    "label",
    "rank IC",
    "interval",
    "t",
    "eff. dates",
    "best floor",
    "its IC",
    "difference",
    "interval",
    "",
)
LEFT = (0, 1, 6, 10)
MARKS = {"above": "", "unproven": "unproven", "below": "BELOW THE FLOOR"}


def terminal_table(results: FolderResults) -> str:
    """Return a line per forecast and label: rank IC, interval, t, effective dates, and the best floor beside it."""
    ordered = sorted(results.rows, key=lambda row: (results.labels.index(row.label), *result_key(row)))
    lines = [_cells(results, row) for row in ordered]
    text = aligned([HEAD, *lines], LEFT)
    if results.promoted is not None:
        text += "\nPromoted: every gate passed." if results.promoted else "\nNOT promoted: a gate failed."
    # A terminal or log is also searched and pasted: the plain sign.
    return f"{results.title}\n{text}".replace(MINUS, "-").replace(DASH, "-")


def _cells(results: FolderResults, row: ResultRow) -> tuple[str, ...]:
    name = f"floor: {row.name}" if row.kind == "floor" else row.name
    cells = (
        name,
        row.label,
        number(row.scores.rank_ic),
        interval(row.scores.ci_low, row.scores.ci_high),
        number(row.scores.t_stat, 1),
        number(row.scores.effective_dates, 0, sign=False),
    )
    best = results.best_floor(row.label)
    if row.kind == "floor" or best is None:
        return (*cells, "", "", "", "", "")
    pair = results.beside_best_floor(row)
    if pair is None:
        mark = MARKS["below"] if row.below_floor else ""
        return (*cells, best.name, number(best.scores.rank_ic), DASH, DASH, mark)
    difference = number(pair.difference) if finite(pair.difference) is not None else DASH
    bounds = interval(pair.low, pair.high)
    return (*cells, best.name, number(best.scores.rank_ic), difference, bounds, MARKS[pair.status])


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Return rows as text in columns, a line under the first one; columns in `left` are aligned to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
