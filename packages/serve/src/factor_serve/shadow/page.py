"""The page of a log, in the look of the reports: one file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factor_metrics.report.charts import Chart, Line, time_chart
from factor_metrics.report.page import page_of
from factor_metrics.report.series import rolling_mean, rolling_window
from factor_metrics.report.tables import facts_html, num, pill, table, tr
from factor_metrics.report.text import DASH, esc, interval, number, percent
from factor_metrics.report.views import Section, by_label
from factor_metrics.report.words import Tone
from factor_serve.shadow.judge import Finding, InputDrift, Judged, LabelJudged

MOST_INPUTS = 20
TONES: dict[str, Tone] = {"ok": "pass", "unknown": "warn", "ALARM": "fail"}


def shadow_page(judged: Judged, title: str) -> str:
    """Return the page of what a log comes to: one HTML document that needs no other file and no network."""
    alarms = [one for one in judged.findings if one.state == "ALARM"]
    said = ", ".join(one.name for one in alarms)
    return page_of(
        [section for section in _sections(judged) if section.body],
        title=title,
        subtitle=f"bundle {judged.bundle[:12]}, {len(judged.dates)} dates from {judged.dates[0][:10]} to "
        f"{judged.dates[-1][:10]}",
        tone="fail" if alarms else "pass",
        text=f"Alarm: {said}." if alarms else "No alarm.",
        summary="; ".join(f"{one.name}: {one.found}" for one in judged.findings) + ".",
        labels=[one.label for one in judged.labels],
        subject_kind="stack",
    )


def _sections(judged: Judged) -> list[Section]:
    return [
        Section(key="findings", heading="Conditions", body=findings_html(judged.findings)),
        Section(key="results", heading="Rank IC beside out of fold", body=_results(judged)),
        _over_time(judged),
        Section(key="drift", heading="Drift of inputs", body=drift_html(judged.inputs)),
        Section(
            key="facts",
            heading="About the log",
            body=facts_html({"bundle": judged.bundle, "dates": f"{len(judged.dates):,}"}),
        ),
    ]


def findings_html(findings: Sequence[Finding]) -> str:
    """Return a table of conditions: state, what was found, the rule."""
    body = [
        tr(
            esc(one.name),
            [
                f"<td>{pill(one.state, TONES[one.state])}</td>",
                f'<td class="wrap">{esc(one.found)}</td>',
                f'<td class="wrap">{esc(one.rule)}</td>',
            ],
        )
        for one in findings
    ]
    return table(["Condition", "State", "Found", "Rule"], body, text=(0, 1, 2, 3))


def _results(judged: Judged) -> str:
    body = []
    for one in judged.labels:
        expected, summary = one.expected, one.summary
        retained = summary.mean / expected.mean if expected is not None and expected.mean > 0.0 else None
        body.append(
            tr(
                esc(one.label),
                [
                    num(number(summary.mean)),
                    num(interval(summary.ci_low, summary.ci_high)),
                    num(interval(*one.newey_west)),
                    num(f"{summary.num_dates}"),
                    num(DASH if expected is None else number(expected.mean)),
                    num(DASH if expected is None else interval(expected.low, expected.high)),
                    num(percent(retained)),
                    num(_noticed(one)),
                ],
            )
        )
    head = [
        "Label", "Rank IC", "95 %, block bootstrap", "95 %, Newey-West", "Dates", "Out of fold", "95 %", "Kept",
        "Noticed after",
    ]  # fmt: skip
    note = (
        "Noticed after so many dates, on average: forecasts that became worthless, and ones that changed their sign. "
        "The alarm is raised by a running sum of what the IC lacks of the lower end of its interval out of fold, whose "
        "threshold is made for being looked at every day; the intervals are not."
    )
    return f'<p class="note">{esc(note)}</p>{table(head, body)}'


def _noticed(one: LabelJudged) -> str:
    if one.watch is None:
        return DASH
    return f"{one.watch.dates_to_notice_nothing:.0f} / {one.watch.dates_to_notice_opposite:.0f}"


def _over_time(judged: Judged) -> Section:
    known = {one.label: one for one in judged.labels if one.summary.num_dates > 1}

    def view(label: str) -> tuple[str, list[Chart]]:
        one = known[label]
        dates = [date[:16].removesuffix("T00:00") for date in one.dates]
        window = rolling_window(len(dates))
        mean = Line(name="rank IC", values=rolling_mean(one.rank_ic, window), tone="subject")
        lines = [mean]
        if one.expected is not None:
            flat = np.full(len(dates), one.expected.mean)
            lines.append(Line(name="out of fold", values=flat, tone="muted dash"))
        charts = [time_chart(f"chart-ic-{label}", f"Mean rank IC of {window} dates, label {label}", dates, lines)]
        if one.watch is not None:
            charts.append(
                time_chart(
                    f"chart-sum-{label}",
                    f"Sum that alarms, label {label}",
                    dates,
                    [
                        Line(name="sum", values=one.watch.sums, tone="subject"),
                        Line(name="threshold", values=np.full(len(dates), one.watch.threshold), tone="muted dash"),
                    ],
                )
            )
        return "".join(chart.html for chart in charts), charts

    return by_label("over-time", "Over time", "Above the threshold the sum alarms.", list(known), view)


def drift_html(inputs: Sequence[InputDrift]) -> str:
    """Return a table of the inputs that moved most; nothing without any."""
    if not inputs:
        return ""
    body = [
        tr(
            esc(one.name),
            [
                num(number(one.psi, 3, sign=False)),
                num(number(one.p_value, 3, sign=False)),
                num(percent(one.missing)),
                f"<td>{pill('drifted', 'fail') if one.drifted else pill('as before', 'pass')}</td>",
            ],
        )
        for one in inputs[:MOST_INPUTS]
    ]
    moved = sum(one.drifted for one in inputs)
    note = f"{moved} of {len(inputs)} inputs have drifted; those that moved most are shown."
    return f'<p class="note">{note}</p>' + table(
        ["Input", "Stability index", "p", "Missing", "Verdict"], body, text=(0, 4)
    )
