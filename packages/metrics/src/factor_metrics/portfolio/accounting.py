"""The ledger of a book, compiled: positions at new prices, trades, what they cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import Matrix, Series
from factor_metrics.kernel_cache import kernel
from factor_metrics.ordering.sums import row_sum


@kernel(nogil=True)
def simulate(  # noqa: PLR0913 -- a kernel takes plain numbers
    wanted: Matrix,
    decided: NDArray[np.bool_],
    price: Matrix,
    impact: Matrix,
    delay: int,
    costs: tuple[float, float, float],
    max_turnover: float,
    max_stale: int,
    recovery: float,
    held: Matrix,
    add: bool,
) -> tuple[Matrix, NDArray[np.int64]]:
    """Return ((equity, turnover, cost, impact, borrow, gross), (blocked, stale, written off)), all per date.

    See `backtest`; `costs` are those of buying, selling and borrowing, `impact` has no dates where there is none.
    `held`, of zeros, takes the weights held; with `add` the weights times the equity are added to what is there.
    """
    num_dates, num_symbols = price.shape
    buy_cost, sell_cost, borrow = costs
    series = np.zeros((6, num_dates))
    no_impact = np.zeros(num_symbols)
    counts = np.zeros((3, num_dates), dtype=np.int64)
    weight = np.zeros(num_symbols)
    value, last_price = np.zeros(num_symbols), np.full(num_symbols, np.nan)
    num_missing = np.zeros(num_symbols, dtype=np.int64)
    cash, before = 1.0, 1.0
    for date in range(num_dates):
        received, short, worth, counts[1, date], counts[2, date] = _revalue(
            value, last_price, num_missing, price[date], max_stale, recovery
        )
        if borrow > 0.0:
            fee = borrow * short
            cash -= fee
            series[4, date] = fee / before
        cash += received
        equity = cash + worth
        if equity <= 0.0:
            break
        if date >= delay and decided[date - delay]:
            target = wanted[date - delay] * equity
            rates = impact[date] if len(impact) else no_impact
            spent, paid, moved, traded, counts[0, date] = _trade(
                value, target, price[date], rates, equity, buy_cost, sell_cost, max_turnover * equity
            )
            paid += moved
            cash -= spent + paid
            series[1, date], series[2, date], series[3, date] = traded / equity, paid / equity, moved / equity
            equity -= paid
            if equity <= 0.0:
                break
        series[0, date], before = equity, equity
        for symbol in range(num_symbols):
            weight[symbol] = value[symbol] / equity
            held[date, symbol] = held[date, symbol] + equity * weight[symbol] if add else weight[symbol]
            weight[symbol] = abs(weight[symbol])
        series[5, date] = row_sum(weight)
    return series, counts


@kernel(nogil=True)
def _revalue(
    value: Series,
    last_price: Series,
    num_missing: NDArray[np.int64],
    price: Series,
    max_stale: int,
    recovery: float,
) -> tuple[float, float, float, int, int]:
    """Bring values to the prices of the date, in place.

    Return (cash from positions written off, what was short before, the sum of the values, stale, written off).
    """
    received, short, worth, num_stale, num_written_off = 0.0, 0.0, 0.0, 0, 0
    for symbol in range(len(price)):
        now = price[symbol]
        short += min(value[symbol], 0.0)
        if not np.isnan(now):
            if value[symbol] != 0.0:
                value[symbol] *= now / last_price[symbol]
            last_price[symbol] = now
            num_missing[symbol] = 0
        elif value[symbol] != 0.0:
            num_missing[symbol] += 1
            if num_missing[symbol] > max_stale:
                # A lost long is worth less; a short of a lost symbol is bought back at its last price.
                received += value[symbol] * (recovery if value[symbol] > 0.0 else 1.0)
                value[symbol] = 0.0
                num_written_off += 1
            else:
                num_stale += 1
        worth += value[symbol]
    return received, -short, worth, num_stale, num_written_off


@kernel(nogil=True)
def _trade(
    value: Series,
    target: Series,
    price: Series,
    impact: Series,
    equity: float,
    buy_cost: float,
    sell_cost: float,
    most: float,
) -> tuple[float, float, float, float, int]:
    """Move values to their targets, in place, where there is a price: (spent, paid, impact, traded, blocked)."""
    wanted, num_blocked = 0.0, 0
    for symbol in range(len(price)):
        change = target[symbol] - value[symbol]
        if not np.isnan(price[symbol]):
            wanted += abs(change)
        elif change != 0.0:
            num_blocked += 1
    part = min(1.0, most / wanted) if wanted > 0.0 else 0.0
    spent, paid, moved = 0.0, 0.0, 0.0
    for symbol in range(len(price)):
        if not np.isnan(price[symbol]):
            change = part * (target[symbol] - value[symbol])
            value[symbol] = target[symbol] if part == 1.0 else value[symbol] + change
            spent += change
            paid += change * buy_cost if change > 0.0 else -change * sell_cost
            if change != 0.0 and impact[symbol] > 0.0:  # the power is what costs, and most books hold few symbols
                moved += impact[symbol] * (abs(change) / equity) ** 1.5 * equity
    return spent, paid, moved, part * wanted, num_blocked
