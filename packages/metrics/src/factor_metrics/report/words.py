"""The verdict and the summary of a report, told from its data in plain sentences; none of it is escaped yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from factor_metrics.report.data import FloorRow, ReportData, ResultRow, finite
from factor_metrics.report.text import number, percent

Tone = Literal["pass", "warn", "fail"]


def verdict(data: ReportData) -> tuple[Tone, str]:
    """Return the tone of the verdict and its text: on promotion, or of a model against its floors."""
    if data.promoted is None:
        return _floor_verdict(data.subject, [row for row in data.floors if row.name == data.subject])
    failed = [gate.full_name for gate in data.gates if not gate.passed]
    counted = f"{len(failed)} of {len(data.gates)} gates failed: {', '.join(failed)}"
    if data.promoted:
        return ("warn", f"Promoted, although {counted}") if failed else ("pass", "Promoted: every gate passed")
    if failed:
        return "fail", f"NOT promoted: {counted}"
    return "fail", "NOT promoted: no gate failed, but the run was held back"


def _floor_verdict(subject: str, rows: Sequence[FloorRow]) -> tuple[Tone, str]:
    if not rows:
        return "warn", f"{subject} was held against no floor"
    for status, tone, words in (
        ("below", "fail", f"{subject} is below a floor"),
        ("unproven", "warn", f"{subject} is not proven to be above a floor"),
    ):
        places = list(dict.fromkeys(row.label for row in rows if row.status == status))
        if places:
            return tone, f"{words} for {listed(places)}"  # type: ignore[return-value]
    return "pass", f"{subject} is above every floor for every label"


def listed(values: Sequence[object]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    texts = [str(value) for value in values]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def best_row(rows: Sequence[ResultRow], kind: str, label: str) -> ResultRow | None:
    """Return the row of one kind and label with the highest rank IC, or None."""
    found = [row for row in rows if row.kind == kind and row.label == label and finite(row.scores.rank_ic) is not None]
    return max(found, key=lambda row: (row.scores.rank_ic, row.name), default=None)


def summary_text(data: ReportData) -> str:
    """Return the summary paragraph."""
    labels = list(dict.fromkeys(row.label for row in data.rows))
    parts = [_label_sentence(data, label) for label in labels] or ["No forecast was scored."]
    below = sorted({row.name for row in data.rows if row.below_floor and row.kind != "floor"})
    if below:
        parts.append(f"Below the best floor for one label or more: {', '.join(below)}.")
    if data.gates:
        passed = sum(gate.passed for gate in data.gates)
        parts.append(f"{passed} of {len(data.gates)} gates passed.")
    return " ".join(parts)


def _label_sentence(data: ReportData, label: str) -> str:
    """Say in one plain sentence how the run did on one label."""
    stack, model = best_row(data.rows, "stack", label), best_row(data.rows, "model", label)
    lead = stack or model
    if lead is None:
        return f"On {label} no forecast has a rank IC."
    who = "the stack" if stack else lead.name if lead.name == data.subject else f"the best model ({lead.name})"
    text = f"On {label} {who} has a rank IC of {number(lead.scores.rank_ic, 3)}"
    low, high = finite(lead.scores.ci_low), finite(lead.scores.ci_high)
    if low is not None and high is not None:
        text += f" [{number(low, 3, sign=False)}, {number(high, 3, sign=False)}]"
    text += f" on {lead.scores.num_dates} dates"
    ratio = _attained_ratio(data, lead)
    if ratio is not None:
        text += f", attaining {percent(ratio, 0)} of what is attainable"
    others = []
    floor = best_row(data.rows, "floor", label)
    if stack and model:
        others.append(f"the best single model ({model.name}) has {number(model.scores.rank_ic, 3)}")
    if floor:
        others.append(f"the best floor ({floor.name}) has {number(floor.scores.rank_ic, 3)}")
    return text + (f"; {' and '.join(others)}." if others else ".")


def _attained_ratio(data: ReportData, row: ResultRow) -> float | None:
    """Return the attained share that belongs to a result row, or None."""
    for item in data.attained:
        if (item.name, item.label) == (row.name, row.label):
            return finite(item.ratio)
    return None
