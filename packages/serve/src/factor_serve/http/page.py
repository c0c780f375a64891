"""The page at `/` for people: what is served, the latest forecasts, health and drift; it needs no other file."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from factor_metrics import Gate
from factor_metrics.report.page import page_of
from factor_metrics.report.tables import facts_html, gates_html, num, table, tr
from factor_metrics.report.text import esc, number
from factor_metrics.report.views import Section, by_label
from factor_serve.http.metrics import Metrics
from factor_serve.http.service import Served, Service
from factor_serve.shadow.page import drift_html

MOST_ROWS = 10
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy of the page: what it needs stands in it."""


def status_page(service: Service, counts: Metrics) -> str:
    """Return the page as one HTML document that needs no other file and no network."""
    served = service.served
    latest = service.recent.frame
    sections = [
        Section(key="bundle", heading="Bundle", body="" if served is None else facts_html(_facts(served))),
        _latest(latest),
        Section(key="health", heading="Requests", body=_requests(counts)),
        Section(key="drift", heading="Drift of inputs", body=_drift(service)),
        Section(key="gates", heading="Gates", body="" if served is None else gates_html(_gates(served))),
    ]
    return page_of(
        [section for section in sections if section.body],
        title="factor-serve",
        subtitle=f"as of {_time(datetime.now(UTC).timestamp())}; load the page again for what has come since",
        tone="fail" if served is None else "pass" if served.bundle.promoted else "warn",
        text=f"No bundle is served: {service.why}" if served is None else _verdict(served),
        summary=_summary(latest),
        labels=[] if latest is None else list(dict.fromkeys(latest["label"])),
        subject_kind="stack",
    )


def _verdict(served: Served) -> str:
    if served.bundle.promoted:
        return "Ready: the bundle has passed its gates and forecasts its canary as it did."
    return "Ready, but not promoted: the stack of this bundle has not passed its gates."


def _summary(latest: pd.DataFrame | None) -> str:
    if latest is None or not len(latest):
        return "No forecast was asked for yet."
    return f"The latest answer has {len(latest):,} forecasts of {latest['timestamp'].max():%Y-%m-%d %H:%M}."


def _facts(served: Served) -> dict[str, str]:
    manifest = served.bundle.manifest
    fold = manifest["fold"]
    return {
        "sha256": served.bundle.identity,
        "loaded": _time(served.loaded),
        "labels": ", ".join(served.bundle.labels),
        "members": ", ".join(served.bundle.members),
        "columns of bars": ", ".join(manifest["columns"]),
        "news": "read" if served.bundle.reads_news else "not read",
        "trained": f"{fold['train_first']} to {fold['train_last']}",
        "tested": f"{fold['test_first']} to {fold['test_last']}",
    }


def _latest(latest: pd.DataFrame | None) -> Section:
    frames = {} if latest is None else dict(iter(latest.groupby("label", sort=False)))

    def view(label: str) -> tuple[str, list]:
        html = ""
        for model, frame in frames[label].groupby("model", sort=False):
            ordered = frame.sort_values("prediction", ascending=False, kind="stable")
            ends = ordered if len(ordered) <= 2 * MOST_ROWS else pd.concat([ordered[:MOST_ROWS], ordered[-MOST_ROWS:]])
            body = [
                tr(esc(symbol), [num(number(value))])
                for symbol, value in zip(ends["symbol"], ends["prediction"], strict=True)
            ]
            html += f"<h4>{esc(model)}, {len(frame):,} symbols</h4>" + table(["Symbol", "Forecast"], body)
        return html, []

    note = f"The {MOST_ROWS} highest and lowest forecasts of the latest answer."
    return by_label("latest", "Latest forecasts", note, [str(label) for label in frames], view)


def _requests(counts: Metrics) -> str:
    totals = counts.totals()
    if not totals.count:
        return ""
    body = [tr(esc(path), [num(status), num(f"{count:,}")]) for path, status, count in totals.by_path]
    mean = 1e3 * totals.seconds / totals.count
    note = f'<p class="note">Since the server was started; {mean:.1f} ms on average.</p>'
    return note + table(["Path", "Status", "Requests"], body)


def _drift(service: Service) -> str:
    inputs, dates = service.drift(), service.recent.num_dates
    if not inputs:
        return ""
    few = f'<p class="note">Over the last {dates} dates that were forecast, beside training rows.</p>'
    return few + drift_html(inputs)


def _gates(served: Served) -> list[Gate]:
    found: list[dict[str, Any]] = served.bundle.manifest["gates"]
    known: list[dict[str, Any]] = [
        {key: math.nan if value is None else value for key, value in gate.items()} for gate in found
    ]
    return [Gate(**gate) for gate in known]


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
