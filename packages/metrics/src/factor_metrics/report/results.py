"""The tables of scores: forecasts, floors beside them, what was attainable, validation against test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from factor_metrics.judging.scores import Scores
from factor_metrics.report.data import Attained, FloorRow, Overfit, ResultRow, finite, in_reading_order
from factor_metrics.report.tables import num, pill, table, tr
from factor_metrics.report.text import DASH, esc, interval, number, percent

KIND_ORDER = {"stack": 0, "model": 1, "floor": 2}
BAR_WIDTH = 116
DRAWN = ("rank_ic", "ci_low", "ci_high")
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "t_stat": ("t", lambda value: number(value, 2)),
    "p_value": ("p", lambda value: number(value, 3, sign=False)),
    "effective_dates": ("Eff. dates", lambda value: number(value, 0, sign=False)),
    "naive_t_stat": ("Naive t", lambda value: number(value, 2)),
    "icir": ("ICIR", lambda value: number(value, 2)),
    "ic": ("IC", number),
    "hit_rate": ("Hit rate", percent),
    "spread": ("Spread", number),
    "turnover": ("Turnover", lambda value: number(value, 2, sign=False)),
    "num_dates": ("Dates", str),
}
"""Heading and format of a score; one that is not named here is shown under its own name as a number."""

Bar = tuple[float | None, float | None, float | None]
"""A mean and the ends of its interval."""


def interval_domain(bars: Sequence[Bar]) -> tuple[float, float]:
    """Return the common range of the interval bars; zero is always inside."""
    every = [finite(value) for bar in bars for value in bar]
    numbers = [value for value in every if value is not None] + [0.0]
    low, high = min(numbers), max(numbers)
    pad = 0.06 * (high - low) or 1.0
    return low - pad, high + pad


def interval_svg(bar: Bar, domain: tuple[float, float]) -> str:
    """Draw one confidence interval with the estimate as a dot and a line at zero."""

    def place(value: float) -> str:
        return f"{(value - domain[0]) / (domain[1] - domain[0]) * BAR_WIDTH:.1f}"

    middle, low, high = (finite(value) for value in bar)
    zero = place(0.0)
    parts = [f'<line class="zero" x1="{zero}" x2="{zero}" y1="0" y2="18"/>']
    if low is not None and high is not None:
        parts.append(f'<line class="range" x1="{place(low)}" x2="{place(high)}" y1="9" y2="9"/>')
    if middle is not None:
        parts.append(f'<circle cx="{place(middle)}" cy="9" r="4"/>')
    label = f"{number(middle)} in [{number(low)}, {number(high)}]"
    return (
        f'<svg class="interval" role="img" aria-label="{esc(label)}" viewBox="0 0 {BAR_WIDTH} 18" '
        f'width="{BAR_WIDTH}" height="18">{"".join(parts)}</svg>'
    )


def result_key(row: ResultRow) -> tuple[int, float, str]:
    """Order rows: the stack, then models by falling rank IC, then floors; missing numbers last."""
    value = finite(row.scores.rank_ic)
    return KIND_ORDER.get(row.kind, 3), math.inf if value is None else -value, row.name


def _result_tr(row: ResultRow, domain: tuple[float, float]) -> str:
    """Return one row of a results table."""
    name = esc(row.name)
    if row.kind not in ("model", row.name):
        name += " " + pill(row.kind, row.kind)
    if row.below_floor and row.kind != "floor":
        name += " " + pill("below floor", "fail")
    scores = row.scores
    cells = [
        num(f"<b>{number(scores.rank_ic)}</b>"),
        f'<td class="bar">{interval_svg(_bar(row), domain)}</td>',
        num(interval(scores.ci_low, scores.ci_high)),
        *(num(_column(name)[1](value)) for name, value in _listed(scores).items()),
    ]
    return tr(name, cells, row.kind)


def _bar(row: ResultRow) -> Bar:
    return row.scores.rank_ic, row.scores.ci_low, row.scores.ci_high


def _listed(scores: Scores) -> dict[str, float]:
    """Return the scores that have a column of their own, in the order of the columns."""
    return {name: value for name, value in in_reading_order(scores).items() if name not in DRAWN}


def _column(name: str) -> tuple[str, Callable[[float], str]]:
    return COLUMNS.get(name, (name.replace("_", " ").capitalize(), number))


def results_html(rows: Sequence[ResultRow]) -> str:
    """Return one results table for each label, and what the columns mean."""
    if not rows:
        return ""
    head = ["Forecast", "Rank IC", "Interval", "Bounds"]
    head += [_column(name)[0] for name in _listed(rows[0].scores)]
    parts = []
    for label in dict.fromkeys(row.label for row in rows):
        chosen = sorted((row for row in rows if row.label == label), key=result_key)
        domain = interval_domain([_bar(row) for row in chosen])
        parts.append(f"<h3>Label {esc(label)}</h3>")
        parts.append(table(head, [_result_tr(row, domain) for row in chosen], text=(0, 2), kind="results"))
    parts.append(
        '<p class="note">Rank IC is the mean over dates of the rank correlation between forecast and '
        "outcome; t, p and the interval (drawn with a line at zero) belong to it. Labels that overlap make "
        "neighbouring dates alike: the effective dates say how many independent ones they are worth, t and p go by "
        "these, and where they are too few there is no t. The naive t takes every date as independent. ICIR is "
        "the mean over the standard deviation. The hit rate is the share of dates with a positive rank IC. The spread "
        "is the mean outcome of the top less the bottom group. A floor is a trivial forecast to beat.</p>"
    )
    return "".join(parts)


FLOORS_NOTE = (
    "A floor is a forecast that needs no model. The difference is taken date by date, so that what both share on a "
    "date falls out; the interval belongs to it. Above: the whole interval is above 0. Below: the mean difference is "
    "not above 0. Else it is unproven."
)
STATUS_PILLS = {
    "above": pill("above", "pass"),
    "unproven": pill("unproven", "warn"),
    "below": pill("below floor", "fail"),
}


def floors_table(floors: Sequence[FloorRow]) -> str:
    """Return the forecasts of one label beside their floors; what is not above one is marked."""
    head = ["Forecast", "Floor", "Rank IC", "Floor's", "Difference", "Interval", "Bounds", "p", "Eff. dates", "Verdict"]
    bars: list[Bar] = [(row.difference, row.low, row.high) for row in floors]
    domain = interval_domain(bars)
    body = [
        tr(
            esc(row.name),
            [
                f"<td>{esc(row.floor)}</td>",
                num(number(row.rank_ic)),
                num(number(row.floor_rank_ic)),
                num(f"<b>{number(row.difference)}</b>"),
                f'<td class="bar">{interval_svg(bar, domain)}</td>',
                num(interval(row.low, row.high)),
                num(number(row.p_value, 3, sign=False)),
                num(number(row.effective_dates, 0, sign=False)),
                f"<td>{STATUS_PILLS[row.status]}</td>",
            ],
        )
        for row, bar in zip(floors, bars, strict=True)
    ]
    return table(head, body, text=(0, 1, 5, 9))


def attained_html(attained: Sequence[Attained]) -> str:
    """Return the table of attained shares, or nothing when the attainable rank IC is unknown."""
    if not attained:
        return ""
    body = [
        tr(
            esc(item.name),
            [
                f"<td>{esc(item.label)}</td>",
                num(number(item.rank_ic)),
                num(number(item.attainable_rank_ic)),
                num(percent(item.ratio)),
                f'<td class="bar">{_share_bar(item.ratio)}</td>',
            ],
        )
        for item in attained
    ]
    head = ["Forecast", "Label", "Rank IC", "Attainable", "Attained", "Share of attainable"]
    return (
        '<p class="note">The data is generated, so its true signal is known. The attainable rank IC is what '
        "a forecast equal to that signal would score against the noisy outcome; no honest forecast can do "
        "better on average, and one that does points to a leak.</p>" + table(head, body, text=(0, 1, 5))
    )


def _share_bar(share: float | None) -> str:
    """Draw a share between 0 and 1 as a bar."""
    value = min(max(finite(share) or 0.0, 0.0), 1.0)
    return f'<span class="share"><i style="width:{100 * value:.1f}%"></i></span>'


def overfit_html(overfit: Sequence[Overfit]) -> str:
    """Return the table of validation against test rank IC; with thresholds also what exceeds its own."""
    with_threshold = any(item.threshold is not None for item in overfit)
    body = []
    for item in overfit:
        cells = [f"<td>{esc(item.label)}</td>", num(number(item.valid_rank_ic)), num(number(item.test_rank_ic))]
        cells += [num(number(item.gap)), num(number(item.t_stat, 2)), num(percent(item.retention, 0))]
        if with_threshold:
            cells += [num(number(item.threshold)), f"<td>{_overfit_pill(item)}</td>"]
        body.append(tr(esc(item.name), cells, "lead" if item.name == "all folds" else ""))
    head = ["Forecast", "Label", "Validation", "Test", "Gap", "t of the gap", "Kept"]
    head += ["Threshold", "Verdict"] if with_threshold else []
    note = (
        '<p class="note">Validation dates chose the epoch or the number of trees: in that sense their rank IC is '
        "in-sample; test dates chose nothing. The gap is the first less the second, what is kept the second over the "
        "first. Both are means over different dates: a gap of either sign is also the market of those dates.</p>"
    )
    return note + table(head, body, text=(0, 1, 8)) if body else ""


def _overfit_pill(item: Overfit) -> str:
    gap, limit = finite(item.gap), finite(item.threshold)
    if gap is None or limit is None:
        return DASH
    return pill("over threshold", "fail") if gap > limit else pill("fine", "pass")
