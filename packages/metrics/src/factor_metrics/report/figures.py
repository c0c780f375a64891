"""The charts of a report as matplotlib figures, for papers and slides (the extra `png`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from factor_metrics.judging.profile import Estimates
from factor_metrics.report.data import DateSeries, ReportData
from factor_metrics.report.png import COLORS, draw_intervals
from factor_metrics.report.results import result_key
from factor_metrics.report.series import cumulative, rolling_mean, rolling_window


def report_figures(data: ReportData, label: str | None = None) -> dict[str, Any]:
    """Return the figures of one label by name: intervals, rank_ic, quantiles, decay, spread (`ReportData.figures`)."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("figures need matplotlib: pip install 'factor-metrics[png]'") from None
    if not data.labels:
        raise ValueError("the report has no label to draw")
    label = data.labels[0] if label is None else label
    if label not in data.labels:
        raise ValueError(f"the report has no label {label!r}, it has {data.labels}")

    def axis_of(name: str, unit: str) -> Any:
        made: Any = Figure(figsize=(6.0, 3.4), layout="constrained")
        axis = made.subplots()
        axis.set_title(f"{name}, {label}", fontsize=10)
        axis.set_ylabel(unit, fontsize=9)
        axis.axhline(0.0, color="#18202b", linewidth=0.8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
        found[name] = made
        return axis

    found: dict[str, Any] = {}
    if rows := sorted((row for row in data.rows if row.label == label), key=result_key):
        made: Any = Figure(figsize=(6.0, 1.0 + 0.3 * len(rows)), layout="constrained")
        draw_intervals(made.subplots(), rows, label)
        found["intervals"] = made
    if label in data.ic_series:
        window = rolling_window(len(data.ic_series[label].dates))
        axis = axis_of("rank_ic", f"mean of the last {window} dates")
        _over_time(axis, data.ic_series[label], data.subject, lambda values: rolling_mean(values, window))
    if label in data.profiles:
        profile = data.profiles[label]
        _estimates(axis_of("quantiles", "mean label less that of the date"), profile.quantiles, bars=True)
        _estimates(axis_of("decay", "rank IC by age of the forecast"), profile.delay_decay, bars=False)
    if label in data.spread_series:
        axis = axis_of("spread", "cumulative spread")
        overlap = data.overlaps.get(label, 1)
        _over_time(axis, data.spread_series[label], data.subject, lambda values: cumulative(values, overlap))
    return found


def _over_time(axis: Any, series: DateSeries, subject: str, change: Any) -> None:
    days = np.array(series.dates, dtype="datetime64[s]")
    for name, values in series.values.items():
        color = COLORS["model"] if name == subject else COLORS["floor"]
        axis.plot(days, change(np.asarray(values, dtype=np.float64)), color=color, label=name, linewidth=1.2)
    axis.tick_params(axis="x", rotation=30)
    axis.legend(fontsize=8, frameon=False)


def _estimates(axis: Any, found: Estimates, bars: bool) -> None:
    places = np.arange(len(found.names))
    error = np.abs(np.vstack([found.mean - found.low, found.high - found.mean]))
    if bars:
        axis.bar(places, found.mean, color=COLORS["model"], alpha=0.6)
    drawn = np.nan_to_num(error, nan=0.0)  # an interval that is withheld has no length
    axis.errorbar(places, found.mean, drawn, fmt="o", color="#18202b", markersize=4, capsize=3, linewidth=1)
    axis.set_xticks(places, found.names)
