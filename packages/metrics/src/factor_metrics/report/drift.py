"""The section of drift: what moved most between the dates that models learned from and those they were tested on."""

from __future__ import annotations

from collections.abc import Sequence

from factor_metrics.report.data import DriftRow, ReportData, finite
from factor_metrics.report.tables import num, pill, table, tr
from factor_metrics.report.text import esc, number

MOST_ROWS = 20
STABLE, SHIFTED = 0.1, 0.25
HEADINGS = {"input": "Inputs, test after training rows", "forecast": "Forecasts, test after valid dates"}
NOTE = (
    "Population stability index (below 0.1 stable, above 0.25 shifted, by the usual rule of thumb) and distance of "
    "Kolmogorov and Smirnov. Inputs are taken as computed, before the normaliser of the fold, which takes much of this "
    "away. p counts a date as one value, since its rows move together, and is corrected for all rows of its table, "
    "shown or not (Benjamini and Hochberg)."
)


def drift_html(data: ReportData) -> str:
    """Return a folded table of inputs and one of forecasts, the rows that moved most first; nothing without any."""
    parts = ""
    for what, heading in HEADINGS.items():
        rows = sorted((row for row in data.drift if row.what == what), key=_key)
        if rows:
            moved = sum(1 for row in rows if (finite(row.psi) or 0.0) > SHIFTED)
            counted = f"{moved} of {len(rows)} shifted; the {min(MOST_ROWS, len(rows))} that moved most are shown."
            parts += f'<details><summary>{heading}</summary><p class="note">{counted}</p>{_table(rows)}</details>'
    return f'<p class="note">{NOTE}</p>{parts}' if parts else ""


def _key(row: DriftRow) -> tuple[float, str, int]:
    value = finite(row.psi)
    return -1.0 if value is None else -value, row.name, row.fold


def _table(rows: Sequence[DriftRow]) -> str:
    body = [
        tr(
            esc(row.name),
            [
                num(f"{row.fold}"),
                num(number(row.psi, 3, sign=False)),
                num(number(row.distance, 3, sign=False)),
                num(number(row.adjusted_p_value, 3, sign=False)),
                f"<td>{_verdict(row)}</td>",
            ],
        )
        for row in rows[:MOST_ROWS]
    ]
    return table(["", "Fold", "PSI", "KS distance", "p, corrected", "Verdict"], body, text=(0, 5))


def _verdict(row: DriftRow) -> str:
    value = finite(row.psi)
    if value is None:
        return "not known"
    if value > SHIFTED:
        return pill("shifted", "fail")
    return pill("moved", "warn") if value > STABLE else pill("stable", "pass")
