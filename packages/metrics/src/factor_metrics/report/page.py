"""One HTML document out of a report's data: its sections in order, the style sheet, the script, the values.

Everything is inside, so the file opens without a network, and the same data always gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from factor_metrics.report import anatomy, books, drift, heat, importance, results, tables, training, views
from factor_metrics.report.data import ReportData
from factor_metrics.report.text import esc
from factor_metrics.report.views import Section
from factor_metrics.report.words import Tone, summary_text, verdict

MARKS = {"pass": "✓", "warn": "!", "fail": "✕"}


def build_report(data: ReportData, only: Sequence[str] | None = None) -> str:
    """Return one HTML document that needs no other file and no network; see `ReportData` for what it shows.

    `only` are the keys of the sections that are wanted, such as "results"; None: all.
    """
    tone, text = verdict(data)
    return page_of(
        [section for section in report_sections(data) if only is None or section.key in only],
        title=data.title,
        subtitle=data.subtitle,
        tone=tone,
        text=text,
        summary=summary_text(data),
        labels=data.labels,
        subject_kind=_subject_kind(data),
    )


def page_of(
    sections: Sequence[Section],
    *,
    title: str,
    subtitle: str,
    tone: Tone,
    text: str,
    summary: str,
    labels: Sequence[str] = (),
    subject_kind: str = "model",
) -> str:
    """Return the document around sections: title, verdict, summary, navigation, and the switch between labels.

    Texts are escaped here; bodies of sections are ready HTML. `subject_kind` is the kind of row ("stack", "model" or
    "floor") whose colour the page takes.
    """
    bodies = "".join(
        f'<section id="{part.key}"><h2>{esc(part.heading)}</h2>{part.body}</section>\n' for part in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{esc(title)}</title>\n<style>{_asset('page.css')}</style>\n</head>\n"
        f'<body style="--subject:var(--{subject_kind})">\n'
        f'<header><h1>{esc(title)}</h1><p class="subtitle">{esc(subtitle)}</p>\n'
        f'<div class="verdict {tone}" id="verdict" role="status"><span class="mark" aria-hidden="true">{MARKS[tone]}'
        f"</span><strong>{esc(text)}</strong></div>\n"
        f'<p class="summary" id="summary">{esc(summary)}</p></header>\n'
        f"{_navigation(labels, sections)}\n<main>\n{bodies}</main>\n{_scripts(sections)}\n</body>\n</html>\n"
    )


def report_sections(data: ReportData) -> list[Section]:
    """Return every section that has something to show, in the order of the page."""
    subject = data.subject
    folds = f'<div class="folds" tabindex="0">{data.fold_picture}</div>' if data.fold_picture else ""
    sections = [
        Section(key="gates", heading="Targets and gates", body=tables.gates_html(data.gates)),
        Section(key="results", heading="Results", body=results.results_html(data.rows)),
        views.floors_section(data),
        Section(key="attained", heading="Attained", body=results.attained_html(data.attained)),
        books.books_section(data),
        views.rank_ic_section(data),
        views.months_section(data),
        views.decay_section(data),
        views.quantile_section(data),
        views.spread_section(data),
        views.turnover_section(data),
        views.calibration_section(data),
        anatomy.anatomy_section(data),
        importance.importance_section(data),
        Section(key="weights", heading="Weights", body=heat.weights_html(data.weights)),
        Section(key="diversity", heading="Diversity", body=heat.diversity_html(data.diversity)),
        Section(key="overfit", heading="In and out of sample", body=results.overfit_html(data.overfit)),
        Section(key="drift", heading="Drift", body=drift.drift_html(data)),
        Section(key="folds", heading="Folds", body=folds),
        Section(
            key="conditions",
            heading="Universe and conditions",
            body=tables.conditions_html(data.universe, data.row_counts),
        ),
        Section(key="quality", heading="Data quality", body=tables.quality_html(data.quality)),
        training.training_section(data),
        Section(key="origin", heading="Origin", body=tables.origin_html(data.origin, data.parameters)),
        Section(key="facts", heading=f"About {subject}", body=tables.facts_html(data.facts)),
    ]
    return [section for section in sections if section.body]


def _subject_kind(data: ReportData) -> str:
    kinds = {row.name: row.kind for row in data.rows}
    return kinds.get(data.subject, "model")


def _navigation(labels: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the links to the sections and the switch of the label, which the script brings to life."""
    links = "".join(f'<a href="#{part.key}">{esc(part.heading)}</a>' for part in sections)
    buttons = "".join(
        f'<button type="button" value="{esc(label)}" aria-pressed="false">{esc(label)}</button>' for label in labels
    )
    picker = ""
    if len(labels) > 1 and any("data-label" in part.body for part in sections):
        picker = f'<div class="labels" role="group" aria-label="Label" hidden><span>Label</span>{buttons}</div>'
    return f'<nav aria-label="Contents"><div class="links">{links}</div>{picker}</nav>'


def _scripts(sections: Sequence[Section]) -> str:
    """Return the values of every chart and the script that shows them; charts of the same dates share them."""
    names: dict[tuple[str, ...], int] = {}
    charts = {
        chart.key: {**chart.values, "names": names.setdefault(tuple(chart.names), len(names))}
        for section in sections
        for chart in section.charts
    }
    data = data_script("report-data", {"names": list(names), "charts": charts})
    return f'{data}\n<script id="report-script">\n{_asset("page.js")}</script>'


def data_script(key: str, document: Mapping[str, Any]) -> str:
    """Return an element that holds plain values for a script of the page; no text in them can end it."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{key}">{text}</script>'


def _asset(name: str) -> str:
    return (files("factor_metrics.report") / name).read_text(encoding="utf-8")
