"""A forecast as a book: positions, accounting, costs, and what is left of it in numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix, as_series, check_same_shape
from factor_metrics.judging.book_results import BookResult, BookScores, DrawdownRow, YearRow, date_texts
from factor_metrics.labels import same_labels
from factor_metrics.portfolio.backtest import Backtest, TradingRules
from factor_metrics.portfolio.config import BookConfig
from factor_metrics.portfolio.costs import Impact, break_even_cost, capacity, holding_time, impact_rates
from factor_metrics.portfolio.drawdowns import drawdown_table
from factor_metrics.portfolio.overlapping import overlapping_backtest
from factor_metrics.portfolio.performance import (
    annual_return,
    max_drawdown,
    performance,
    relative_performance,
    sharpe_interval,
    sharpe_ratio,
    total_return,
)
from factor_metrics.portfolio.trading_year import trading_year
from factor_metrics.portfolio.weights import book_weights
from factor_metrics.scores.diversity import constant_dates
from factor_metrics.significance.trials import probabilistic_sharpe_ratio

NOTHING_HELD = 1e-12
"""Sum of the sizes of positions up to which a book is empty: what is left of closing it is rounding."""


@same_labels("prediction", "price", "traded", "benchmark")
def judge_book(
    prediction: ArrayLike,
    price: ArrayLike,
    traded: ArrayLike | Impact | None,
    dates: NDArray[np.datetime64],
    benchmark: ArrayLike,
    config: BookConfig | None = None,
    *,
    horizon: int = 1,
    delay: int = 1,
    num_quantiles: int = 5,
    confidence: float = 0.95,
) -> BookResult:
    """Return what a forecast came to as a book of the kind that `config` says, after costs.

    A date on which the book is empty and trades nothing, as in a gap between folds, is in no number and in no series:
    cash that waits for forecasts is not part of what they are worth.

    Parameters
    ----------
    prediction
        (num_dates, num_symbols), NaN = missing. A date before the first forecast has no book; one without any
        forecast after it holds nothing; one on which forecasts tell no symbols apart, up to the rounding of their
        type (`constant_dates`), keeps the book.
    price
        (num_dates, num_symbols) adjusted, above 0, NaN = no bar.
    traded
        (num_dates, num_symbols) money traded in the bar, for the impact, or the `Impact` that was made of it with the
        numbers of `config`; None: nothing is known of it, and the impact has no price.
    dates
        (num_dates,) the calendar without gaps, strictly increasing; it may begin before the first forecast, for the
        impact, and has to go on after the last one until its book is closed.
    benchmark
        (num_dates,) returns of the benchmark; bought at the price of the first trade, as the book is.
    config
        Kind of book, limits, costs; default `BookConfig()`.
    horizon
        Dates that a decision is held: so many books overlap.
    delay
        Dates from forecast to trade, where `config` has none.
    num_quantiles, confidence
        Quantiles of a book of quantiles; level of the interval of the Sharpe ratio.

    Raises
    ------
    ValueError
        Shapes differ, a price is not above 0, or no book can satisfy the limits.
    """
    config = config or BookConfig()
    forecasts, prices = as_matrix("prediction", prediction), as_matrix("price", price)
    check_same_shape("prediction", forecasts, "price", prices)
    forecasts = np.where(constant_dates(prediction)[:, None] & ~np.isnan(forecasts), 0.0, forecasts)
    found_year, rule = trading_year(dates)
    year = config.periods_per_year or found_year
    costs, lag = config.costs, delay if config.delay is None else config.delay
    rules = TradingRules(delay=lag, buy_cost=costs.side, sell_cost=costs.side, borrow=costs.borrow / 1e4 / year)
    impact = None
    if isinstance(traded, Impact):
        impact = traded.rates
    elif traded is not None and costs.impact > 0.0:
        impact = impact_rates(prices, traded, coefficient=costs.impact, money=config.money, num_bars=costs.volume_bars)
    weights = _decisions(forecasts, config, num_quantiles, horizon)
    book = overlapping_backtest(weights, prices, dates, horizon, rules, impact=impact)
    market = as_series("benchmark", benchmark)
    began = np.flatnonzero(~np.isnan(book.returns))
    first = int(began[0]) if len(began) else len(dates)
    empty = np.concatenate([[True], book.gross[:-1] <= NOTHING_HELD])
    idle = empty & (book.turnover == 0.0) & ~np.isnan(book.returns)
    kept: NDArray[np.bool_] = (np.arange(len(book.returns)) >= first) & ~idle
    axis: NDArray[np.datetime64] = np.asarray(dates)[kept]
    net, gross = book.returns[kept], book.gross_returns[kept]
    # The first trade is at the price of its date: what moved up to it nobody has earned.
    market = np.where(empty, 0.0, market)[kept]
    money = config.money if impact is not None else None
    return BookResult(
        scores=_scores(book, kept, market, year, money, confidence),
        delay=lag,
        num_books=horizon,
        periods_per_year=year,
        year_rule=rule if config.periods_per_year is None else "given in the settings",
        impact_priced=impact is not None,
        dates=axis,
        net=_equity(net),
        gross=_equity(gross),
        benchmark=_equity(market),
        drawdowns=_drawdowns(net, axis),
        years=_years(net, gross, market, book.turnover[kept], axis, year),
    )


def beside_truth(result: BookResult, net_sharpe: float) -> BookResult:
    """Return a book with the net Sharpe ratio of the same book that the true expectation makes."""
    return replace(result, scores=replace(result.scores, attainable_sharpe=net_sharpe))


def _decisions(forecasts: Matrix, config: BookConfig, num_quantiles: int, horizon: int) -> Matrix:
    weights = book_weights(forecasts, config, num_quantiles, horizon)
    known = np.isfinite(forecasts).any(axis=1)
    first = int(np.argmax(known)) if known.any() else len(forecasts)
    none = ~known & (np.arange(len(forecasts)) > first)
    weights[none] = 0.0
    return weights


def _scores(
    book: Backtest, kept: NDArray[np.bool_], market: Series, year: float, money: float | None, confidence: float
) -> BookScores:
    net, gross, turnover = book.returns[kept], book.gross_returns[kept], book.turnover[kept]
    if not np.isfinite(net).any():
        return BookScores()
    found = performance(net, periods_per_year=year)
    beside = relative_performance(net, market, periods_per_year=year)
    low, high = sharpe_interval(net, periods_per_year=year, confidence=confidence)
    grown = 1.0 + gross - book.borrow[kept]  # before what trading costs
    room = math.nan
    if money is not None:
        impact = grown * book.impact[kept]
        room = capacity(net + impact, impact, money)
    probability = math.nan
    if found.num_dates >= 2 and math.isfinite(found.sharpe):
        per_date = found.sharpe / math.sqrt(year)
        probability = probabilistic_sharpe_ratio(per_date, found.num_dates, 0.0, found.skewness, found.kurtosis)
    return BookScores(
        gross_return=annual_return(gross, periods_per_year=year),
        net_return=found.annual_return,
        net_volatility=found.annual_volatility,
        gross_sharpe=sharpe_ratio(gross, periods_per_year=year),
        net_sharpe=found.sharpe,
        net_sharpe_low=low,
        net_sharpe_high=high,
        net_sharpe_probability=probability,
        net_sortino=found.sortino,
        net_calmar=found.calmar,
        net_drawdown=found.max_drawdown,
        net_value_at_risk=found.value_at_risk,
        net_expected_shortfall=found.conditional_value_at_risk,
        net_hit_rate=found.hit_rate,
        traded=float(turnover.mean()),
        holding_dates=holding_time(book.gross[kept], turnover),
        costs=year * float(book.cost[kept].mean()),
        impact_costs=year * float(book.impact[kept].mean()),
        borrow_costs=year * float(book.borrow[kept].mean()),
        break_even=1e4 * break_even_cost(grown - 1.0, turnover),
        capacity=room,
        benchmark_return=annual_return(market, periods_per_year=year),
        beta=beside.beta,
        alpha=beside.alpha,
        information_ratio=beside.information_ratio,
        book_dates=found.num_dates,
    )


def _equity(returns: Series) -> Series:
    """Return 1 compounded, the last value where a return is unknown."""
    return np.asarray(np.cumprod(1.0 + np.where(np.isnan(returns), 0.0, returns)), dtype=np.float64)


def _drawdowns(net: Series, dates: NDArray[np.datetime64]) -> tuple[DrawdownRow, ...]:
    texts = date_texts(dates)
    return tuple(
        DrawdownRow(
            peak=texts[one.peak] if one.peak >= 0 else "",
            trough=texts[one.trough],
            recovered="" if one.recovered is None else texts[one.recovered],
            depth=one.depth,
            num_dates=one.num_dates,
        )
        for one in drawdown_table(net)
    )


def _years(
    net: Series, gross: Series, market: Series, turnover: Series, dates: NDArray[np.datetime64], year: float
) -> tuple[YearRow, ...]:
    """Return a row for each calendar year; none where dates are no times."""
    if dates.dtype.kind != "M":
        return ()
    of_date = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    rows = []
    for one in np.unique(of_date):
        chosen = of_date == one
        rows.append(
            YearRow(
                year=int(one),
                num_dates=int(chosen.sum()),
                gross_return=total_return(gross[chosen]),
                net_return=total_return(net[chosen]),
                benchmark_return=total_return(market[chosen]),
                net_sharpe=sharpe_ratio(net[chosen], periods_per_year=year),
                net_drawdown=max_drawdown(net[chosen]),
                traded=float(turnover[chosen].mean()),
            )
        )
    return tuple(rows)
