"""The section of importance: what the subject's rank IC loses when inputs are shuffled, and the gain of trees."""

from __future__ import annotations

import numpy as np

from factor_metrics.judging.importance import Importance
from factor_metrics.judging.profile import Estimates
from factor_metrics.report.charts import Chart, estimate_chart
from factor_metrics.report.data import ReportData
from factor_metrics.report.tables import num, table, tr
from factor_metrics.report.text import esc, interval, number, percent
from factor_metrics.report.views import Section, by_label

MOST_ROWS = 20
NOTE = (
    "Mean rank IC that the fitted models of all folds lose on test dates when the values of an input, or of all inputs "
    "of a group together, are exchanged among the symbols of each date; paired by date, with intervals that are not "
    "corrected for their number. An input that others can stand in for loses little, so groups come first. What is the "
    "same for all symbols of a date cannot be measured this way. Gain: the share of the input in what the splits of "
    "trees gained in training, which is no result out of fold."
)


def importance_section(data: ReportData) -> Section:
    """Return groups as bars and the inputs that matter most as a table, for each label."""

    def view(label: str) -> tuple[str, list[Chart]]:
        one = data.importances[label]
        chart = estimate_chart(
            f"chart-importance-{label}", f"Rank IC lost without a group of inputs, label {label}", one.groups, bars=True
        )
        html = f'<p class="note">{one.num_dates} test dates.</p><div class="small">{chart.html}</div>'
        return html + _inputs(one), [chart]

    return by_label("importance", "Importance of inputs", NOTE, list(data.importances), view)


def _inputs(one: Importance) -> str:
    part: Estimates = one.inputs
    order = np.argsort(-np.nan_to_num(part.mean, nan=-np.inf), kind="stable")[:MOST_ROWS]
    gains = bool(one.gain)
    body = [
        tr(
            esc(part.names[place]),
            [
                num(number(part.mean[place])),
                num(interval(part.low[place], part.high[place])),
                *([num(percent(one.gain.get(part.names[place], 0.0)))] if gains else []),
            ],
        )
        for place in order
    ]
    heads = ["", "Rank IC lost", "Bounds", *(["Gain"] if gains else [])]
    shown = f"The {len(order)} of {len(part.names)} inputs that lose most."
    return f'<details><summary>Single inputs</summary><p class="note">{shown}</p>{table(heads, body)}</details>'
