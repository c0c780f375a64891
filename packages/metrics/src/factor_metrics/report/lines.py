"""Series as lines: which colour and dash a name has in every chart, and who comes first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from factor_metrics.report.charts import Line
from factor_metrics.report.data import DateSeries, ReportData

ATTAINABLE = "attainable"
NUM_COLORS = 8
DASHES = ("", " dash", " dotted")


def tones(data: ReportData) -> dict[str, str]:
    """Give every name one class of colour and dash that all charts share."""
    kinds = {row.name: row.kind for row in data.rows}
    series = [*data.ic_series.values(), *data.spread_series.values(), *data.turnover_series.values()]
    result: dict[str, str] = {}
    position = 0
    for name in sorted({name for item in series for name in item.values}):
        kind = kinds.get(name, "stack" if name == "stack" else "model")
        if kind == "stack":
            result[name] = "s0"
        elif name == ATTAINABLE:
            result[name] = "muted dash"
        elif kind == "floor":
            result[name] = "muted dotted"
        else:
            result[name] = f"s{position % NUM_COLORS + 1}{DASHES[position // NUM_COLORS % len(DASHES)]}"
            position += 1
            if name == data.subject:
                result[name] += " lead"
    return result


def lines_of(
    data: ReportData, item: DateSeries, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> list[Line]:
    """Return changed series as lines: the subject first, then models, then floors and what is attainable."""
    styles = tones(data)

    def order(name: str) -> tuple[bool, bool, str]:
        return name != data.subject, "muted" in styles[name], name

    return [
        Line(name=name, values=change(np.asarray(item.values[name], dtype=float)), tone=styles[name])
        for name in sorted(item.values, key=order)
    ]
