"""The self-contained HTML report of one ensemble forecasting run.

``build_report`` turns plain data into one HTML string: styles, scripts and chart data are all inside, so the
file opens without a network. The same data always gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics import report_charts, report_tables
from factor_metrics.gates import Gate
from factor_metrics.report_style import CSS, esc, number, percent


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """The out-of-sample scores of one model, stack or floor at one horizon."""

    name: str
    kind: Literal["model", "stack", "floor"]
    horizon: int
    rank_ic: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    t_stat: float | None = None
    icir: float | None = None
    ic: float | None = None
    hit_rate: float | None = None
    spread: float | None = None
    turnover: float | None = None
    num_dates: int = 0
    below_floor: bool = False


@dataclass(frozen=True, kw_only=True)
class Attained:
    """The rank IC reached beside the one that a perfect forecast of the signal would reach."""

    name: str
    horizon: int
    rank_ic: float | None
    attainable_rank_ic: float | None
    ratio: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class DateSeries:
    """Named series over shared dates; every series is as long as ``dates`` and may hold NaN."""

    dates: Sequence[str]
    values: Mapping[str, ArrayLike]

    def __post_init__(self) -> None:
        """Refuse a series of another length than the dates."""
        for name, series in self.values.items():
            if np.asarray(series, dtype=float).shape != (len(self.dates),):
                raise ValueError(f"series {name!r} needs one value for each of the {len(self.dates)} dates")


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightTable:
    """Stack weights: ``matrix[i, j]`` is the weight of ``models[j]`` in ``folds[i]``."""

    folds: Sequence[str]
    models: Sequence[str]
    matrix: ArrayLike

    def __post_init__(self) -> None:
        """Refuse a matrix of another shape than folds by models."""
        if np.asarray(self.matrix, dtype=float).shape != (len(self.folds), len(self.models)):
            raise ValueError("the weight matrix needs one row for each fold and one column for each model")


@dataclass(frozen=True, kw_only=True, eq=False)
class Diversity:
    """Correlations between the models' predictions, and the pairs that are too much alike."""

    names: Sequence[str]
    correlation: ArrayLike
    redundant: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        """Refuse a matrix that is not names by names."""
        if np.asarray(self.correlation, dtype=float).shape != (len(self.names), len(self.names)):
            raise ValueError("the correlation matrix needs one row and one column for each name")


@dataclass(frozen=True, kw_only=True)
class Overfit:
    """Validation against test rank IC of one model; ``gap`` is the first less the second."""

    name: str
    horizon: int
    valid_rank_ic: float | None
    test_rank_ic: float | None
    gap: float | None
    threshold: float | None


@dataclass(frozen=True, kw_only=True)
class QualityRule:
    """What one data quality rule found, and what was done about it; ``share`` lies in 0 to 1."""

    rule: str
    description: str
    action: str
    count: int
    share: float | None


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything the report shows. A section whose data is empty is left out."""

    title: str
    subtitle: str
    promoted: bool
    facts: Mapping[str, str] = field(default_factory=dict)
    gates: Sequence[Gate] = ()
    rows: Sequence[ResultRow] = ()
    attained: Sequence[Attained] = ()
    ic_series: Mapping[int, DateSeries] = field(default_factory=dict)
    spread_series: Mapping[int, DateSeries] = field(default_factory=dict)
    weights: Mapping[int, WeightTable] = field(default_factory=dict)
    diversity: Mapping[int, Diversity] = field(default_factory=dict)
    overfit: Sequence[Overfit] = ()
    quality: Sequence[QualityRule] = ()


def finite(value: float | None) -> bool:
    """Whether a number is there and is finite."""
    return value is not None and math.isfinite(value)


def best_row(rows: Sequence[ResultRow], kind: str, horizon: int) -> ResultRow | None:
    """Return the row of one kind and horizon with the highest rank IC, or None."""
    found = [row for row in rows if row.kind == kind and row.horizon == horizon and finite(row.rank_ic)]
    return max(found, key=lambda row: (row.rank_ic or 0.0, row.name), default=None)


def verdict_text(data: ReportData) -> str:
    """Return the verdict as plain text, not yet escaped."""
    failed = [gate.name for gate in data.gates if not gate.passed]
    counted = f"{len(failed)} of {len(data.gates)} gates failed: {', '.join(failed)}"
    if data.promoted:
        return f"Promoted, although {counted}" if failed else "Promoted: every gate passed"
    return f"NOT promoted: {counted}" if failed else "NOT promoted: no gate failed, but the run was held back"


def _attained_ratio(data: ReportData, row: ResultRow) -> float | None:
    """Return the attained share that belongs to a result row, or None."""
    for item in data.attained:
        if (item.name, item.horizon) == (row.name, row.horizon) and finite(item.ratio):
            return item.ratio
    return None


def _horizon_sentence(data: ReportData, horizon: int) -> str:
    """Say in one plain sentence how the run did at one horizon."""
    stack = best_row(data.rows, "stack", horizon)
    lead = stack or best_row(data.rows, "model", horizon)
    if lead is None:
        return f"At horizon {horizon} no forecast has a rank IC."
    who = "the stack" if stack else f"the best model ({lead.name})"
    text = f"At horizon {horizon} {who} has a rank IC of {number(lead.rank_ic, 3)}"
    if finite(lead.ci_low) and finite(lead.ci_high):
        text += f" [{number(lead.ci_low, 3, sign=False)}, {number(lead.ci_high, 3, sign=False)}]"
    text += f" on {lead.num_dates} dates"
    ratio = _attained_ratio(data, lead)
    if ratio is not None:
        text += f", attaining {percent(ratio, 0)} of what is attainable"
    others = []
    model, floor = best_row(data.rows, "model", horizon), best_row(data.rows, "floor", horizon)
    if stack and model:
        others.append(f"the best single model ({model.name}) has {number(model.rank_ic, 3)}")
    if floor:
        others.append(f"the best floor ({floor.name}) has {number(floor.rank_ic, 3)}")
    return text + (f"; {' and '.join(others)}." if others else ".")


def summary_text(data: ReportData) -> str:
    """Return the plain-language summary paragraph, not yet escaped."""
    horizons = sorted({row.horizon for row in data.rows})
    parts = [_horizon_sentence(data, horizon) for horizon in horizons] or ["No forecast was scored."]
    below = sorted({row.name for row in data.rows if row.below_floor and row.kind != "floor"})
    if below:
        parts.append(f"Below the best floor at one horizon or more: {', '.join(below)}.")
    if data.gates:
        passed = sum(gate.passed for gate in data.gates)
        parts.append(f"{passed} of {len(data.gates)} gates passed.")
    return " ".join(parts)


def _sections(data: ReportData) -> list[tuple[str, str, str]]:
    """Return the (id, heading, body) of every section that has something to show."""
    sections = [
        ("gates", "Gates", report_tables.gates_html(data.gates)),
        ("results", "Results", report_tables.results_html(data.rows)),
        ("attained", "Attained", report_tables.attained_html(data.attained)),
        ("rank-ic", "Rank IC over time", report_charts.ic_html(data)),
        ("spread", "Spread", report_charts.spread_html(data)),
        ("weights", "Weights", report_tables.weights_html(data.weights)),
        ("diversity", "Diversity", report_tables.diversity_html(data.diversity)),
        ("overfit", "Overfit", report_tables.overfit_html(data.overfit)),
        ("quality", "Data quality", report_tables.quality_html(data.quality)),
        ("facts", "Run facts", report_tables.facts_html(data.facts)),
    ]
    return [section for section in sections if section[2]]


def _verdict_html(data: ReportData) -> str:
    """Return the banner with the verdict."""
    failed = any(not gate.passed for gate in data.gates)
    tone = ("warn" if failed else "pass") if data.promoted else "fail"
    mark = {"pass": "✓", "warn": "!", "fail": "✕"}[tone]
    return (
        f'<div class="verdict {tone}" id="verdict" role="status"><span class="mark" aria-hidden="true">{mark}'
        f"</span><strong>{esc(verdict_text(data))}</strong></div>"
    )


def build_report(data: ReportData) -> str:
    """
    Build the report of one run.

    Parameters
    ----------
    data
        Everything to show; see :class:`ReportData`.

    Returns
    -------
    str
        One HTML document that needs no other file and no network.
    """
    sections = _sections(data)
    links = "".join(f'<a href="#{key}">{esc(heading)}</a>' for key, heading, _ in sections)
    bodies = "".join(
        f'<section id="{key}"><h2>{esc(heading)}</h2>{body}</section>\n' for key, heading, body in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{esc(data.title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f'<header><h1>{esc(data.title)}</h1><p class="subtitle">{esc(data.subtitle)}</p>\n'
        f'{_verdict_html(data)}\n<p class="summary" id="summary">{esc(summary_text(data))}</p></header>\n'
        f'<nav aria-label="Contents">{links}</nav>\n<main>\n{bodies}</main>\n'
        f"{report_charts.scripts_html(data)}\n</body>\n</html>\n"
    )
