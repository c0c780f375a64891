"""Tables whose cells are tinted by their value: weights, correlations, months."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.report.data import Contribution, Diversity, WeightTable
from factor_metrics.report.results import Bar, interval_domain, interval_svg
from factor_metrics.report.tables import num, table, tr
from factor_metrics.report.text import DASH, esc, interval, number, percent

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def heat_cell(value: float, scale: float, digits: int = 2, title: str = "") -> str:
    """Return a table cell whose tint follows the value: blue above zero, orange below."""
    if not math.isfinite(value):
        return f'<td class="num">{DASH}</td>'
    share = 0.62 * min(abs(value) / scale, 1.0) if scale > 0 else 0.0
    tone, hint = "good" if value >= 0 else "bad", f' title="{esc(title)}"' if title else ""
    return f'<td class="num {tone}" style="--share:{share:.2f}"{hint}>{number(value, digits)}</td>'


def weights_html(weights: Mapping[str, WeightTable]) -> str:
    """Return one heat map of stack weights for each label: models down, folds across."""
    parts = []
    for label, item in weights.items():
        matrix = np.asarray(item.matrix, dtype=float).T
        scale = float(np.nanmax(np.abs(matrix))) if np.isfinite(matrix).any() else 0.0
        body = []
        for name, line in zip(item.models, matrix, strict=True):
            real = line[np.isfinite(line)]
            mean = float(real.mean()) if real.size else math.nan
            body.append(tr(esc(name), [heat_cell(float(value), scale) for value in (*line, mean)]))
        parts.append(f"<h3>Label {esc(label)}</h3>")
        parts.append(table(["Model", *item.folds, "Mean"], body, kind="heat"))
    note = '<p class="note">The weight of each model in the stack, fold by fold; blue is positive, orange '
    return note + "negative.</p>" + "".join(parts) if parts else ""


def diversity_html(diversity: Mapping[str, Diversity]) -> str:
    """Return for each label what every model adds, then heat maps of correlations and what is too much alike."""
    parts = []
    for label, item in diversity.items():
        parts.append(f"<h3>Label {esc(label)}</h3>")
        if item.contributions:
            parts.append(contributions_table(item.contributions))
        parts.append("<h4>Forecasts</h4>" + _correlations(item, item.correlation))
        if item.errors is not None:
            parts.append("<h4>Errors</h4>" + _correlations(item, item.errors))
        parts.append(f'<p class="note">{_alike(item)}</p>')
    note = (
        '<p class="note">A stack gains from models that differ. What a model adds is the rank IC of the stack less '
        "that of the stack without it, date by date; an interval that covers 0 says that the others make up for it. "
        "Below: rank correlation between the forecasts, and between the errors (outcome less forecast, as ranks); "
        "models that know nothing and are unlike have errors of correlation .5.</p>"
    )
    return note + "".join(parts) if parts else ""


def contributions_table(contributions: Sequence[Contribution]) -> str:
    """Return what each model adds to the stack, the most first, with its interval drawn."""
    bars: list[Bar] = [(one.difference, one.low, one.high) for one in contributions]
    domain = interval_domain(bars)
    known = sorted(contributions, key=lambda one: (not math.isfinite(one.difference), -one.difference, one.name))
    body = [
        tr(
            esc(one.name),
            [
                num(number(one.weight, 2)),
                num(percent(one.present)),
                num(number(one.rank_ic)),
                num(number(one.without)),
                num(f"<b>{number(one.difference)}</b>"),
                f'<td class="bar">{interval_svg((one.difference, one.low, one.high), domain)}</td>',
                num(interval(one.low, one.high)),
            ],
        )
        for one in known
    ]
    head = ["Model", "Mean weight", "Rows", "Alone", "Stack without", "Adds", "Interval", "Bounds"]
    return table(head, body, text=(0, 6))


def _correlations(item: Diversity, matrix: ArrayLike) -> str:
    body = [
        tr(esc(name), [heat_cell(float(value), 1.0) for value in line])
        for name, line in zip(item.names, np.asarray(matrix, dtype=float), strict=True)
    ]
    return table(["", *item.names], body, kind="heat")


def _alike(item: Diversity) -> str:
    """Say which models are too much alike, what groups they make, and which ones folds go without."""
    pairs = "; ".join(f"{esc(left)} and {esc(right)}" for left, right in item.redundant)
    said = [f"<b>Redundant pairs:</b> {pairs or 'none'}."]
    if item.clusters:
        groups = "; ".join(esc(", ".join(group)) for group in item.clusters)
        said.append(f"<b>Groups:</b> {groups}.")
    if item.effective is not None and math.isfinite(item.effective):
        said.append(f"<b>As diverse as</b> {item.effective:.1f} uncorrelated models of {len(item.names)}.")
    if item.pruned:
        said.append(f"<b>Pruned:</b> {esc('; '.join(item.pruned))}.")
    return " ".join(said)


def months_table(means: Mapping[int, Mapping[int, tuple[float, int]]]) -> str:
    """Return years down, months across, from `monthly_means`; the last column is the whole year."""
    values = [mean for months in means.values() for month, (mean, _) in months.items() if month]
    scale = max((abs(value) for value in values), default=0.0)
    body = []
    for year, months in sorted(means.items()):
        cells = []
        for month in (*range(1, 13), 0):
            mean, count = months.get(month, (math.nan, 0))
            name = f"{MONTHS[month - 1]} {year}" if month else f"{year}"
            cells.append(heat_cell(mean, scale, 3, f"{name}: {number(mean)} on {count} dates"))
        body.append(tr(f"{year}", cells))
    return table(["Year", *MONTHS, "Year"], body, kind="heat")
