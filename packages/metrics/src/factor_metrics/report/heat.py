"""Tables whose cells are tinted by their value: weights, correlations, months."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from factor_metrics.report.data import Diversity, WeightTable
from factor_metrics.report.tables import table, tr
from factor_metrics.report.text import DASH, esc, number

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
    """Return one correlation heat map for each label and the redundant pairs below it."""
    parts = []
    for label, item in diversity.items():
        matrix = np.asarray(item.correlation, dtype=float)
        body = [
            tr(esc(name), [heat_cell(float(value), 1.0) for value in line])
            for name, line in zip(item.names, matrix, strict=True)
        ]
        pairs = "; ".join(f"{esc(left)} and {esc(right)}" for left, right in item.redundant)
        parts.append(f"<h3>Label {esc(label)}</h3>" + table(["", *item.names], body, kind="heat"))
        parts.append(f'<p class="note"><b>Redundant pairs:</b> {pairs or "none"}.</p>')
    note = '<p class="note">Correlation between the forecasts; a stack gains from models that differ.</p>'
    return note + "".join(parts) if parts else ""


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
