"""The first page of the board: all experiments in a list with filters, and any two of them compared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from factor_experiments.documents import UNIT
from factor_experiments.gathering import Gathered
from factor_experiments.ledger import Trial, integers
from factor_metrics import mean_test
from factor_metrics.report.page import data_script, page_of
from factor_metrics.report.text import DASH, esc
from factor_metrics.report.views import Section
from factor_metrics.significance.distributions import student_t_quantile

MOST_DEGREES = 400
MOST_SETTINGS = 8
HEAD = ("", "forecast", "when", "rank IC", "interval", "t", "dates", "report", "settings")


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One trial on the board."""

    trial: Trial
    name: str
    """As it is shown: forecast, and experiment, branch or commit."""
    commit: str | None
    settings: Mapping[str, Any]
    """Keys of params.yaml that its commit has otherwise than most on the board."""
    report: str | None
    """Path of its report in the site."""
    current: bool
    """Whether the working tree has it, and lists its model."""


def board_page(entries: Sequence[Entry], gathered: Gathered, undecided: str, sweeps: Mapping[str, str]) -> str:
    """Return the page; the same entries always give the same bytes.

    `undecided` says why there is no verdict over all trials; `sweeps` are names and paths of further pages.
    """
    labels = list(dict.fromkeys(label for one in entries for label in one.trial.series or ()))
    missing = "".join(f"<li>May be missing: {esc(why)}.</li>" for why in gathered.missing)
    links = [] if undecided else ['<li><a href="trials.html">What the best of all trials is worth</a></li>']
    links += [f'<li><a href="{esc(path)}">Sweep {esc(name)}</a></li>' for name, path in sweeps.items()]
    no_verdict = f"<li>No verdict over all trials: {esc(undecided)}</li>" if undecided else ""
    return page_of(
        [
            Section(key="board-list", heading="Experiments", body=_controls(entries, labels) + _table(entries)),
            Section(key="pages", heading="Further pages", body=f"<ul>{''.join(links)}{no_verdict}{missing}</ul>"),
            Section(key="script", heading="", body=_scripts(entries)),
        ],
        title="Experiments",
        subtitle=f"{len(entries)} evaluations, {gathered.gone} of them in no commit any more",
        tone="warn" if gathered.missing or undecided else "pass",
        text=f"{len(entries)} evaluations in the ledger",
        summary="Every evaluation that git, DVC and the ledger know. Tick two to compare them by date. Interval and t "
        "are those of a trial alone: the best of many looks better than it is, which the verdict takes into account.",
    )


def _controls(entries: Sequence[Entry], labels: Sequence[str]) -> str:
    names = dict.fromkeys(one.trial.name for one in entries)
    options = "".join(f"<option>{esc(label)}</option>" for label in labels)
    forecasts = '<option value="">all</option>' + "".join(f"<option>{esc(name)}</option>" for name in names)
    return (
        f'<p class="note"><label>Label <select id="board-label">{options}</select></label> '
        f'<label>Forecast <select id="board-forecast">{forecasts}</select></label> '
        '<label>Containing <input id="board-find" type="search" placeholder="words"></label> '
        '<label><input id="board-order" type="checkbox"> highest rank IC first</label> '
        '<span id="board-count"></span></p>'
        '<p class="note" id="board-said" role="status">Comparing needs JavaScript.</p>'
        '<div id="board-plot" hidden><div class="plot low"><svg viewBox="0 0 1000 1000" preserveAspectRatio="none" '
        'role="img" aria-label="Running sums of both"></svg></div><p class="axis" id="board-span"></p></div>'
    )


def _table(entries: Sequence[Entry]) -> str:
    heads = "".join(f'<th scope="col">{esc(one)}</th>' for one in HEAD)
    body = "".join(_row(place, one) for place, one in enumerate(entries))
    return (
        f'<div class="scroll" tabindex="0"><table id="board"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(place: int, one: Entry) -> str:
    report = f'<a href="{esc(one.report)}">open</a>' if one.report else DASH
    shown = [f"{key} {json.dumps(value, default=str)}" for key, value in one.settings.items()]
    more = [f"and {len(shown) - MOST_SETTINGS} more"] if len(shown) > MOST_SETTINGS else []
    now = ' <span class="pill pass">now</span>' if one.current else ""
    return (
        f'<tr data-trial="{one.trial.id}" data-place="{place}" data-name="{esc(one.trial.name)}">'
        f'<td><input type="checkbox" aria-label="compare {esc(one.name)}"></td>'
        f'<th scope="row">{esc(one.name)}{now}</th>'
        f"<td>{esc(one.trial.time[:16].replace('T', ' '))}</td>"
        + '<td class="num" data-score></td>' * 4
        + f'<td>{report}</td><td class="wrap">{esc(", ".join([*shown[:MOST_SETTINGS], *more]))}</td></tr>'
    )


def _scripts(entries: Sequence[Entry]) -> str:
    """Return the series of all trials, dates shared, and the script that compares them."""
    dates: dict[tuple[str, ...], int] = {}
    trials = {one.trial.id: {"name": one.name, "labels": _labels(one.trial, dates)} for one in entries}
    quantiles = [round(-student_t_quantile(0.025, degrees), 6) for degrees in range(1, MOST_DEGREES + 1)]
    document = {"trials": trials, "dates": list(dates), "quantiles": quantiles, "unit": UNIT}
    script = (files("factor_experiments") / "board.js").read_text(encoding="utf-8")
    return f"{data_script('board-data', document)}\n<script>\n{script}</script>"


def _labels(trial: Trial, dates: dict[tuple[str, ...], int]) -> dict[str, Any]:
    found = {}
    for label, one in (trial.series or {}).items():
        test = mean_test(one.rank_ic, one.overlap)
        low, high = test.interval()
        found[label] = {
            "when": dates.setdefault(tuple(one.iso), len(dates)),
            "overlap": one.overlap,
            "values": integers(one.rank_ic),
            "mean": _rounded(test.mean),
            "low": _rounded(low),
            "high": _rounded(high),
            "t": _rounded(test.t_stat),
            "dates": int(np.isfinite(one.rank_ic).sum()),
        }
    return found


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
