"""The sections of the page that are charts: one view for each label, of which the page shows the chosen one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from factor_metrics.judging.profile import ScaleCalibration
from factor_metrics.portfolio.performance import drawdown
from factor_metrics.report.charts import Chart, Line, estimate_chart, time_chart
from factor_metrics.report.data import ReportData
from factor_metrics.report.heat import months_table
from factor_metrics.report.lines import ATTAINABLE, lines_of, tones
from factor_metrics.report.results import FLOORS_NOTE, floors_table
from factor_metrics.report.series import (
    cumulative,
    monthly_means,
    rolling_error,
    rolling_mean,
    rolling_window,
)
from factor_metrics.report.text import DASH, esc, number


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what is below it; a section without a body is left out."""

    key: str
    heading: str
    body: str
    charts: Sequence[Chart] = ()


def by_label(
    key: str, heading: str, note: str, labels: Sequence[str], view: Callable[[str], tuple[str, list[Chart]]]
) -> Section:
    """Return a section with one view for each of the labels."""
    body, charts = f'<p class="note">{note}</p>', []
    for label in labels:
        html, drawn = view(label)
        body += f'<div class="views" data-label="{esc(label)}"><h3>Label {esc(label)}</h3>{html}</div>'
        charts += drawn
    return Section(key=key, heading=heading, body=body if labels else "", charts=charts)


def floors_section(data: ReportData) -> Section:
    """Forecasts beside their floors."""

    def view(label: str) -> tuple[str, list[Chart]]:
        return floors_table([row for row in data.floors if row.label == label]), []

    labels = list(dict.fromkeys(row.label for row in data.floors))
    return by_label("floors", "Beside the floors", FLOORS_NOTE, labels, view)


def rank_ic_section(data: ReportData) -> Section:
    """Return the rolling mean rank IC of every forecast, the subject's with its interval."""

    def view(label: str) -> tuple[str, list[Chart]]:
        item = data.ic_series[label]
        window = rolling_window(len(item.dates))
        band = None
        if data.subject in item.values and label in data.standard_errors:
            values = np.asarray(item.values[data.subject], dtype=float)
            middle = rolling_mean(values, window)
            # 1.96: the normal quantile of a 95 % interval.
            half = 1.96 * rolling_error(values, window, data.standard_errors[label])
            band = middle - half, middle + half
        chart = time_chart(
            f"chart-rank-ic-{label}",
            f"Rolling mean rank IC over {window} dates, label {label}",
            item.dates,
            lines_of(data, item, lambda values: rolling_mean(values, window)),
            band=band,
        )
        return chart.html, [chart]

    lengths = sorted({rolling_window(len(item.dates)) for item in data.ic_series.values()})
    note = f"Mean rank IC of the last {' or '.join(map(str, lengths))} dates."
    if data.standard_errors:
        note += (
            f" The band is the 95 % interval of {esc(data.subject)}'s mean over that many dates, by the standard "
            "error of the whole period."
        )
    if any(ATTAINABLE in item.values for item in data.ic_series.values()):
        note += " The dashed grey line is the attainable rank IC."
    return by_label("rank-ic", "Rank IC over time", note, list(data.ic_series), view)


def decay_section(data: ReportData) -> Section:
    """How long the subject's forecast stays good."""

    def view(label: str) -> tuple[str, list[Chart]]:
        profile = data.profiles[label]
        charts = [
            estimate_chart(
                f"chart-decay-label-{label}",
                f"Rank IC of the forecast of {label} against every label",
                profile.label_decay,
            ),
            estimate_chart(
                f"chart-decay-delay-{label}",
                f"Rank IC of forecasts of {label} by their age in dates",
                profile.delay_decay,
            ),
        ]
        titles = ["Against the other labels", "When the forecast is that many dates old"]
        return _side_by_side(titles, charts), charts

    note = (
        f"Mean rank IC of {esc(data.subject)} with its interval. What falls slowly can be traded slowly; a peak at "
        "an age above 0 would mean that the forecast looks at the wrong label."
    )
    return by_label("decay", "Decay", note, list(data.profiles), view)


def quantile_section(data: ReportData) -> Section:
    """Mean outcome by quantile of the subject's forecast."""

    def view(label: str) -> tuple[str, list[Chart]]:
        chart = estimate_chart(
            f"chart-quantiles-{label}",
            f"Mean label by quantile of the forecast of {label}",
            data.profiles[label].quantiles,
            unit="share",
            bars=True,
            prefix="q",
        )
        return f'<div class="small">{chart.html}</div>', [chart]

    note = (
        f"Mean label of the symbols by quantile of {esc(data.subject)}'s forecast, lowest first, less the date's mean "
        "over the quantiles, so that the market does not hide it; with the interval of each."
    )
    return by_label("quantiles", "Quantiles", note, list(data.profiles), view)


def spread_section(data: ReportData) -> Section:
    """Cumulative spread of every forecast, and the subject's distance from its peak."""

    def view(label: str) -> tuple[str, list[Chart]]:
        item, overlap = data.spread_series[label], data.overlaps.get(label, 1)
        charts = [
            time_chart(
                f"chart-spread-{label}",
                f"Cumulative spread, label {label}",
                item.dates,
                lines_of(data, item, lambda values: cumulative(values, overlap)),
                unit="share",
            )
        ]
        html = charts[0].html
        if data.subject in item.values:
            spread = np.asarray(item.values[data.subject], dtype=float)
            depth = drawdown(spread / overlap, compound=False)
            down = Line(name="below the peak", values=depth, tone=tones(data)[data.subject])
            charts.append(
                time_chart(
                    f"chart-drawdown-{label}",
                    f"Drawdown of the cumulative spread, label {label}",
                    item.dates,
                    [down],
                    unit="share",
                    filled=True,
                )
            )
            html += f'<h4>Below the peak: {esc(data.subject)}</h4><div class="low">{charts[1].html}</div>'
        return html, charts

    note = (
        "Running sum of the spread, the mean label of the top less that of the bottom quantile; below it how far the "
        "sum lies under its highest value so far. Outcomes of h bars overlap, so every date's spread is divided by "
        "h. No cost is taken off, nothing is compounded."
    )
    return by_label("spread", "Spread and drawdown", note, list(data.spread_series), view)


def turnover_section(data: ReportData) -> Section:
    """How much of the book changes, and how long the subject keeps its order."""

    def view(label: str) -> tuple[str, list[Chart]]:
        item = data.turnover_series[label]
        window = rolling_window(len(item.dates))
        chart = time_chart(
            f"chart-turnover-{label}",
            f"Rolling mean turnover, label {label}",
            item.dates,
            lines_of(data, item, lambda values: rolling_mean(values, window)),
            unit="share",
        )
        profile = data.profiles.get(label)
        if profile is None or not profile.autocorrelation.names:  # one date, or blocks of dates
            return f'<div class="small">{chart.html}</div>', [chart]
        kept = estimate_chart(
            f"chart-autocorrelation-{label}",
            f"Rank correlation of the forecast of {label} with itself so many dates before",
            profile.autocorrelation,
        )
        return _side_by_side(["Turnover", f"Rank autocorrelation of {esc(data.subject)}"], [chart, kept]), [chart, kept]

    note = (
        "Share of the top and bottom quantile that was not there when the present label began: what a book that "
        "is renewed that often has to trade. Rolling mean. The rank autocorrelation is the mean rank correlation of "
        "the forecast with that of so many dates before, with its interval: near 1 the order of the symbols hardly "
        "moves and costs little to trade."
    )
    return by_label("turnover", "Turnover", note, list(data.turnover_series), view)


def calibration_section(data: ReportData) -> Section:
    """Return the table of what was predicted beside what came."""
    found: Mapping[str, ScaleCalibration] = {
        label: profile.calibration for label, profile in data.profiles.items() if profile.calibration is not None
    }

    def view(label: str) -> tuple[str, list[Chart]]:
        item = found[label]
        chart = estimate_chart(
            f"chart-calibration-{label}",
            f"Mean realised by mean predicted target in bins of the forecast of {label}",
            item.realised,
            across=item.predicted,
            prefix="bin ",
        )
        slope, low, high = (float(values[0]) for values in (item.slope.mean, item.slope.low, item.slope.high))
        text = (
            f'<p class="note">Slope <b>{number(slope, 2)}</b> [{number(low, 2)}, {number(high, 2)}]: '
            f"{_slope_words(low, high)}.</p>"
        )
        axis = '<p class="axis">mean predicted</p>'
        return f'<div class="small">{chart.html}</div>{axis}{text}', [chart]

    note = (
        f"Mean realised target against mean predicted, in bins of {esc(data.subject)}'s forecast, in the unit that it "
        "was fitted to, both less the date's mean. On the dashed line they are equal. The slope is the mean over dates "
        "of the regression of realised on predicted (Fama and MacBeth, 1973). It matters where the size of a forecast "
        "is used; ranks do not depend on it."
    )
    return by_label("calibration", "Calibration", note, list(found), view)


def _slope_words(low: float, high: float) -> str:
    """Say what the interval of a calibration slope means."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return "too few dates to tell"
    if high < 1.0:
        return "forecasts are too far apart" if low > 0.0 else "the scale says nothing reliable"
    return "forecasts are too close together" if low > 1.0 else "the scale fits"


def months_section(data: ReportData) -> Section:
    """Mean rank IC of the subject, month by month."""
    chosen = {label: item for label, item in data.ic_series.items() if data.subject in item.values}

    def view(label: str) -> tuple[str, list[Chart]]:
        item = chosen[label]
        means = monthly_means(item.dates, np.asarray(item.values[data.subject], dtype=float))
        return months_table(means), []

    note = f"Mean rank IC of {esc(data.subject)} by month of the forecast; {DASH} where no date has one."
    return by_label("months", "Months", note, list(chosen), view)


def _side_by_side(titles: Sequence[str], charts: Sequence[Chart]) -> str:
    """Return two charts beside one another, below one another where it is narrow."""
    parts = (f"<div><h4>{title}</h4>{chart.html}</div>" for title, chart in zip(titles, charts, strict=True))
    return f'<div class="pair">{"".join(parts)}</div>'
