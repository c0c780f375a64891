"""Charts as plain SVG that needs no library: drawn here, stretched by the page, hovered over by its script.

The drawing lies in a box of 1000 by 1000 that the page stretches to any width; lines keep their width, and labels
are text beside the box, placed in percent. So a chart is sharp at every size, on paper and without JavaScript.
Colours are classes of the style sheet, hence light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_metrics.judging.profile import Estimates
from factor_metrics.report.axes import BOX, Scale, band_path, date_ticks, line_path, scale_of
from factor_metrics.report.series import drawn
from factor_metrics.report.text import esc

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """One named line: `tone` is its class in the style sheet, such as "s1" or "muted dash"."""

    name: str
    values: Values
    tone: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart as HTML, and its values for the script that shows them."""

    key: str
    html: str
    names: Sequence[str]
    """Labels from left to right: dates, quantiles ..."""
    values: dict[str, Any]
    """Values of the lines by place; `x` holds the places from 0 to 1, None where they are evenly spread over all."""


def time_chart(
    key: str,
    label: str,
    dates: Sequence[str],
    lines: Sequence[Line],
    *,
    band: tuple[Values, Values] | None = None,
    unit: str = "number",
    filled: bool = False,
) -> Chart:
    """Draw lines over dates; `band` is shaded, `filled` shades between the first line and zero."""
    kept = drawn(len(dates))
    names = [dates[position] for position in kept]
    lines = [Line(name=line.name, values=line.values[kept], tone=line.tone) for line in lines]
    edges = [edge[kept] for edge in band] if band else []
    scale = scale_of([*(line.values for line in lines), *edges], unit)
    x = np.linspace(0.0, BOX, len(names)) if len(names) > 1 else np.full(len(names), BOX / 2)
    shapes = []
    if edges:
        shapes.append(f'<path class="band" d="{band_path(x, scale.y(edges[0]), scale.y(edges[1]))}"/>')
    if filled:
        zero = np.zeros(len(names))
        shapes.append(f'<path class="fill" d="{band_path(x, scale.y(lines[0].values), scale.y(zero))}"/>')
    for position in reversed(range(len(lines))):
        line = lines[position]
        path = line_path(x, scale.y(line.values))
        shapes.append(f'<path class="line {line.tone}" data-line="{position}" d="{path}"/>')
    ticks = [(float(x[position]) / BOX, text) for position, text in date_ticks(names)]
    html = _figure(key, label, shapes, scale, ticks) + _legend(key, lines)
    columns = {line.name: line.values for line in lines}
    return Chart(key=key, html=html, names=names, values=_values(None, unit, columns))


def estimate_chart(
    key: str,
    label: str,
    estimates: Estimates,
    *,
    unit: str = "number",
    bars: bool = False,
    across: Values | None = None,
    prefix: str = "",
) -> Chart:
    """Draw means with their intervals: bars or dots, side by side or, with `across`, at these places.

    With `across` the horizontal axis is in the unit of the vertical one, and a dashed line shows where both are
    equal.
    """
    names = [f"{prefix}{name}" for name in estimates.names]
    scale = scale_of([estimates.mean, estimates.low, estimates.high], unit)
    sideways = None if across is None else scale_of([across], unit, zero=False)
    if across is None or sideways is None:
        x = BOX * (np.arange(len(names)) + 0.5) / max(len(names), 1)
        ticks = [(place / BOX, name) for place, name in zip(x, names, strict=True)]
    else:
        x = BOX * np.array([sideways.place(value) for value in across])
        ticks = [(sideways.place(tick), sideways.text(tick)) for tick in sideways.ticks]
    mean, low, high = (scale.y(values) for values in (estimates.mean, estimates.low, estimates.high))
    shapes = [_equality(sideways, scale)] if sideways else []
    zero = float(scale.y(np.zeros(1))[0])
    half = 0.3 * BOX / max(len(names), 1)
    for place, middle, bottom, top in zip(x, mean, low, high, strict=True):
        if not np.isfinite(place):
            continue
        if bars and np.isfinite(middle):
            shapes.append(
                f'<rect class="bar" x="{place - half:.4g}" width="{2 * half:.4g}" '
                f'y="{min(zero, middle):.4g}" height="{abs(middle - zero):.4g}"/>'
            )
        if np.isfinite(bottom) and np.isfinite(top):
            shapes.append(f'<path class="whisker" d="M{place:.4g} {bottom:.4g}V{top:.4g}"/>')
        if not bars and np.isfinite(middle):
            shapes.append(f'<path class="dot" d="M{place:.4g} {middle:.4g}h0"/>')
    columns = {"mean": estimates.mean, "low": estimates.low, "high": estimates.high}
    if across is not None:
        columns = {
            "predicted": across,
            "realised": estimates.mean,
            "low": estimates.low,
            "high": estimates.high,
        }
    html = _figure(key, label, shapes, scale, ticks)
    return Chart(key=key, html=html, names=names, values=_values(x, unit, columns))


def _equality(sideways: Scale, scale: Scale) -> str:
    """Draw the line on which the vertical value equals the horizontal one."""
    ends = scale.y(np.array([sideways.low, sideways.high]))
    return f'<path class="line muted dash" d="M0 {ends[0]:.4g}L{BOX} {ends[1]:.4g}"/>'


def _figure(key: str, label: str, shapes: Sequence[str], scale: Scale, ticks: Sequence[tuple[float, str]]) -> str:
    """Return the stretched drawing with its grid and the labels around it."""
    grid = "".join(f"M0 {BOX * (1 - scale.place(tick)):.4g}H{BOX}" for tick in scale.ticks)
    zero = ""
    if scale.low <= 0.0 <= scale.high:
        zero = f'<path class="zero" d="M0 {BOX * (1 - scale.place(0.0)):.4g}H{BOX}"/>'
    rows = "".join(
        f'<span class="y" style="bottom:{100 * scale.place(tick):.2f}%">{esc(scale.text(tick))}</span>'
        for tick in scale.ticks
    )
    columns = "".join(f'<span class="x" style="left:{100 * place:.2f}%">{esc(text)}</span>' for place, text in ticks)
    return (
        f'<div class="plot" id="{esc(key)}" tabindex="0"><svg viewBox="0 0 {BOX} {BOX}" preserveAspectRatio="none" '
        f'role="img" aria-label="{esc(label)}"><path class="grid" d="{grid}"/>{"".join(shapes)}{zero}</svg>'
        f"{rows}{columns}</div>"
    )


def _legend(key: str, lines: Sequence[Line]) -> str:
    """Return one button a line, which hides and shows it; nothing where there is but one."""
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-line="{position}"><svg width="22" height="8" '
        f'aria-hidden="true"><path class="line {line.tone}" d="M0 4H22"/></svg>{esc(line.name)}</button>'
        for position, line in enumerate(lines)
    )
    return f'<div class="legend" data-chart="{esc(key)}">{buttons}</div>' if len(lines) > 1 else ""


def _values(x: Values | None, unit: str, columns: dict[str, Values]) -> dict[str, Any]:
    """Return what the script shows under the pointer; missing numbers are None."""
    return {
        "x": None if x is None else rounded(x / BOX),
        "unit": unit,
        "lines": [{"name": name, "values": rounded(values)} for name, values in columns.items()],
    }


def rounded(values: Values) -> list[float | None]:
    """Round for the page and turn NaN and infinities into None."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]
