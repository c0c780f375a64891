"""The section of what is left after costs: equity, numbers, drawdowns and years of the subject's book."""

from __future__ import annotations

import math
from collections.abc import Sequence

from factor_metrics.judging.book_results import BookResult, DrawdownRow, YearRow, date_texts
from factor_metrics.report.charts import Chart, Line, time_chart
from factor_metrics.report.data import ReportData
from factor_metrics.report.lines import tones
from factor_metrics.report.series import FEW_POINTS, drawn
from factor_metrics.report.tables import facts_html, num, table, tr
from factor_metrics.report.text import DASH, esc, interval, number, percent, plain
from factor_metrics.report.views import Section, by_label

NOTE = (
    "The forecast as a book that trades, and what is left of it after costs. Net equity is compounded from the "
    "first trade on; gross is what the same positions earned before costs and fees. Break-even: the cost of a side, "
    "in basis points of what is traded, at which the mean return is 0. Capacity: the money at which price impact "
    "halves the net Sharpe ratio. The interval of the Sharpe ratio allows for skewness and kurtosis; the "
    "probability that it is above 0 is that of this look alone."
)


def books_section(data: ReportData) -> Section:
    """Return the subject's book for each label, or why there is none."""
    labels = list(dict.fromkeys([*data.books, *data.no_books]))
    if labels and not data.books and len(set(data.no_books.values())) == 1:
        reason = next(iter(data.no_books.values()))
        body = f'<p class="note">{esc(reason[:1].upper() + reason[1:])}.</p>'
        return Section(key="after-costs", heading="After costs", body=body)

    def view(label: str) -> tuple[str, list[Chart]]:
        if label not in data.books:
            return f'<p class="note">No book: {esc(data.no_books[label])}.</p>', []
        return _book(label, data.books[label], tones(data).get(data.subject, "s0"))

    note = f"{NOTE} {esc(data.book_rule)}"
    return by_label("after-costs", "After costs", note, labels, view)


def _book(label: str, book: BookResult, tone: str) -> tuple[str, list[Chart]]:
    kept = drawn(len(book.dates), FEW_POINTS)
    dates = date_texts(book.dates[kept])
    rule = (
        f'<p class="note">Traded {_dates(book.delay)} after the forecast and held for {_dates(book.num_books)}'
        + (f": {book.num_books} books overlap" if book.num_books > 1 else "")
        + f". A year has {number(book.periods_per_year, 0, sign=False)} dates ({esc(book.year_rule)})."
        + ("" if book.impact_priced else " No price impact is in the costs: it is switched off, or no volume is known.")
        + "</p>"
    )
    if not len(dates):
        return f'{rule}<p class="note">Nothing was ever traded.</p>', []
    chart = time_chart(
        f"chart-book-{label}",
        f"Equity of the book of {label}, net, gross and of the benchmark",
        dates,
        [
            Line(name="net", values=book.net[kept] - 1.0, tone=tone),
            Line(name="gross", values=book.gross[kept] - 1.0, tone="muted dash"),
            Line(name="benchmark", values=book.benchmark[kept] - 1.0, tone="muted dotted"),
        ],
        unit="share",
    )
    html = f"{rule}{chart.html}{facts_html(_numbers(book))}"
    html += _folded("Years", _years_table(book.years)) + _folded("Drawdowns", _drawdown_table(book.drawdowns))
    return html, [chart]


def _numbers(book: BookResult) -> dict[str, str]:
    """Return what a person compares, each with its name."""
    one = book.scores
    facts = {
        "Return a year, net": percent(one.net_return, sign=True),
        "Return a year, gross": percent(one.gross_return, sign=True),
        "Return a year, benchmark": percent(one.benchmark_return, sign=True),
        "Volatility a year": percent(one.net_volatility),
        "Sharpe ratio, net": f"{number(one.net_sharpe, 2)} {interval(one.net_sharpe_low, one.net_sharpe_high, 2)}",
        "Sharpe ratio, gross": number(one.gross_sharpe, 2),
        "Probability that the net one is above 0": percent(one.net_sharpe_probability),
        "Break-even, basis points a side": number(one.break_even, 1),
        "Costs a year": percent(one.costs),
        "Price impact in them": percent(one.impact_costs),
        "Borrowing a year": percent(one.borrow_costs, 2),
        "Traded a date, of equity": percent(one.traded),
        "Dates that a position is held": number(one.holding_dates, 1, sign=False),
        "Sortino ratio": number(one.net_sortino, 2),
        "Calmar ratio": number(one.net_calmar, 2),
        "Deepest drawdown": percent(one.net_drawdown),
        "Value at risk of a date, 95 %": percent(one.net_value_at_risk, 2),
        "Expected shortfall, 95 %": percent(one.net_expected_shortfall, 2),
        "Dates with a gain": percent(one.net_hit_rate),
        "Capacity": plain(one.capacity) if math.isfinite(one.capacity) else DASH,
        "Beta to the benchmark": number(one.beta, 2),
        "Alpha a year": percent(one.alpha, sign=True),
        "Information ratio": number(one.information_ratio, 2),
    }
    if math.isfinite(one.attainable_sharpe):
        share = percent(one.attained, 0) if math.isfinite(one.attained) else DASH
        facts["Attained net Sharpe ratio"] = (
            f"{number(one.net_sharpe, 2)} of {number(one.attainable_sharpe, 2)}, {share}: the same book that the true "
            "expected returns of this simulated market make, at the same costs"
        )
    return facts


def _years_table(years: Sequence[YearRow]) -> str:
    body = [
        tr(
            f"{one.year}",
            [
                num(f"{one.num_dates:,}"),
                num(percent(one.net_return, sign=True)),
                num(percent(one.gross_return, sign=True)),
                num(percent(one.benchmark_return, sign=True)),
                num(number(one.net_sharpe, 2)),
                num(percent(one.net_drawdown)),
                num(percent(one.traded)),
            ],
        )
        for one in years
    ]
    return table(["Year", "Dates", "Net", "Gross", "Benchmark", "Net Sharpe", "Drawdown", "Traded a date"], body)


def _drawdown_table(drawdowns: Sequence[DrawdownRow]) -> str:
    body = [
        tr(
            percent(one.depth),
            [
                f"<td>{esc(one.peak or 'the start')}</td>",
                f"<td>{esc(one.trough)}</td>",
                f"<td>{esc(one.recovered or 'not yet')}</td>",
                num(f"{one.num_dates:,}"),
            ],
        )
        for one in drawdowns
    ]
    return table(["Depth", "Peak", "Trough", "Back at the peak", "Dates"], body, text=(0, 1, 2, 3)) if body else ""


def _folded(heading: str, body: str) -> str:
    return f"<details><summary>{heading}</summary>{body}</details>" if body else ""


def _dates(count: int) -> str:
    return f"{count} date{'' if count == 1 else 's'}"
