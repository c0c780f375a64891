"""The line charts of the HTML report: rolling rank IC and cumulative spread, drawn by inlined plotly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from factor_metrics.report_style import SCRIPT, esc

if TYPE_CHECKING:
    from factor_metrics.report import DateSeries, ReportData

ATTAINABLE = "attainable"
STACK_COLOR = "#d55e00"
MUTED_COLOR = "#8b95a3"
COLORS = ("#2f7fd0", "#009e73", "#cc6fa3", "#b98a00", "#45b5e0", "#8468d0", "#a5673f", "#5c9a2f")
DASHES = ("solid", "dash", "dot")
WINDOW = 60


def rolling_window(num_dates: int) -> int:
    """Return the length of the rolling mean: 60 dates, fewer where the run is short."""
    return max(1, min(WINDOW, num_dates // 3))


def rolling_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Average the last ``window`` numbers; NaN where fewer than half of them are there."""
    real = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(real, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(real)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    seen = count[end] - count[start]
    enough = seen >= max(1, (window + 1) // 2)
    return np.where(enough, (total[end] - total[start]) / np.maximum(seen, 1), np.nan)


def cumulative(values: np.ndarray, horizon: int) -> np.ndarray:
    """Sum the spread over dates, divided by the horizon; a missing date adds nothing."""
    real = np.isfinite(values)
    if not real.any():
        return np.full(len(values), np.nan)
    return np.cumsum(np.where(real, values, 0.0)) / max(horizon, 1)


def clean(values: np.ndarray) -> list[float | None]:
    """Round for the page and turn NaN and infinities into None."""
    return [round(float(value), 5) if np.isfinite(value) else None for value in values]


def line_styles(data: ReportData) -> dict[str, dict[str, Any]]:
    """Give every name one colour, width and dash that all charts share."""
    kinds = {row.name: row.kind for row in data.rows}
    series = [*data.ic_series.values(), *data.spread_series.values()]
    names = sorted({name for item in series for name in item.values})
    styles: dict[str, dict[str, Any]] = {}
    position = 0
    for name in names:
        kind = kinds.get(name, "stack" if name == "stack" else "model")
        if kind == "stack":
            styles[name] = {"color": STACK_COLOR, "width": 3.5, "dash": "solid", "order": 0}
        elif name == ATTAINABLE:
            styles[name] = {"color": MUTED_COLOR, "width": 2, "dash": "dash", "order": 3}
        elif kind == "floor":
            styles[name] = {"color": MUTED_COLOR, "width": 1.5, "dash": "dot", "order": 2}
        else:
            dash = DASHES[(position // len(COLORS)) % len(DASHES)]
            styles[name] = {"color": COLORS[position % len(COLORS)], "width": 1.5, "dash": dash, "order": 1}
            position += 1
    return styles


def _view(
    horizon: int, item: DateSeries, arrays: dict[str, np.ndarray], styles: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return what one chart shows at one horizon, ready for JSON."""
    names = sorted(arrays, key=lambda name: (styles[name]["order"], name))
    lines = [{"name": name, "y": clean(arrays[name]), **styles[name]} for name in names]
    return {"label": f"Horizon {horizon}", "dates": [str(date) for date in item.dates], "lines": lines}


def _arrays(item: DateSeries) -> dict[str, np.ndarray]:
    """Return the series as float arrays."""
    return {name: np.asarray(values, dtype=float) for name, values in item.values.items()}


def chart_specs(data: ReportData) -> list[dict[str, Any]]:
    """Return every chart of the report as plain data."""
    styles, specs = line_styles(data), []
    if data.ic_series:
        views = []
        for horizon, item in sorted(data.ic_series.items()):
            window = rolling_window(len(item.dates))
            means = {name: rolling_mean(values, window) for name, values in _arrays(item).items()}
            views.append(_view(horizon, item, means, styles))
        specs.append({"id": "chart-rank-ic", "title": "rolling mean rank IC", "views": views})
    if data.spread_series:
        horizon, item = min(data.spread_series.items(), key=lambda pair: pair[0])
        sums = {name: cumulative(values, horizon) for name, values in _arrays(item).items()}
        views = [_view(horizon, item, sums, styles)]
        specs.append({"id": "chart-spread", "title": "cumulative spread", "views": views})
    return specs


def _chart_html(key: str, label: str, horizons: Sequence[int]) -> str:
    """Return the empty place of one chart with its horizon buttons and legend."""
    buttons = "".join(
        f'<button type="button" aria-pressed="{"false" if position else "true"}" data-view="{position}">'
        f"Horizon {horizon}</button>"
        for position, horizon in enumerate(horizons)
    )
    picker = f'<div class="picker" data-chart="{key}">{buttons}</div>' if len(horizons) > 1 else ""
    return (
        f'{picker}<div class="chart" id="{key}" role="img" aria-label="{esc(label)}"></div>'
        f'<div class="legend" id="{key}-legend"></div>'
        "<noscript><p>The chart needs JavaScript; nothing is loaded from a network.</p></noscript>"
    )


def ic_html(data: ReportData) -> str:
    """Return the section with the rolling rank IC."""
    if not data.ic_series:
        return ""
    windows = sorted({rolling_window(len(item.dates)) for item in data.ic_series.values()})
    length = " or ".join(str(window) for window in windows)
    note = f"Mean rank IC of the last {length} dates. Press a name below the chart to hide or show its line."
    if any(ATTAINABLE in item.values for item in data.ic_series.values()):
        note += " The dashed grey line is the attainable rank IC."
    chart = _chart_html("chart-rank-ic", "Rolling mean rank IC over time", sorted(data.ic_series))
    return f'<p class="note">{note}</p>{chart}'


def spread_html(data: ReportData) -> str:
    """Return the section with the cumulative spread at the first horizon."""
    if not data.spread_series:
        return ""
    horizon = min(data.spread_series)
    note = f"Running sum of the spread, top less bottom group, at horizon {horizon}. No cost is taken off."
    if horizon > 1:
        note += f" Outcomes overlap, so every date's spread is divided by {horizon}."
    chart = _chart_html("chart-spread", "Cumulative spread over time", [horizon])
    return f'<p class="note">{note}</p>{chart}'


def scripts_html(data: ReportData) -> str:
    """Return the chart library, the chart data and the page script; little where there is no chart."""
    specs = chart_specs(data)
    library = ""
    if specs:
        from plotly.offline import get_plotlyjs

        library = f'<script id="plotly-library">{get_plotlyjs()}</script>\n'
    text = json.dumps(specs, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return (
        f'{library}<script type="application/json" id="report-data">{text}</script>\n'
        f'<script id="report-script">{SCRIPT}</script>'
    )
