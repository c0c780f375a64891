"""Forecasts as books after costs: at the prices of the panel, held for as long as their label looks ahead."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import FeatureStore, Label, Panel, read_parquet
from factor_metrics import BookResult, TradingRules, beside_truth, constant_dates, judge_book, rank_within_groups
from factor_metrics.portfolio.costs import Impact, impact_rates
from factor_metrics.trailing import last_known
from stages.judging.judge import TRUE_DELAY
from stages.judging.kept import Arrays, Kept
from stages.judging.pages import Books
from stages.judging.time_series import is_over_time
from stages.params.evaluate import EvaluateParams
from stages.records import plain
from stages.running.planned import Plan
from stages.running.stage import StageError
from stages.universe import UNIVERSE, check_sector

NO_PRICES = "the data have no prices, so books do not apply"
OVER_TIME = "forecasts are compared over time, and a book needs the symbols of a date in order"
NO_RETURN = "the label is a volatility, which no book earns"
NO_FORECAST = "there is no forecast to make a book of"
SHARPE = "net_sharpe"
"""Name under which the net Sharpe ratio of a book of the truth is kept: one number, or none where nobody knows it."""

Book = Callable[[NDArray], BookResult]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars:
    """What the bars of the whole calendar say, (num_dates, num_symbols) each."""

    price: NDArray[np.float64]
    """Adjusted, NaN = no bar."""
    traded: NDArray[np.float64] | None
    """Money; None where no bar says what was traded."""
    universe: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Quotes:
    """Prices of some dates of the calendar."""

    dates: NDArray[np.datetime64]
    price: NDArray[np.float64]
    """(num_dates, num_symbols) adjusted, NaN = no bar."""
    impact: Impact | None
    """None where it has no price, since no bar says what was traded."""
    benchmark: NDArray[np.float64]
    """(num_dates,) returns of the benchmark; NaN on the first."""


def judge_books(
    forecasts: Mapping[str, tuple[NDArray[np.datetime64], NDArray]],
    store: FeatureStore,
    panel: Panel,
    config: EvaluateParams,
    expected: Path,
    kept: Kept | None = None,
) -> Books:
    """Return the book of each label's forecast, given with its dates and as (num_dates, num_symbols).

    `expected` is the table of the true expectation of a simulated market, without rows where nobody knows it: the same
    symbols on the same dates are then a book of the truth, too, which is the same for all that forecast them (`kept`).
    """
    found, without = {}, {}
    truths, sectors = cache(partial(read_parquet, expected)), sectors_of(panel, config)
    bars, impacts = cache(partial(bars_of, panel)), cache(partial(impact_from, config=config))
    for name, (dates, prediction) in forecasts.items():
        label = store.heads[name]
        if is_over_time(config):
            without[name] = OVER_TIME
        elif label.measure != "return":
            without[name] = NO_RETURN
        elif not np.isfinite(prediction).any():
            without[name] = NO_FORECAST
        elif (
            quotes := quotes_of(panel, bars(label.price), dates, label, store.overlap(name), config, impacts)
        ) is None:
            without[name] = NO_PRICES
        else:
            sector = None if sectors is None else sectors[np.searchsorted(panel.dates, dates)]
            book = partial(
                book_of, dates=dates, label=label, held=store.overlap(name), quotes=quotes, config=config, sector=sector
            )
            found[name], there = book(prediction), np.isfinite(prediction)

            def best(book: Book = book, there: NDArray[np.bool_] = there, at: Label = label, on: Any = dates) -> Arrays:
                truth = true_expectation(truths(), at, on, store.symbols)
                sharpe = [] if truth is None else [book(np.where(there, truth, np.nan)).scores.net_sharpe]
                return {SHARPE: np.array(sharpe, dtype=np.float64)}

            settings = json.dumps([plain(label), store.overlap(name), plain(config)])
            decided_by = [settings.encode(), dates.tobytes(), str(there.shape).encode(), np.packbits(there).tobytes()]
            for sharpe in (best() if kept is None else kept.arrays(decided_by, best, [SHARPE]))[SHARPE].tolist():
                found[name] = beside_truth(found[name], sharpe)
    return Books(found=found, without=without)


def kept_books(plan: Plan) -> Kept:
    """Return where books of the truth are kept."""
    return Kept.by(plan, __name__)


def bars_of(panel: Panel, price: str) -> Bars:
    """Return the prices, open or close, with what was traded and the universe."""
    prices = panel.to_matrix(panel.adjusted(price))
    traded = panel.to_matrix(money_traded(panel))
    return Bars(
        price=np.where(prices > 0.0, prices, np.nan),
        traded=traded if (traded > 0.0).any() else None,
        universe=panel.to_matrix(panel.in_universe.astype(np.float64)) > 0.0,
    )


def true_expectation(
    truth: pd.DataFrame, label: Label, dates: NDArray[np.datetime64], symbols: NDArray[np.str_]
) -> NDArray[np.float64] | None:
    """(num_dates, num_symbols) expected return of a label on a simulated market.

    None on real data, without a signal, and of a label whose expectation is not known.
    """
    if label.delay != TRUE_DELAY or label.price != "close" or label.neutral is not None:
        return None
    known = truth[truth["horizon"] == label.horizon].drop(columns="horizon").set_index("timestamp")
    matrix = known.reindex(index=pd.DatetimeIndex(dates), columns=symbols).to_numpy(dtype=np.float64)
    return matrix if (np.nan_to_num(matrix) != 0.0).any() else None


def sectors_of(panel: Panel, config: EvaluateParams) -> NDArray[np.float64] | None:
    """(num_dates, num_symbols) number of each symbol's sector at its bars; None where params.yaml names no column."""
    if config.sector is None:
        return None
    check_sector({"sector": config.sector}, panel.columns)
    return panel.to_matrix(np.asarray(panel.columns[config.sector], dtype=np.float64))


def inside_sectors(prediction: NDArray, sectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks of a forecast inside sectors; all the same on a date on which it tells no symbols apart."""
    constant = constant_dates(prediction)[:, None] & np.isfinite(prediction)
    return rank_within_groups(np.where(constant, 0.0, prediction), sectors)


def book_of(
    prediction: NDArray,
    dates: NDArray[np.datetime64],
    label: Label,
    held: int,
    quotes: Quotes,
    config: EvaluateParams,
    sector: NDArray[np.float64] | None = None,
) -> BookResult:
    """Return the book of a forecast on these dates, held for so many dates; `sector` as `sectors_of` has it."""
    if config.portfolio.sector_neutral and sector is not None:
        prediction = inside_sectors(prediction, sector)
    spread = np.full(quotes.price.shape, np.nan, dtype=prediction.dtype)  # which says what rounding is
    spread[np.searchsorted(quotes.dates, dates)] = prediction
    try:
        return judge_book(
            spread,
            quotes.price,
            quotes.impact,
            quotes.dates,
            quotes.benchmark,
            config.portfolio,
            horizon=held,
            delay=label.delay,
            num_quantiles=config.quantiles,
            confidence=config.confidence,
        )
    except ValueError as error:
        raise StageError(f"params.yaml: evaluate.portfolio: {error}") from None


def quotes_of(
    panel: Panel,
    bars: Bars,
    dates: NDArray[np.datetime64],
    label: Label,
    held: int,
    config: EvaluateParams,
    impacts: Callable[[Bars, int], Impact],
) -> Quotes | None:
    """Return prices from before these dates, for volumes, to the end of the last book; None without any.

    `impacts` has the price impact of the bars from a date on.
    """
    settings = config.portfolio
    delay = label.delay if settings.delay is None else settings.delay
    first, last = np.searchsorted(panel.dates, dates[[0, -1]])
    span = slice(max(0, first - settings.costs.volume_bars), last + delay + held + 1)
    price, traded = bars.price[span], None if bars.traded is None else bars.traded[span]
    if not np.isfinite(price).any():
        return None
    return Quotes(
        dates=panel.dates[span],
        price=price,
        impact=Impact(rates=impacts(bars, span.start).rates[: len(price)])
        if traded is not None and (traded > 0.0).any() and settings.costs.impact > 0.0
        else None,
        benchmark=benchmark_returns(price, bars.universe[span], panel.symbols, settings.benchmark),
    )


def impact_from(bars: Bars, first: int, config: EvaluateParams) -> Impact:
    """Return the price impact of the bars from the date at `first` to the end; a date's rates rest on earlier ones."""
    settings = config.portfolio
    assert bars.traded is not None, "no bar says what was traded"
    rates = impact_rates(
        bars.price[first:],
        bars.traded[first:],
        coefficient=settings.costs.impact,
        money=settings.money,
        num_bars=settings.costs.volume_bars,
    )
    return Impact(rates=rates)


def money_traded(panel: Panel) -> NDArray[np.float64]:
    """(num_rows,) money that was traded: the column `amount` where it says any, else close times volume."""
    amount = panel.columns.get("amount")
    if amount is not None and (amount > 0.0).any():
        return np.asarray(amount)
    return panel.columns["close"] * panel.columns["volume"]


def benchmark_returns(
    price: NDArray[np.float64], universe: NDArray[np.bool_], symbols: NDArray[np.str_], name: str
) -> NDArray[np.float64]:
    """(num_dates,) returns of a symbol, or the mean over the symbols that were in the universe at their bar before.

    The move over dates without a bar counts on the first date with one; in the universe over as many dates as a book
    holds a symbol without a price.
    """
    moves = np.full(price.shape, np.nan)
    moves[1:] = price[1:] / last_known(price)[:-1] - 1.0
    if name != UNIVERSE:
        return moves[:, list(symbols).index(name)]
    missing, row = np.isnan(price), np.arange(len(price))[:, None]
    member = last_known(np.where(missing, np.nan, universe))[:-1] > 0.0
    waited = row[1:] - last_known(np.where(missing, np.nan, row))[:-1] - 1
    moves[1:][~(member & (waited <= TradingRules().max_stale))] = np.nan
    count = np.isfinite(moves).sum(axis=1)
    return np.divide(np.nansum(moves, axis=1), count, out=np.full(len(moves), np.nan), where=count > 0)
