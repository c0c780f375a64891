"""Overlapping books: what is forecast over h dates is held over h dates, and every date a new part of the book begins.

Jegadeesh and Titman (1993), "Returns to buying winners and selling losers": the book is the mean of h books, each with
a part of the equity of its own, of which one decides anew on a date.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, as_matrix, check_at_least
from factor_metrics.labels import same_labels
from factor_metrics.portfolio.backtest import Backtest, TradingRules, backtest, checked_book


@same_labels("weights", "price", "impact")
def overlapping_backtest(
    weights: ArrayLike,
    price: ArrayLike,
    dates: ArrayLike,
    num_books: int,
    rules: TradingRules | None = None,
    *,
    impact: ArrayLike | None = None,
) -> Backtest:
    """Return what `num_books` books came to together: book i goes by the decisions of the dates i, i + num_books, ...

    Each begins with 1 / num_books of the equity and keeps what it earns; between its decisions it drifts. The
    equity is the mean of theirs, and so on the first dates most of it is cash.

    Parameters
    ----------
    weights, price, dates, rules
        As in `backtest`; weights are shares of the equity of the book that decides on the date.
    num_books
        At least 1; with 1 this is `backtest`.
    impact
        As in `backtest`, for a book of the whole equity. A part of it trades less money, which costs less.

    Returns
    -------
    Backtest
        Of all books together; turnover, cost and weights are shares of their whole equity. Books are kept apart:
        `gross`, turnover and borrowing count what one is long and another short, `weights` are their sum.
    """
    check_at_least("num_books", num_books, 1)
    if num_books == 1:
        return backtest(weights, price, dates, rules, impact=impact)
    rules = TradingRules() if rules is None else rules
    # A part of the money moves prices less.
    rates = None if impact is None else as_matrix("impact", impact) / np.sqrt(num_books)
    given = checked_book(weights, price, dates, rates)
    num_dates = len(given.dates)
    sums = np.zeros((7, num_dates))  # equity, equity before the trade, traded, paid, impact, borrow, gross
    counts = np.zeros((3, num_dates), dtype=np.int64)
    held: Matrix = np.zeros(given.price.shape)
    began = np.zeros(num_dates, dtype=bool)
    for offset in range(num_books):
        book = given.every(num_books, offset)
        (own, turnover, cost, paid, fee, size), noted = book.simulate(rules, held, add=True)
        whole = own / np.maximum(1.0 - cost, 1e-300)
        earlier = np.concatenate([[1.0], own[:-1]])
        sums += [own, whole, turnover * whole, cost * whole, paid * whole, fee * earlier, size * own]
        counts += noted
        began |= ~np.isnan(book.returns(own, rules))
    equity, before, traded, paid, moved, fee, gross = sums / num_books
    held /= num_books
    earlier = np.concatenate([[1.0], equity[:-1]])
    held = np.divide(held, equity[:, None], out=held, where=equity[:, None] > 0.0)

    def share(part: Matrix, whole: Matrix) -> Matrix:
        return np.divide(part, whole, out=np.zeros(num_dates), where=whole > 0.0)

    returns = np.divide(equity, earlier, out=np.full(num_dates, np.nan), where=earlier > 0.0) - 1.0
    first = np.flatnonzero(began)
    returns[: first[0] if len(first) else num_dates] = np.nan
    return Backtest(
        dates=given.dates,
        equity=equity,
        returns=returns,
        turnover=share(traded, before),
        cost=share(paid, before),
        impact=share(moved, before),
        borrow=share(fee, earlier),
        gross=share(gross, equity),
        net=held.sum(axis=1),
        weights=held,
        num_blocked=counts[0],
        num_stale=counts[1],
        num_written_off=counts[2],
    )
