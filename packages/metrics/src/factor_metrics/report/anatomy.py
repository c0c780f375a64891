"""The section of what the subject's forecast is made of: a folded part for each way to take it apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from factor_metrics.dispersion import no_dispersion
from factor_metrics.judging.profile import Estimates
from factor_metrics.report.charts import Chart, Line, estimate_chart, time_chart
from factor_metrics.report.data import ReportData
from factor_metrics.report.lines import NUM_COLORS
from factor_metrics.report.series import FEW_POINTS, cumulative, drawn
from factor_metrics.report.tables import num, table, tr
from factor_metrics.report.text import esc, interval, number, percent
from factor_metrics.report.views import Section, by_label
from factor_metrics.significance.distributions import moments, normal_quantile

NUM_BINS = 13
NUM_QUANTILES = 40

PARTS = {
    "exposure": (
        "Exposure",
        "Mean rank correlation of the forecast with what is known of the symbols at the close of t: beta over 60 "
        "dates, mean money traded and volatility over 20, momentum from 60 to 5 dates before.",
    ),
    "neutral": (
        "Rank IC neutral to them",
        "The forecast's rank less its regression on the rank of the exposure, date by date, over the symbols of "
        "which all are known; of a sector the mean of its symbols. What is left is no bet on the exposure.",
    ),
    "neutral_decay": (
        "Decay of what is neutral",
        "Rank IC of the forecast neutral to all of them when it is that many dates old.",
    ),
    "by_size": (
        "By size",
        "Rank IC inside terciles of the money traded.",
    ),
    "by_volatility": (
        "By volatility",
        "Rank IC inside terciles of volatility.",
    ),
    "by_regime": (
        "By regime",
        "Dates after the equal-weighted universe rose or fell over 20 dates, and on which it moved less or more "
        "than in the median of the scored dates: known only at the end, so it describes and is no rule to trade "
        "by.",
    ),
    "by_weekday": (
        "By weekday",
        "Rank IC by day of the week of the forecast.",
    ),
    "by_month": (
        "By calendar month",
        "Rank IC by month of the forecast, all years together.",
    ),
}
NOTE = (
    "Means over dates with their intervals. They are not corrected for how many of them are shown: of twenty intervals "
    "at 95 % one misses by chance."
)


def anatomy_section(data: ReportData) -> Section:
    """Return the subject's forecast taken apart, for each label."""

    def view(label: str) -> tuple[str, list[Chart]]:
        parts = [*_estimates(data, label), *_distribution(data, label), *_quantiles(data, label)]
        return "".join(html for html, _ in parts), [chart for _, charts in parts for chart in charts]

    labels = [label for label in data.labels if label in data.anatomies or label in data.quantile_series]
    return by_label("made-of", "What it is made of", NOTE, labels, view)


def _estimates(data: ReportData, label: str) -> Iterator[tuple[str, list[Chart]]]:
    for name, (heading, note) in PARTS.items():
        part: Estimates | None = getattr(data.anatomies.get(label), name, None)
        if part is not None and part.names:
            chart = estimate_chart(f"chart-{name.replace('_', '-')}-{label}", f"{heading}, label {label}", part)
            yield _folded(heading, note, f'<div class="small">{chart.html}</div>{_numbers(part)}'), [chart]


def _distribution(data: ReportData, label: str) -> Iterator[tuple[str, list[Chart]]]:
    """Yield the histogram of the rank IC and its quantiles beside those of a normal."""
    item = data.ic_series.get(label)
    if item is None or data.subject not in item.values:
        return
    values = np.asarray(item.values[data.subject], dtype=float)
    values = values[np.isfinite(values)]
    if no_dispersion(values):
        return
    counts, edges = np.histogram(values, bins=NUM_BINS)
    none, names = np.full(NUM_BINS, np.nan), tuple(number(edge, 2) for edge in (edges[1:] + edges[:-1]) / 2.0)
    shares = Estimates(names=names, mean=counts / len(values), low=none, high=none)
    level = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    nothing = np.full(NUM_QUANTILES, np.nan)
    found = Estimates(
        names=tuple(percent(one) for one in level), mean=np.quantile(values, level), low=nothing, high=nothing
    )
    normal = values.mean() + values.std(ddof=1) * np.array([normal_quantile(float(one)) for one in level])
    charts = [
        estimate_chart(
            f"chart-histogram-{label}", f"Histogram of the rank IC, label {label}", shares, unit="share", bars=True
        ),
        estimate_chart(
            f"chart-normal-{label}",
            f"Quantiles of the rank IC by those of a normal, label {label}",
            found,
            across=normal,
        ),
    ]
    skewness, kurtosis = moments(values)
    note = (
        f"Share of the dates by rank IC, and its quantiles by those of a normal with its mean {number(values.mean())} "
        f"and deviation {number(values.std(ddof=1), sign=False)} (on the dashed line they are equal). Skewness "
        f"{number(skewness, 2)}, kurtosis {number(kurtosis, 2)}, where a normal has 0 and 3."
    )
    yield (
        _folded("Distribution of the rank IC", note, f'<div class="small">{charts[0].html}{charts[1].html}</div>'),
        charts,
    )


def _quantiles(data: ReportData, label: str) -> Iterator[tuple[str, list[Chart]]]:
    """Yield what each quantile of the forecast came to over time."""
    item = data.quantile_series.get(label)
    if item is None:
        return
    columns = np.column_stack([np.asarray(values, dtype=float) for values in item.values.values()])
    kept = drawn(len(columns), FEW_POINTS)
    relative, overlap = columns - columns.mean(axis=1, keepdims=True), data.overlaps.get(label, 1)
    lines = [
        Line(name=name, values=cumulative(relative[:, place], overlap)[kept], tone=f"s{place % NUM_COLORS + 1}")
        for place, name in enumerate(item.values)
    ]
    chart = time_chart(
        f"chart-by-quantile-{label}",
        f"Cumulative label by quantile of the forecast of {label}",
        [item.dates[place] for place in kept],
        lines,
        unit="share",
    )
    note = (
        "Running sum of the mean label of each quantile of the forecast, less the mean over the quantiles of the date "
        "and divided by how many dates an outcome lasts. Before costs."
    )
    yield _folded("Cumulative return by quantile", note, chart.html), [chart]


def _folded(heading: str, note: str, body: str) -> str:
    return f'<details><summary>{heading}</summary><p class="note">{esc(note)}</p>{body}</details>'


def _numbers(part: Estimates) -> str:
    body = [
        tr(esc(name), [num(number(mean)), num(interval(low, high))])
        for name, mean, low, high in zip(part.names, part.mean, part.low, part.high, strict=True)
    ]
    return table(["", "Mean", "Bounds"], body)
