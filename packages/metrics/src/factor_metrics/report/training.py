"""The section of the training: loss and score of every epoch, a line per fold."""

from __future__ import annotations

import numpy as np

from factor_metrics.report.charts import Chart, Line, time_chart
from factor_metrics.report.data import ReportData
from factor_metrics.report.lines import NUM_COLORS
from factor_metrics.report.text import esc
from factor_metrics.report.views import Section

NOTE = (
    "Means over the steps of each epoch, a line per fold; the score is that of the valid dates, which choose the epoch."
)


def training_section(data: ReportData) -> Section:
    """Return a folded chart for each number that training logs; nothing of a model that is fitted in one call."""
    body, charts = "", list[Chart]()
    for name, item in data.curves.items():
        lines = [
            Line(name=fold, values=np.asarray(values, dtype=float), tone=f"s{place % NUM_COLORS + 1}")
            for place, (fold, values) in enumerate(item.values.items())
        ]
        chart = time_chart(f"chart-training-{name}", f"{name} by epoch", item.dates, lines)
        charts.append(chart)
        body += f"<details><summary>{esc(name)}</summary>{chart.html}</details>"
    note = f'<p class="note">{NOTE}</p>' if body else ""
    return Section(key="training", heading="Training", body=note + body, charts=charts)
