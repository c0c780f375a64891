"""A comparison as one HTML page that opens offline: the table, what differs, both curves and their difference."""

from __future__ import annotations

import numpy as np

from factor_experiments.compare import Comparison, Pair
from factor_experiments.compare_text import HEAD, LEFT, cells, difference_lines
from factor_metrics.report.charts import Chart, Line, time_chart
from factor_metrics.report.page import page_of
from factor_metrics.report.series import rolling_mean, rolling_window
from factor_metrics.report.tables import num, table, tr
from factor_metrics.report.text import esc
from factor_metrics.report.views import Section, by_label
from factor_metrics.report.words import Tone


def comparison_page(result: Comparison) -> str:
    """Return the page; the same comparison always gives the same bytes."""
    labels = list(dict.fromkeys(pair.label for pair in result.pairs if pair.status == "compared"))
    only = [f"Only in {side.upper()}: {', '.join(names)}." for side, names in result.only.items() if names]
    return page_of(
        [_table_section(result), _differences_section(result), *([_curves(result, labels)] if labels else [])],
        title=f"{result.a.name} against {result.b.name}",
        subtitle=f"A: {result.a.name} ({result.a.commit[:12]}), B: {result.b.name} ({result.b.commit[:12]})",
        tone=_tone(result),
        text=result.verdict,
        summary=" ".join(
            ["Rank ICs are paired by date: what both share on a date, an easy or a hard market, drops out.", *only]
        ),
        labels=labels,
    )


def _tone(result: Comparison) -> Tone:
    if any(pair.status == "refused" for pair in result.pairs):
        return "warn"
    worse = [
        pair
        for pair in result.pairs
        if pair.difference is not None and pair.adjusted_p_value < 0.05 and pair.difference.mean < 0
    ]
    return "fail" if worse else "pass"


def _table_section(result: Comparison) -> Section:
    note = (
        "Mean rank IC of both, and the mean of the daily differences with its block-bootstrap interval; p of that "
        "mean, alone and after Holm over all rows. Net: the same of the daily return of the book after costs."
    )
    return Section(
        key="results",
        heading="Results",
        body=f'<p class="note">{note}</p>' + table(HEAD, [_row(pair) for pair in result.pairs], text=LEFT),
    )


def _row(pair: Pair) -> str:
    name, *rest = cells(pair)
    ready = [
        f'<td class="{"wrap" if position + 1 == max(LEFT) else ""}">{esc(cell)}</td>'
        if position + 1 in LEFT
        else num(esc(cell))
        for position, cell in enumerate(rest)
    ]
    return tr(esc(name), ready)


def _differences_section(result: Comparison) -> Section:
    blocks = difference_lines(result.differences)
    body = "".join(
        f"<h3>{esc(kind)}</h3><pre>{esc(chr(10).join(lines[1:] or lines))}</pre>" for kind, lines in blocks.items()
    )
    return Section(
        key="differences",
        heading="What differs",
        body=body or '<p class="note">No setting, code, data or library.</p>',
    )


def _curves(result: Comparison, labels: list[str]) -> Section:
    """Return both running sums of rank IC and the rolling mean of their difference, per forecast."""

    def view(label: str) -> tuple[str, list[Chart]]:
        html, charts = "", []
        for pair in result.pairs:
            if pair.label == label and pair.status == "compared":
                drawn = _charts(pair, result)
                html += f"<h4>{esc(pair.name)}</h4>" + drawn[0].html + drawn[1].html
                charts += drawn
        return html, charts

    note = (
        "Running sum of the rank IC of both on the same dates; below it the rolling mean of their difference, B less "
        "A, and its running sum divided by the number of dates so far."
    )
    return by_label("curves", "Both over time", note, labels, view)


def _charts(pair: Pair, result: Comparison) -> list[Chart]:
    assert pair.a is not None
    assert pair.b is not None
    assert pair.dates is not None
    dates = [str(date)[:19] for date in pair.dates.astype("datetime64[s]")]
    dates = [date.removesuffix("T00:00:00") for date in dates]
    difference = pair.b - pair.a
    known = np.isfinite(difference)
    so_far = np.where(known, np.nancumsum(difference) / np.maximum(np.cumsum(known), 1), np.nan)
    window = rolling_window(len(dates))
    a, b = (f"{side}: {one.name}" for side, one in (("A", result.a), ("B", result.b)))
    return [
        time_chart(
            f"chart-curves-{pair.name}-{pair.label}",
            f"Running sum of the rank IC of {pair.name}, label {pair.label}",
            dates,
            [
                Line(name=a, values=np.nancumsum(pair.a), tone="s1"),
                Line(name=b, values=np.nancumsum(pair.b), tone="s0"),
            ],
        ),
        time_chart(
            f"chart-difference-{pair.name}-{pair.label}",
            f"Difference of the rank IC of {pair.name}, label {pair.label}",
            dates,
            [
                Line(name=f"mean of {window} dates", values=rolling_mean(difference, window), tone="s2"),
                Line(name="mean so far", values=so_far, tone="muted dash"),
            ],
        ),
    ]
