"""From forecasts to a page in one call, shown inline in a notebook: `factor_metrics.report` and `tear_sheet`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import Matrix, as_matrix, check_at_least, check_same_shape
from factor_metrics.floors.price_floors import price_floors
from factor_metrics.floors.random_ranking import random_ranking
from factor_metrics.judging.book_results import BookResult
from factor_metrics.judging.books import judge_book
from factor_metrics.judging.config import EvaluationConfig, LooseSettings, evaluation_config
from factor_metrics.judging.evaluation import evaluate_predictions
from factor_metrics.judging.profile import profile_forecast
from factor_metrics.matrices import as_wide
from factor_metrics.portfolio.config import BookConfig
from factor_metrics.report.data import ReportData, RowCounts
from factor_metrics.report.subject import Subject, date_series, floor_rows, result_row, standard_error

SHORT = ("results", "floors", "rank-ic", "quantiles", "decay", "spread", "after-costs")
"""Sections of a tear sheet."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TearSheet:
    """The main sections of a report, to look at inline and to save."""

    data: ReportData
    """All that the report shows, these sections and the others."""

    def __repr__(self) -> str:
        return repr(self.data).replace("ReportData", "TearSheet", 1)

    def _repr_html_(self) -> str:
        from factor_metrics.report.showing import page_frame

        return page_frame(self.html(), height=720)

    def html(self) -> str:
        """Return one HTML document of these sections that needs no network."""
        from factor_metrics.report.page import build_report

        return build_report(self.data, only=SHORT)

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all, and return its path."""
        from factor_metrics.writing import write_text

        return write_text(path, self.html())

    def figures(self, label: str | None = None) -> dict[str, Any]:
        """Return the charts as matplotlib figures; see `ReportData.figures`."""
        return self.data.figures(label)


def make_report(
    prediction: Any,
    label: Any,
    prices: Any = None,
    *,
    dates: NDArray[np.datetime64] | Sequence[Any] | None = None,
    horizon: int = 1,
    delay: int = 1,
    name: str = "forecast",
    book: BookConfig | None = None,
    save: str | Path | None = None,
    config: EvaluationConfig | None = None,
    **loose: Unpack[LooseSettings],
) -> ReportData:
    """Judge a forecast and return its report, which a notebook shows inline; `factor_metrics.report(...)` calls this.

    Parameters
    ----------
    prediction, label
        Frames of dates by symbols, long tables or series indexed by (date, symbol), of pandas, polars or pyarrow, or
        matrices (num_dates, num_symbols) with `dates`; NaN = missing. A labelled `label` is put on the dates and
        symbols of the prediction by its labels; cells that it lacks are missing.
    prices
        Closes, adjusted and above 0, likewise; they may begin earlier and go on later. With them the forecast is held
        against floors that need no model (momentum, reversal ...) and traded as a book after costs; without, against a
        random ranking alone.
    dates
        (num_dates,) of matrices without labels.
    horizon, delay
        Dates from entry to exit of the label, over which neighbouring labels overlap; dates from forecast to entry.
    name
        The forecast's name in the heading, rows and charts.
    book
        Kind of book and costs, default `BookConfig()`. What was traded is not known here, so the impact has no price.
    save
        A file, such as "report.html", that the page is written to.
    config, **loose
        As in `evaluate_predictions`. Without a config a universe of fewer than 10 symbols has as few symbols a date.

    Raises
    ------
    ValueError
        Prediction and label have no cell in common, arrays have no dates, or shapes differ.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> days = np.arange("2024-01-01", "2024-04-10", dtype="datetime64[D]")
    >>> label = generator.normal(size=(len(days), 20))
    >>> found = make_report(label + generator.normal(size=label.shape), label, dates=days, num_bootstrap=50)
    >>> found.rows[0].name, found.rows[0].scores.num_dates
    ('forecast', 100)
    """
    check_at_least("horizon", horizon, 1)
    inputs = _inputs(prediction, label, prices, dates)
    settings = evaluation_config(config or _for_few_symbols(inputs.prediction.shape[1]), loose)
    judged = evaluate_predictions(inputs.prediction, inputs.label, horizon=horizon, config=settings)
    covered = ~np.isnan(inputs.prediction)
    floors = {
        floor: evaluate_predictions(np.where(covered, signal, np.nan), inputs.label, horizon=horizon, config=settings)
        for floor, signal in _floor_signals(inputs, settings.seed).items()
    }
    known, what = covered & ~np.isnan(inputs.label), f"h{horizon}"
    subject = Subject(
        name=name,
        label=what,
        overlap=horizon,
        dates=inputs.dates,
        judged=judged,
        floors=floors,
        attainable=None,
        profile=profile_forecast(
            inputs.prediction, {what: inputs.label}, what, overlaps={what: horizon}, config=settings
        ),
        row_counts=_row_counts(covered, known, what),
    )
    data = _report_data(subject, settings, _book(inputs, horizon, delay, book, settings))
    if save is not None:
        data.save(save)
    return data


def tear_sheet(prediction: Any, label: Any, prices: Any = None, **settings: Any) -> TearSheet:
    """Judge a forecast and return the main sections of its report alone: results, floors, IC, quantiles, decay, book.

    Parameters
    ----------
    prediction, label, prices, **settings
        As in `factor_metrics.report` (`make_report`); `save` writes this page.
    """
    path = settings.pop("save", None)
    sheet = TearSheet(data=make_report(prediction, label, prices, **settings))
    if path is not None:
        sheet.save(path)
    return sheet


class _Inputs(NamedTuple):
    prediction: Matrix
    label: Matrix
    dates: NDArray[np.datetime64]
    prices: Matrix | None
    """(num_price_dates, num_symbols), on a calendar of their own."""
    price_dates: NDArray[np.datetime64]


def _inputs(prediction: Any, label: Any, prices: Any, dates: Any) -> _Inputs:
    """Return all on the symbols of the prediction, the label on its dates as well."""
    named = {"prediction": prediction, "label": label, "prices": prices}
    tables = {name: as_wide(name, value) for name, value in named.items() if value is not None}
    first = tables["prediction"]
    if not hasattr(first, "index") or not hasattr(first, "columns"):
        return _plain_inputs(tables, dates)
    days = _clock(first.index)
    if days.dtype.kind != "M":
        raise ValueError(f"the rows of prediction must be dates, got {first.index[:3].tolist()}")
    _check_ascending("prediction", days)
    label_table = tables["label"]
    if hasattr(label_table, "reindex"):
        label_table = label_table.reindex(index=first.index, columns=first.columns)
        if not (label_table.notna() & first.notna()).to_numpy().any():
            raise ValueError(
                "prediction and label have no cell in common: prediction has "
                f"{first.index[0]} .. {first.index[-1]}, {first.columns[:3].tolist()}; label "
                f"{tables['label'].index[0]} .. {tables['label'].index[-1]}, {tables['label'].columns[:3].tolist()}"
            )
    values, outcome = as_matrix("prediction", first), as_matrix("label", label_table)
    check_same_shape("prediction", values, "label", outcome)
    price_table: Any = tables.get("prices")
    if not hasattr(price_table, "reindex"):
        return _on_one_calendar(values, outcome, days, price_table)
    if len(lacking := first.index.difference(price_table.index)):
        raise ValueError(f"prices lack {len(lacking)} of the {len(days)} dates of prediction, first {lacking[0]}")
    if not first.columns.isin(price_table.columns).any():
        raise ValueError(
            f"prediction and prices have no symbol in common: prediction has {first.columns[:3].tolist()}, prices "
            f"{price_table.columns[:3].tolist()}"
        )
    price_table = price_table.sort_index()
    price_days = _clock(price_table.index)
    _check_ascending("prices", price_days)
    return _Inputs(values, outcome, days, as_matrix("prices", price_table.reindex(columns=first.columns)), price_days)


def _plain_inputs(tables: dict[str, Any], dates: Any) -> _Inputs:
    if dates is None:
        raise ValueError("prediction has no dates: give dates=..., or a frame of dates by symbols")
    values, outcome = as_matrix("prediction", tables["prediction"]), as_matrix("label", tables["label"])
    check_same_shape("prediction", values, "label", outcome)
    days = _clock(np.asarray(dates))
    if days.dtype.kind != "M" or days.shape != (len(values),):
        raise ValueError(f"dates must be {len(values)} dates, got {days.dtype} of shape {days.shape}")
    _check_ascending("prediction", days)
    return _on_one_calendar(values, outcome, days, tables.get("prices"))


def _on_one_calendar(values: Matrix, outcome: Matrix, days: NDArray[np.datetime64], prices: Any) -> _Inputs:
    """Return the inputs where prices, if there are any, have no labels: they are of the dates of the prediction."""
    closes = None if prices is None else as_matrix("prices", prices)
    if closes is not None:
        check_same_shape("prediction", values, "prices", closes)
    return _Inputs(values, outcome, days, closes, days)


def _clock(index: Any) -> NDArray[np.datetime64]:
    """Return dates as datetime64[ns], of a zone its wall clock."""
    if getattr(index, "tz", None) is not None:
        index = index.tz_localize(None)
    values = np.asarray(index)
    return values.astype("datetime64[ns]") if values.dtype.kind == "M" else values


def _check_ascending(name: str, days: NDArray[np.datetime64]) -> None:
    """Refuse dates out of order or twice: decay, turnover, intervals and the book go from a row to the next."""
    steps = np.flatnonzero(~(days[1:] > days[:-1]))
    if len(steps):
        before, after = days[steps[0]], days[steps[0] + 1]
        raise ValueError(f"the dates of {name} must ascend, each once; {after!s:.19} comes after {before!s:.19}")


def _for_few_symbols(num_symbols: int) -> EvaluationConfig:
    usual = EvaluationConfig()
    if num_symbols < 2:
        raise ValueError(f"prediction has {num_symbols} symbol(s): an order needs at least 2")
    fewest, groups = min(usual.min_symbols, num_symbols), min(usual.quantiles, num_symbols)
    return EvaluationConfig(min_symbols=fewest, quantiles=groups)


def _floor_signals(inputs: _Inputs, seed: int) -> dict[str, Matrix]:
    floors = {"random": random_ranking(inputs.prediction.shape, seed)}
    if inputs.prices is None:
        return floors
    place = np.searchsorted(inputs.price_dates, inputs.dates)
    return {name: signal[place] for name, signal in price_floors(inputs.prices).items()} | floors


def _row_counts(covered: NDArray[np.bool_], known: NDArray[np.bool_], label: str) -> RowCounts:
    forecasts, scored = int(covered.sum()), int(known.sum())
    return RowCounts(
        label=label,
        bars=covered.size,
        in_universe=forecasts,
        without_prediction=0,
        without_price=forecasts - scored,
        after_the_end=0,
        scored=scored,
        rule="as it was given",
    )


def _book(
    inputs: _Inputs, horizon: int, delay: int, book: BookConfig | None, settings: EvaluationConfig
) -> BookResult | None:
    if inputs.prices is None:
        return None
    spread_out = np.full(inputs.prices.shape, np.nan)
    spread_out[np.searchsorted(inputs.price_dates, inputs.dates)] = inputs.prediction
    moves = np.full(inputs.prices.shape, np.nan)
    moves[1:] = inputs.prices[1:] / inputs.prices[:-1] - 1.0
    known = ~np.isnan(moves)
    total, count = np.where(known, moves, 0.0).sum(axis=1), known.sum(axis=1)
    market = np.divide(total, count, out=np.full(len(moves), np.nan), where=count > 0)
    return judge_book(
        spread_out,
        inputs.prices,
        None,
        inputs.price_dates,
        market,
        book,
        horizon=horizon,
        delay=delay,
        num_quantiles=settings.quantiles,
        confidence=settings.confidence,
    )


def _report_data(subject: Subject, settings: EvaluationConfig, book: BookResult | None) -> ReportData:
    name, what, judged, floor = subject.name, subject.label, subject.judged, subject.best_floor
    best = subject.floors[floor]
    series = {
        kind: {name: getattr(judged, kind), floor: getattr(best, kind)} for kind in ("rank_ic", "spread", "turnover")
    }
    columns = judged.quantile_returns.T
    days = subject.dates
    facts = {
        "Dates that are scored": f"{len(days)}, {days[0]!s:.10} to {days[-1]!s:.10}" if len(days) else "none",
        "Label": f"as it was given, over {subject.overlap} date(s)",
        "A date needs": f"{settings.min_symbols} symbols",
        "Intervals": f"{settings.confidence:.0%}, block bootstrap with {settings.bootstrap} resamples",
    }
    return ReportData(
        title=f"Report: {name}",
        subtitle="a forecast as it was given; whether it was made out of sample is not known here",
        subject=name,
        facts=facts,
        rows=[
            result_row(name, "model", judged, subject),
            *(result_row(one, "floor", found, subject) for one, found in subject.floors.items()),
        ],
        floors=floor_rows({name: judged}, subject.floors, label=what, overlap=subject.overlap, config=settings),
        ic_series={what: date_series(days, series["rank_ic"])},
        standard_errors={what: standard_error(subject)},
        overlaps={what: subject.overlap},
        spread_series={what: date_series(days, series["spread"])},
        turnover_series={what: date_series(days, series["turnover"])},
        profiles={what: subject.profile},
        quantile_series={what: date_series(days, {f"q{place}": column for place, column in enumerate(columns, 1)})},
        books={} if book is None else {what: book},
        row_counts=[subject.row_counts],
    )
