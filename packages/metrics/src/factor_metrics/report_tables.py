"""The tables of the HTML report: gates, results, attained share, weights, diversity, overfit and quality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from factor_metrics.report_style import DASH, esc, number, percent, plain

if TYPE_CHECKING:
    from factor_metrics.gates import Gate
    from factor_metrics.report import (
        Attained,
        Diversity,
        Overfit,
        QualityRule,
        ResultRow,
        WeightTable,
    )

KIND_ORDER = {"stack": 0, "model": 1, "floor": 2}
BAR_WIDTH = 116


def table(head: Sequence[str], body: Sequence[str], *, text: Sequence[int] = (0,), kind: str = "") -> str:
    """
    Return a table in its own scroll container.

    Parameters
    ----------
    head
        Column headings, not yet escaped.
    body
        Ready ``<tr>`` rows.
    text
        Positions of the columns that hold text; all others are aligned as numbers.
    kind
        A further class of the table.
    """
    heads = "".join(
        f'<th scope="col"{"" if position in text else " class=num"}>{esc(label)}</th>'
        for position, label in enumerate(head)
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def tr(name: str, cells: Sequence[str], kind: str = "") -> str:
    """Return one row: a ready heading cell and ready further cells."""
    return f'<tr class="{kind}"><th scope="row">{name}</th>{"".join(cells)}</tr>'


def num(value: str) -> str:
    """Return a right-aligned cell."""
    return f'<td class="num">{value}</td>'


def pill(label: str, tone: str) -> str:
    """Return a small coloured label."""
    return f'<span class="pill {tone}">{esc(label)}</span>'


def gates_html(gates: Sequence[Gate]) -> str:
    """Return the table of promotion gates."""
    body = [
        tr(
            esc(gate.name),
            [
                f"<td>{pill('passed', 'pass') if gate.passed else pill('FAILED', 'fail')}</td>",
                num(plain(gate.value)),
                num(plain(gate.threshold)),
                f'<td class="wrap">{esc(gate.rule)}</td>',
            ],
        )
        for gate in gates
    ]
    return table(["Gate", "Verdict", "Value", "Threshold", "Rule"], body, text=(0, 1, 4)) if body else ""


def _real(value: float | None) -> float | None:
    """Return a finite number as it is, and None for anything else."""
    return value if value is not None and math.isfinite(value) else None


def interval_domain(rows: Sequence[ResultRow]) -> tuple[float, float]:
    """Return the common range of the interval bars; zero is always inside."""
    every = [_real(value) for row in rows for value in (row.rank_ic, row.ci_low, row.ci_high)]
    numbers = [value for value in every if value is not None] + [0.0]
    low, high = min(numbers), max(numbers)
    pad = 0.06 * (high - low) or 1.0
    return low - pad, high + pad


def interval_svg(row: ResultRow, domain: tuple[float, float]) -> str:
    """Draw one confidence interval with the estimate as a dot and a line at zero."""

    def place(value: float) -> str:
        return f"{(value - domain[0]) / (domain[1] - domain[0]) * BAR_WIDTH:.1f}"

    low, high, middle = _real(row.ci_low), _real(row.ci_high), _real(row.rank_ic)
    zero = place(0.0)
    parts = [f'<line class="zero" x1="{zero}" x2="{zero}" y1="0" y2="18"/>']
    if low is not None and high is not None:
        parts.append(f'<line class="range" x1="{place(low)}" x2="{place(high)}" y1="9" y2="9"/>')
    if middle is not None:
        parts.append(f'<circle cx="{place(middle)}" cy="9" r="4"/>')
    label = f"{number(row.rank_ic)} in [{number(row.ci_low)}, {number(row.ci_high)}]"
    return (
        f'<svg class="interval" role="img" aria-label="{esc(label)}" viewBox="0 0 {BAR_WIDTH} 18" '
        f'width="{BAR_WIDTH}" height="18">{"".join(parts)}</svg>'
    )


def result_key(row: ResultRow) -> tuple[int, float, str]:
    """Order rows: the stack, then models by falling rank IC, then floors; missing numbers last."""
    value = _real(row.rank_ic)
    return KIND_ORDER.get(row.kind, 3), math.inf if value is None else -value, row.name


def _result_tr(row: ResultRow, domain: tuple[float, float]) -> str:
    """Return one row of a results table."""
    name = esc(row.name)
    if row.kind not in ("model", row.name):
        name += " " + pill(row.kind, row.kind)
    if row.below_floor and row.kind != "floor":
        name += " " + pill("below floor", "fail")
    bounds = f"{number(row.ci_low, 3)}, {number(row.ci_high, 3)}"
    cells = [
        num(f"<b>{number(row.rank_ic)}</b>"),
        f'<td class="bar">{interval_svg(row, domain)}</td>',
        num(DASH if bounds.count(DASH) == 2 else f"[{bounds}]"),
        num(number(row.t_stat, 2)),
        num(number(row.icir, 2)),
        num(number(row.ic)),
        num(percent(row.hit_rate)),
        num(number(row.spread)),
        num(number(row.turnover, 2, sign=False)),
        num(f"{row.num_dates}"),
    ]
    return tr(name, cells, row.kind)


def results_html(rows: Sequence[ResultRow]) -> str:
    """Return one results table for each horizon, and what the columns mean."""
    if not rows:
        return ""
    head = ["Forecast", "Rank IC", "Interval", "Bounds", "t", "ICIR", "IC", "Hit rate"]
    head += ["Spread", "Turnover", "Dates"]
    parts = []
    for horizon in sorted({row.horizon for row in rows}):
        chosen = sorted((row for row in rows if row.horizon == horizon), key=result_key)
        domain = interval_domain(chosen)
        parts.append(f"<h3>Horizon {horizon}</h3>")
        parts.append(table(head, [_result_tr(row, domain) for row in chosen], text=(0, 2), kind="results"))
    parts.append(
        '<p class="note">Rank IC is the mean over dates of the rank correlation between forecast and '
        "outcome; t and the interval (drawn with a line at zero) belong to it. ICIR is the mean over "
        "the standard deviation. The hit rate is the share of dates with a positive rank IC. The spread is "
        "the mean outcome of the top less the bottom group. A floor is a trivial forecast to beat.</p>"
    )
    return "".join(parts)


def attained_html(attained: Sequence[Attained]) -> str:
    """Return the table of attained shares, or nothing when the attainable rank IC is unknown."""
    if not attained:
        return ""
    body = [
        tr(
            esc(item.name),
            [
                num(f"{item.horizon}"),
                num(number(item.rank_ic)),
                num(number(item.attainable_rank_ic)),
                num(percent(item.ratio)),
                f'<td class="bar">{_share_bar(item.ratio)}</td>',
            ],
        )
        for item in sorted(attained, key=lambda item: item.horizon)
    ]
    head = ["Forecast", "Horizon", "Rank IC", "Attainable", "Attained", "Share of attainable"]
    return (
        '<p class="note">The data is generated, so its true signal is known. The attainable rank IC is what '
        "a forecast equal to that signal would score against the noisy outcome; no honest forecast can do "
        "better on average, and one that does points to a leak.</p>" + table(head, body, text=(0, 5))
    )


def _share_bar(share: float | None) -> str:
    """Draw a share between 0 and 1 as a bar."""
    value = min(max(_real(share) or 0.0, 0.0), 1.0)
    return f'<span class="share"><i style="width:{100 * value:.1f}%"></i></span>'


def _heat(value: float, scale: float) -> str:
    """Return a table cell whose tint follows the value: blue above zero, orange below."""
    if not math.isfinite(value):
        return f'<td class="num">{DASH}</td>'
    alpha = 0.62 * min(abs(value) / scale, 1.0) if scale > 0 else 0.0
    tint = "47,127,208" if value >= 0 else "213,94,0"
    return f'<td class="num" style="background:rgba({tint},{alpha:.2f})">{number(value, 2)}</td>'


def weights_html(weights: Mapping[int, WeightTable]) -> str:
    """Return one heat map of stack weights for each horizon: models down, folds across."""
    parts = []
    for horizon, item in sorted(weights.items()):
        matrix = np.asarray(item.matrix, dtype=float).T
        scale = float(np.nanmax(np.abs(matrix))) if np.isfinite(matrix).any() else 0.0
        body = []
        for name, line in zip(item.models, matrix, strict=True):
            real = line[np.isfinite(line)]
            mean = float(real.mean()) if real.size else math.nan
            body.append(tr(esc(name), [_heat(float(value), scale) for value in (*line, mean)]))
        parts.append(f"<h3>Horizon {horizon}</h3>")
        parts.append(table(["Model", *item.folds, "Mean"], body, kind="heat"))
    note = '<p class="note">The weight of each model in the stack, fold by fold; blue is positive, orange '
    return note + "negative.</p>" + "".join(parts) if parts else ""


def diversity_html(diversity: Mapping[int, Diversity]) -> str:
    """Return one correlation heat map for each horizon and the redundant pairs below it."""
    parts = []
    for horizon, item in sorted(diversity.items()):
        matrix = np.asarray(item.correlation, dtype=float)
        body = [
            tr(esc(name), [_heat(float(value), 1.0) for value in line])
            for name, line in zip(item.names, matrix, strict=True)
        ]
        pairs = "; ".join(f"{esc(left)} and {esc(right)}" for left, right in item.redundant)
        parts.append(f"<h3>Horizon {horizon}</h3>" + table(["", *item.names], body, kind="heat"))
        parts.append(f'<p class="note"><b>Redundant pairs:</b> {pairs or "none"}.</p>')
    note = '<p class="note">Correlation between the forecasts; a stack gains from models that differ.</p>'
    return note + "".join(parts) if parts else ""


def overfit_html(overfit: Sequence[Overfit]) -> str:
    """Return the table of validation against test rank IC."""
    body = []
    for item in sorted(overfit, key=lambda item: item.horizon):
        gap, limit = _real(item.gap), _real(item.threshold)
        known = gap is not None and limit is not None
        over = gap is not None and limit is not None and gap > limit
        verdict = pill("over threshold", "fail") if over else pill("fine", "pass") if known else DASH
        cells = [num(f"{item.horizon}"), num(number(item.valid_rank_ic)), num(number(item.test_rank_ic))]
        cells += [num(number(item.gap)), num(number(item.threshold)), f"<td>{verdict}</td>"]
        body.append(tr(esc(item.name), cells))
    head = ["Forecast", "Horizon", "Validation", "Test", "Gap", "Threshold", "Verdict"]
    note = '<p class="note">The gap is the validation rank IC less the test rank IC.</p>'
    return note + table(head, body, text=(0, 6)) if body else ""


def quality_html(quality: Sequence[QualityRule]) -> str:
    """Return the table of data quality rules."""
    body = [
        tr(
            esc(item.rule),
            [
                f'<td class="wrap">{esc(item.description)}</td>',
                f"<td>{esc(item.action)}</td>",
                num(f"{item.count:,}"),
                num(percent(item.share, 2)),
            ],
            "" if item.count else "floor",
        )
        for item in quality
    ]
    return table(["Rule", "Description", "Action", "Count", "Share"], body, text=(0, 1, 2)) if body else ""


def facts_html(facts: Mapping[str, str]) -> str:
    """Return the facts of the run as a grid; a long text takes a whole line."""
    items = "".join(
        f"<div{' class=wide' if len(str(value)) > 60 else ''}><dt>{esc(key)}</dt><dd>{esc(value)}</dd></div>"
        for key, value in facts.items()
    )
    return f'<dl class="facts">{items}</dl>' if items else ""
