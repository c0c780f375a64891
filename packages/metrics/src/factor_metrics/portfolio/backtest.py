"""Accounting of a book through time: what was decided, what could be traded, what it earned after costs.

Weights decided at the close of t are traded at the price of t + delay and earn from there on. Between two
trades no share changes hands, so weights drift with prices. Dates must be in order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix, check_at_least, check_same_shape, refuse_cells
from factor_metrics.labels import same_labels
from factor_metrics.portfolio.accounting import simulate
from factor_metrics.portfolio.limits import decided_dates
from factor_metrics.portfolio.performance import Performance, performance


@dataclass(frozen=True, kw_only=True)
class TradingRules:
    """When and at what cost decisions become positions."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    delay: int = 1
    """Dates from decision to trade. 0 = at the very close that the decision was made with: nobody can, so it
    must be set explicitly."""
    buy_cost: float = 0.0
    """Cost of buying as a share of the traded value (commission, half spread, impact)."""
    sell_cost: float = 0.0
    """Cost of selling, short sales included, as a share of the traded value."""
    borrow: float = 0.0
    """Fee of a date for what is sold short, as a share of its value at the close of the date before."""
    max_turnover: float = math.inf
    """Traded value (buys and sells) of one date as a share of equity, at most: a larger trade goes only part of
    the way, in the same proportion for every symbol."""
    max_stale: int = 5
    """Dates in a row that a held symbol may have no price; it keeps its last value meanwhile. On the next one
    it is written off."""
    recovery: float = 1.0
    """What a written-off position is worth, as a share of its last value. 1 is kind: Shumway (1997), "The
    delisting bias in CRSP data", finds about 0.7 for delistings for cause."""

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        check_at_least("delay", self.delay, 0)
        check_at_least("max_stale", self.max_stale, 0)
        for name in ("buy_cost", "sell_cost", "borrow"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be from 0 to below 1, got {getattr(self, name)!r}")
        if not self.max_turnover > 0.0:
            raise ValueError(f"max_turnover must be above 0, got {self.max_turnover!r}")
        if not 0.0 <= self.recovery <= 1.0:
            raise ValueError(f"recovery must be from 0 to 1, got {self.recovery!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Backtest:
    """A book through time: one number per date, never per row of a panel; arrays (num_dates,)."""

    dates: NDArray[Any]
    """As given."""
    equity: Series
    """Value of 1 invested before the first date, after trading and costs of each date."""
    returns: Series
    """equity / equity of the date before - 1; NaN until the first trade and after ruin."""
    turnover: Series
    """Traded value (buys plus sells) / equity before the trade; 0 without a trade."""
    cost: Series
    """Cost / equity before the trade, with the price impact."""
    impact: Series
    """Price impact / equity before the trade: a part of `cost`."""
    borrow: Series
    """Fee for what is sold short / equity of the date before."""
    gross: Series
    """Sum of |weight| held after trading."""
    net: Series
    """Sum of weights held after trading."""
    weights: Matrix
    """(num_dates, num_symbols) held after trading, as shares of equity; they drift between trades."""
    num_blocked: NDArray[np.int64]
    """Symbols that should have been traded but had no price."""
    num_stale: NDArray[np.int64]
    """Positions valued at an older price."""
    num_written_off: NDArray[np.int64]
    """Positions closed because their price stayed away for more than `max_stale` dates."""

    @property
    def gross_returns(self) -> Series:
        """Return what the same positions earned before costs and fees: 1 + net = (1 + gross - borrow)(1 - cost).

        Ruin by prices is -1 as well; ruin by the costs of a trade says nothing of the positions and is NaN.
        """
        kept = 1.0 - self.cost
        before = np.divide(1.0 + self.returns, kept, out=np.full(len(kept), np.nan), where=kept > 0.0)
        return before - 1.0 + np.where(self.returns > -1.0, self.borrow, 0.0)

    def performance(self, *, periods_per_year: float, risk_free: float = 0.0) -> Performance:
        """Return the returns in numbers, see `factor_metrics.performance`."""
        return performance(self.returns, periods_per_year=periods_per_year, risk_free=risk_free)


@same_labels("weights", "price", "impact")
def backtest(
    weights: ArrayLike,
    price: ArrayLike,
    dates: ArrayLike,
    rules: TradingRules | None = None,
    *,
    impact: ArrayLike | None = None,
) -> Backtest:
    """Return what the wanted weights came to at these prices.

    On each date, in this order: positions are valued at the price of the date; weights decided `delay` dates
    ago are traded at that price, each to weight x equity before costs; costs are taken from cash. Cash earns
    nothing, short sales bring cash, what is short costs `borrow` a date. Decisions of the last `delay` dates are
    never traded.

    Parameters
    ----------
    weights
        (num_dates, num_symbols) shares of equity, known at the close of their date (see
        `long_short_weights`, `top_k_weights`, `apply_limits`). A date is all NaN (keep the book) or has no NaN.
    price
        (num_dates, num_symbols), above 0, adjusted for splits and dividends; NaN = no trade and no new value.
        Both trades and values use it: closes, or opens for trades at the open.
    dates
        (num_dates,) strictly increasing: a shuffled history is refused.
    rules
        Delay, costs and what happens without a price. Default: `TradingRules()`.
    impact
        (num_dates, num_symbols) at least 0, by the date of the trade: a trade of the share x of equity costs
        impact x^1.5 of equity on top (`impact_rates`). Known wherever there is a price. None: no impact.

    Returns
    -------
    Backtest
        Ruin (equity at or below 0) ends it: equity stays 0, the return of that date is -1.

    Examples
    --------
    Half of the equity in a symbol that rises by 10 % the day after it was bought:

    >>> result = backtest([[0.5], [np.nan], [np.nan]], [[10.0], [20.0], [22.0]], [1, 2, 3])
    >>> result.equity.round(6)
    array([1.  , 1.  , 1.05])
    """
    rules = TradingRules() if rules is None else rules
    given = checked_book(weights, price, dates, impact)
    held = np.zeros(given.price.shape)
    series, counts = given.simulate(rules, held)
    equity, turnover, cost, paid_impact, borrow, gross = series
    return Backtest(
        dates=given.dates,
        equity=equity,
        returns=given.returns(equity, rules),
        turnover=turnover,
        cost=cost,
        impact=paid_impact,
        borrow=borrow,
        gross=gross,
        net=held.sum(axis=1),
        weights=held,
        num_blocked=counts[0],
        num_stale=counts[1],
        num_written_off=counts[2],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenBook:
    """The arguments of a book, checked."""

    wanted: Matrix
    decided: NDArray[np.bool_]
    """(num_dates,) dates with a decision."""
    price: Matrix
    dates: NDArray[Any]
    impact: Matrix
    """Rates by date; without dates where there are none."""

    def every(self, step: int, first: int) -> GivenBook:
        """Return the book that goes by the decisions of every `step`-th date from `first` (`rebalance_every`)."""
        mine = np.arange(len(self.decided)) % step == first
        return replace(self, decided=self.decided & mine)

    def simulate(self, rules: TradingRules, held: Matrix, add: bool = False) -> tuple[Matrix, NDArray[np.int64]]:
        """Return what `accounting.simulate` does."""
        found: tuple[Matrix, NDArray[np.int64]] = simulate(
            self.wanted,
            self.decided,
            self.price,
            self.impact,
            rules.delay,
            (rules.buy_cost, rules.sell_cost, rules.borrow),
            rules.max_turnover,
            rules.max_stale,
            rules.recovery,
            held,
            add,
        )
        return found

    def returns(self, equity: Series, rules: TradingRules) -> Series:
        """Return the returns of an equity; NaN until the first trade and after ruin."""
        before = np.concatenate([[1.0], equity[:-1]])
        returns = np.divide(equity, before, out=np.full(len(equity), np.nan), where=before > 0.0) - 1.0
        traded = np.flatnonzero(self.decided[: max(len(self.wanted) - rules.delay, 0)])
        returns[: traded[0] + rules.delay if len(traded) else len(returns)] = np.nan
        return returns


def checked_book(weights: ArrayLike, price: ArrayLike, dates: ArrayLike, impact: ArrayLike | None) -> GivenBook:
    """Return the arguments of `backtest` as they are needed; ValueError where one is wrong."""
    wanted, prices = as_matrix("weights", weights), as_matrix("price", price)
    check_same_shape("weights", wanted, "price", prices)
    axis = _ordered_dates(dates, len(wanted))
    _refuse_worthless(prices)
    return GivenBook(
        wanted=wanted,
        decided=decided_dates(wanted),
        price=prices,
        dates=axis,
        impact=_impact_rates(impact, prices),
    )


def _ordered_dates(dates: ArrayLike, num_dates: int) -> NDArray[Any]:
    axis = np.asarray(dates)
    if axis.dtype.kind == "O":
        axis = axis.astype("datetime64[ns]")
    if axis.shape != (num_dates,):
        raise ValueError(f"dates must have shape ({num_dates},), got {axis.shape}")
    if axis.dtype.kind not in "MiufU":
        raise ValueError(f"dates must be times, numbers or ISO strings, got dtype {axis.dtype}")
    wrong = np.flatnonzero(~(axis[1:] > axis[:-1])) + 1
    if len(wrong):
        first = "; ".join(f"row {row}: {axis[row]} after {axis[row - 1]}" for row in wrong[:3])
        raise ValueError(f"dates must increase strictly, {len(wrong)} row(s) do not, first {first}")
    return axis


def _impact_rates(impact: ArrayLike | None, price: Matrix) -> Matrix:
    """Return the rates by date, a matrix without dates where there are none."""
    if impact is None:
        return np.zeros((0, price.shape[1]))
    rates = as_matrix("impact", impact)
    check_same_shape("impact", rates, "price", price)
    refuse_cells(
        "impact", "must be known and at least 0 wherever there is a price", rates, ~np.isnan(price) & ~(rates >= 0.0)
    )
    return rates


def _refuse_worthless(price: Matrix) -> None:
    places = np.argwhere(price <= 0.0)
    if len(places):
        first = ", ".join(str(tuple(int(index) for index in place)) for place in places[:3])
        raise ValueError(f"price must be above 0, got {len(places)} value(s) that are not, first at {first}")
