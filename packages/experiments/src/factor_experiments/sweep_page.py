"""A sweep as one HTML page that opens offline: trials, importance of parameters, slices, parallel coordinates."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_experiments.importance import LEAST_TRIALS, Importance, parameter_importance, varying
from factor_experiments.sweep_run import Job, best_of
from factor_metrics.judging.profile import Estimates
from factor_metrics.report.axes import BOX, scale_of
from factor_metrics.report.charts import estimate_chart
from factor_metrics.report.page import page_of
from factor_metrics.report.tables import num, table, tr
from factor_metrics.report.text import DASH, esc, interval, number, percent
from factor_metrics.report.views import Section

MOST_NAMES = 20
"""Trials whose number is written below a chart."""
LOG_RATIO = 20.0
"""Ratio of largest to smallest value from which an axis is drawn in logarithms."""


def sweep_page(name: str, jobs: Sequence[Job], said: str) -> str:
    """Return the page of a sweep; the same trials always give the same bytes.

    `said` is a sentence on what the next trial costs. Only scores on valid dates are shown.
    """
    done = [job for job in jobs if job.status == "done" and math.isfinite(job.score)]
    scores = np.array([job.score for job in done], dtype=np.float64)
    points = [job.point for job in done]
    best = best_of(jobs)
    cpu = sum(job.cpu_seconds for job in jobs)
    text = "No trial has a score yet" if best is None else f"Best on valid dates: {best.name}, {number(best.score)}"
    return page_of(
        [
            _trials(jobs),
            *([_in_order(done)] if len(done) > 1 else []),
            _importance(parameter_importance(points, scores), len(done)),
            *([_slices(points, scores), _parallel(points, scores)] if len(done) > 1 else []),
        ],
        title=f"Sweep {name}",
        subtitle=f"{len(jobs)} trials, {len(done)} with a score, {cpu:,.0f} CPU seconds",
        tone="warn" if best is None else "pass",
        text=text,
        summary="Every score is the rank IC on valid dates. Test dates are not looked at before make verdict. " + said,
    )


def _trials(jobs: Sequence[Job]) -> Section:
    keys = list(dict.fromkeys(key for job in jobs for key in job.point))
    head = ("trial", "status", "rank IC, valid", "interval", "folds", "CPU s", *keys, "reason")
    order = sorted(jobs, key=lambda job: (not math.isfinite(job.score), -job.score, job.name))
    body = [
        tr(
            esc(job.name),
            [
                f"<td>{esc(job.status)}</td>",
                num(esc(number(job.score))),
                num(esc(interval(*job.interval, 4))),
                num(esc(", ".join(number(score, 3) for score in job.folds) or DASH)),
                num(f"{job.cpu_seconds:.1f}" if job.cpu_seconds else DASH),
                *(num(esc(_shown(job.point.get(key)))) for key in keys),
                f'<td class="wrap">{esc(job.reason)}</td>',
            ],
        )
        for job in order
    ]
    return Section(key="trials", heading="Trials", body=table(head, body, text=(0, 1, len(head) - 1)))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _in_order(done: Sequence[Job]) -> Section:
    """Return the score of each trial with its interval, in the order in which they were chosen."""
    every = math.ceil(len(done) / MOST_NAMES)
    estimates = Estimates(
        names=tuple(str(place) if place % every == 0 else "" for place in range(1, len(done) + 1)),
        mean=np.array([job.score for job in done]),
        low=np.array([job.interval[0] for job in done]),
        high=np.array([job.interval[1] for job in done]),
    )
    chart = estimate_chart("chart-order", "Rank IC on valid dates of each trial", estimates)
    note = (
        "Rank IC on valid dates of each trial with its interval, in the order in which they were chosen. Intervals are "
        "those of a trial alone: the best of many looks better than it is."
    )
    return Section(
        key="order", heading="One after another", body=f'<p class="note">{note}</p>{chart.html}', charts=[chart]
    )


def _importance(found: Importance, number_done: int) -> Section:
    if not found.share:
        why = f"{number_done} trials with a score: at least {LEAST_TRIALS} that differ say something of a parameter."
        return Section(key="importance", heading="Importance", body=f'<p class="note">{esc(why)}</p>')
    note = (
        "How far R2 of a forest of regression trees falls where the values of a parameter are shuffled among the "
        "trials, as a part of what it falls by for all (Breiman, 2001), with the 5 % and 95 % quantiles over "
        f"shuffles. R2 on trials that a tree has not seen is {number(found.r2, 2)}"
        + (": the shares say little." if not found.r2 > 0.2 else ".")
    )
    body = [
        tr(
            esc(key),
            [
                f'<td class="bar"><span class="share"><i style="width:{100 * min(mean, 1.0):.1f}%"></i></span></td>',
                num(percent(mean)),
                num(f"{percent(low)} to {percent(high)}"),
            ],
        )
        for key, (mean, low, high) in found.share.items()
    ]
    head = ("parameter", "", "share", "over shuffles")
    return Section(
        key="importance",
        heading="Importance",
        body=f'<p class="note">{esc(note)}</p>' + table(head, body, text=(0, 1)),
    )


def _slices(points: Sequence[Mapping[str, Any]], scores: NDArray[np.float64]) -> Section:
    """Return the score against each parameter, a dot a trial."""
    html = "".join(_slice(key, column, points, scores) for key, column in varying(points).items())
    note = "Rank IC on valid dates against the values of each parameter; a dot is a trial, others differ in the rest."
    return Section(key="slices", heading="Slices", body=f'<p class="note">{note}</p><div class="pair">{html}</div>')


def _slice(
    key: str, column: NDArray[np.float64], points: Sequence[Mapping[str, Any]], scores: NDArray[np.float64]
) -> str:
    places, log = _places(column)
    scale = scale_of([scores], zero=False)
    dots = "".join(
        f'<path class="dot" d="M{BOX * (0.04 + 0.92 * place):.1f} {y:.1f}h0"><title>{esc(_shown(point.get(key)))}: '
        f"{number(score)}</title></path>"
        for place, y, point, score in zip(places, scale.y(scores), points, scores, strict=True)
    )
    rows = "".join(
        f'<span class="y" style="bottom:{100 * scale.place(tick):.2f}%">{esc(scale.text(tick))}</span>'
        for tick in scale.ticks
    )
    ends = _ends(key, column, places, points)
    labels = "".join(
        f'<span class="x" style="left:{4 + 92 * place:.1f}%">{esc(_short(text))}</span>' for place, text in ends
    )
    return (
        f"<div><h3>{esc(key)}{' (logarithmic)' if log else ''}</h3>"
        f'<div class="plot"><svg viewBox="0 0 {BOX} {BOX}" preserveAspectRatio="none" role="img" '
        f'aria-label="{esc(f"Rank IC on valid dates by {key}")}">{dots}</svg>{rows}{labels}</div></div>'
    )


def _parallel(points: Sequence[Mapping[str, Any]], scores: NDArray[np.float64]) -> Section:
    """Return all parameters as upright axes and a line a trial, the best ones on top."""
    columns = varying(points)
    axes = [(key, _places(column)[0]) for key, column in columns.items()]
    axes.append(("rank IC, valid", _places(scores, False)[0]))
    x = np.linspace(0.0, BOX, len(axes))
    height = np.stack([BOX * (0.97 - 0.94 * places) for _, places in axes], axis=1)
    order = np.argsort(scores, kind="stable")
    tenth = max(1, len(scores) // 10)
    lines = "".join(
        f'<path class="line {"s0" if rank >= len(order) - tenth else "muted"}" d="M'
        + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, height[trial], strict=True))
        + f'"><title>{number(scores[trial])}</title></path>'
        for rank, trial in enumerate(order)
    )
    posts = "".join(f"M{place:.1f} 0V{BOX}" for place in x)
    labels = "".join(
        f'<span class="x" style="left:{100 * place / BOX:.1f}%">{esc(_short(key, 24))}</span>'
        for place, (key, _) in zip(x, axes, strict=True)
    )
    ranges = "; ".join(
        f"{key} from {_shown(points[int(column.argmin())].get(key))} to {_shown(points[int(column.argmax())].get(key))}"
        for key, column in columns.items()
    )
    note = (
        f"A line is a trial, from its values to its rank IC on valid dates; thick ones are the best {tenth}. Lowest "
        f"value below: {ranges}."
    )
    html = (
        f'<div class="plot"><svg viewBox="0 0 {BOX} {BOX}" preserveAspectRatio="none" role="img" '
        f'aria-label="Parallel coordinates of all trials"><path class="grid" d="{posts}"/>{lines}</svg>{labels}</div>'
    )
    return Section(key="parallel", heading="Parallel coordinates", body=f'<p class="note">{esc(note)}</p>{html}')


def _places(column: NDArray[np.float64], may_log: bool = True) -> tuple[NDArray[np.float64], bool]:
    """Return places from 0 to 1, by logarithms where values span much; and whether they are."""
    log = bool(may_log and column.min() > 0.0 and column.max() / column.min() >= LOG_RATIO)
    values = np.log(column) if log else column
    return (values - values.min()) / max(float(np.ptp(values)), 1e-300), log


def _ends(
    key: str, column: NDArray[np.float64], places: NDArray[np.float64], points: Sequence[Mapping[str, Any]]
) -> list[tuple[float, str]]:
    """Return (place, text) of each value where there are few, else of the lowest and the highest."""
    distinct = np.unique(column, return_index=True)[1]
    if len(distinct) > 6:
        distinct = np.array([int(column.argmin()), int(column.argmax())])
    return [(float(places[position]), _shown(points[position].get(key))) for position in distinct]


def _short(text: str, most: int = 14) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
