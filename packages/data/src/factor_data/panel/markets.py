"""Markets: groups of symbols that trade on dates of their own, on which k bars later is counted.

A panel has one calendar, every date on which anything trades. Where a coin trades at weekends, or two exchanges stamp
their days in UTC, most of these dates are none of a stock's, and counting them would leave it without labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

ONE = "all"
SHARED = 0.9  # of the dates between its first and last bar, where all symbols have as many there is one market
RARE = 0.1  # of the usual share of bars; at a time of the week with fewer a symbol does not trade
EVIDENCE = 10.0  # bars that a symbol would have had at the times at which it does not trade
DIFFERENT = 0.1  # of the dates, at whose time of the week one of two symbols trades and the other does not

MINUTE = 60 * 10**9
WEEK = 7 * 24 * 60

ReadDates = Callable[[int, int], NDArray[np.integer]]
"""The date codes of the rows `first` up to `last`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Markets:
    """Which symbol belongs to which market, and the dates of each.

    Attributes
    ----------
    names : of the markets
    symbols : (num_symbols,) str, sorted
    code : (num_symbols,) position in `names`
    dates : (num_dates,) datetime64[ns], rising: every date of any market
    open : (num_markets, num_dates) bool, the dates of each
    """

    names: tuple[str, ...]
    symbols: NDArray[np.str_]
    code: NDArray[np.int16]
    dates: NDArray[np.datetime64]
    open: NDArray[np.bool_]

    @classmethod
    def one(cls, symbols: NDArray[np.str_], dates: NDArray[np.datetime64]) -> Markets:
        """All symbols on all dates."""
        return cls(
            names=(ONE,),
            symbols=symbols,
            code=np.zeros(len(symbols), np.int16),
            dates=dates,
            open=np.ones((1, len(dates)), dtype=bool),
        )

    def of(self, symbols: NDArray[np.str_], dates: NDArray[np.datetime64]) -> Markets:
        """The same markets for other symbols and dates, all of them known here."""
        if np.array_equal(symbols, self.symbols) and np.array_equal(dates, self.dates):
            return self
        at, when = np.searchsorted(self.symbols, symbols), np.searchsorted(self.dates, dates)
        found = (at < len(self.symbols)).all() and (self.symbols[at] == symbols).all()
        if not found or not ((when < len(self.dates)).all() and (self.dates[when] == dates).all()):
            raise ValueError("markets are known for other symbols or dates than the panel has")
        return Markets(names=self.names, symbols=symbols, code=self.code[at], dates=dates, open=self.open[:, when])

    @cached_property
    def position(self) -> NDArray[np.int64]:
        """(num_markets, num_dates): how many dates of the market come before; of others' dates too."""
        return np.cumsum(self.open, axis=1) - self.open

    def ahead(self, steps: int) -> NDArray[np.int64]:
        """(num_markets, num_dates): the date that is `steps` dates of the market later, -1 where there is none.

        Also -1 on dates that are none of the market's.
        """
        result = np.full(self.open.shape, -1, dtype=np.int64)
        for market, is_open in enumerate(self.open):
            own = np.flatnonzero(is_open)
            shifted = own[max(steps, 0) : len(own) + min(steps, 0)]
            start = own[max(-steps, 0) :][: len(shifted)]
            result[market, start] = shifted
        return result

    def reach(self, steps: int) -> int:
        """Return how many dates of the panel lie at most between a date and the one that is `steps` later."""
        if len(self.names) == 1:
            return steps
        ahead = self.ahead(steps)
        known = ahead >= 0
        return int(max(steps, (ahead - np.arange(len(self.dates)))[known].max(initial=0)))

    def describe(self) -> list[str]:
        """A line per market."""
        lines = []
        for market, name in enumerate(self.names):
            mine = self.symbols[self.code == market]
            shown = ", ".join(mine[:3]) + (f" and {len(mine) - 3:,} more" if len(mine) > 3 else "")
            lines.append(f"{name}: {shown}, on {int(self.open[market].sum()):,} of {len(self.dates):,} dates")
        return lines


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Where the bars of a panel lie: symbol `s` has the rows `starts[s]:starts[s + 1]`, read by `read`."""

    symbols: NDArray[np.str_]
    dates: NDArray[np.datetime64]
    starts: NDArray[np.int64]
    read: ReadDates

    def of(self, symbol: int) -> NDArray[np.integer]:
        """The date codes of a symbol."""
        return self.read(int(self.starts[symbol]), int(self.starts[symbol + 1]))

    @cached_property
    def share_one_calendar(self) -> bool:
        """Whether every symbol has a bar on most dates between its first and last."""
        for symbol, count in enumerate(np.diff(self.starts).tolist()):
            if count:
                first, last = int(self.starts[symbol]), int(self.starts[symbol + 1])
                span = int(self.read(last - 1, last)[0]) - int(self.read(first, first + 1)[0]) + 1
                if count < SHARED * span:
                    return False
        return True


def find_markets(rows: Rows) -> Markets:
    """Tell markets apart by the times of the week at which their symbols never trade.

    Gaps that are spread over the week, of a halt or a thin symbol, make no market, and neither do a few holidays. A
    symbol with too few bars to tell belongs to the market that it is most like.
    """
    if rows.share_one_calendar:
        return Markets.one(rows.symbols, rows.dates)
    code = _alike(_weeks(rows))
    names = tuple(f"market_{number + 1}" for number in range(int(code.max()) + 1))
    return _with_dates(rows, names if len(names) > 1 else (ONE,), code)


def named_markets(rows: Rows, patterns: Mapping[str, Sequence[str]]) -> Markets:
    """Markets by name and the patterns of their symbols, as `{"xetra": ["*.DE"], "us": ["AAPL", "MSFT"]}`.

    ValueError naming a symbol that fits none or two of them, or a pattern that fits no symbol.
    """
    code = np.full(len(rows.symbols), -1, dtype=np.int16)
    for market, (name, globs) in enumerate(patterns.items()):
        for glob in globs:
            fits = np.array([fnmatchcase(symbol, glob) for symbol in rows.symbols.tolist()], dtype=bool)
            if not fits.any():
                raise ValueError(f"calendars: {name}: {glob!r} fits no symbol, such as {rows.symbols[0]}")
            if (taken := fits & (code >= 0) & (code != market)).any():
                other = list(patterns)[int(code[taken][0])]
                raise ValueError(f"calendars: {rows.symbols[taken][0]} belongs to {other} and to {name}")
            code[fits] = market
    if (code < 0).any():
        lost = rows.symbols[code < 0]
        raise ValueError(
            f"calendars: {len(lost)} symbols belong to none of {list(patterns)}, first {lost[:3].tolist()}"
        )
    return _with_dates(rows, tuple(patterns), code)


def lost_labels(rows: Rows, markets: Markets, delay: int, horizon: int) -> tuple[float, str, float]:
    """Share of the rows whose entry or exit falls on a date on which only others have a bar; the symbol with most.

    Rows whose exit lies behind the symbol's last bar are not counted: they have no label on any calendar.
    """
    position = markets.position
    length = int(position[:, -1].max(initial=0)) + 1
    lost, counted = np.zeros(len(rows.symbols)), np.zeros(len(rows.symbols))
    for symbol, market in enumerate(markets.code.tolist()):
        own = position[market, rows.of(symbol)]
        if not len(own):
            continue
        has = np.zeros(length + delay + horizon, dtype=bool)
        has[own] = True
        inside = own[own + delay + horizon <= own[-1]]
        counted[symbol] = len(inside)
        lost[symbol] = len(inside) - int((has[inside + delay] & has[inside + delay + horizon]).sum())
    share = lost / np.maximum(counted, 1)
    worst = int(share.argmax())
    return float(lost.sum() / max(counted.sum(), 1)), str(rows.symbols[worst]), float(share[worst])


@dataclass(frozen=True, eq=False)
class Weeks:
    """When symbols trade: by symbol and time of the week.

    `state`: 1 it trades then, -1 it does not, 0 unknown; `could`: dates between its bars; `is_sure` (num_symbols,):
    that it has no bar at some times is no chance.
    """

    state: NDArray[np.int8]
    could: NDArray[np.int64]
    is_sure: NDArray[np.bool_]


def _weeks(rows: Rows) -> Weeks:
    minute = rows.dates.astype("datetime64[ns]").astype(np.int64) // MINUTE % WEEK
    times, slot = np.unique(minute, return_inverse=True)
    state = np.zeros((len(rows.symbols), len(times)), dtype=np.int8)
    could = np.zeros((len(rows.symbols), len(times)), dtype=np.int64)
    is_sure = np.zeros(len(rows.symbols), dtype=bool)
    for symbol in range(len(rows.symbols)):
        own = rows.of(symbol)
        if not len(own):
            continue
        seen = np.bincount(slot[own], minlength=len(times))
        could[symbol] = np.bincount(slot[own[0] : own[-1] + 1], minlength=len(times))
        usual = len(own) / could[symbol, seen > 0].sum()
        off = (could[symbol] > 0) & (seen <= RARE * usual * could[symbol])
        state[symbol, could[symbol] > 0] = np.where(off[could[symbol] > 0], -1, 1)
        is_sure[symbol] = not off.any() or usual * could[symbol, off].sum() >= EVIDENCE
    return Weeks(state, could, is_sure)


def _alike(weeks: Weeks) -> NDArray[np.int16]:
    """Put symbols together that trade at the same times of the week, the surest and commonest patterns first."""
    keyed = np.column_stack([weeks.is_sure.astype(np.int8), weeks.state])
    keyed, first, at, count = np.unique(keyed, axis=0, return_index=True, return_inverse=True, return_counts=True)
    is_sure, patterns = keyed[:, 0] > 0, keyed[:, 1:]
    chosen: list[int] = []
    group = np.zeros(len(patterns), dtype=np.int16)
    for pattern in np.lexsort((first, -count, ~is_sure)).tolist():
        weight, mine = weeks.could[first[pattern]], patterns[pattern]
        distance = [_distance(weight, mine, patterns[other]) for other in chosen]
        if distance and (min(distance) <= DIFFERENT or not is_sure[pattern]):
            group[pattern] = int(np.argmin(distance))
        else:
            group[pattern] = len(chosen)
            chosen.append(pattern)
    return group[at.reshape(-1)]


def _distance(weight: NDArray[np.int64], one: NDArray[np.int8], other: NDArray[np.int8]) -> float:
    known = (one != 0) & (other != 0)
    return float(weight[known & (one != other)].sum() / max(weight[known].sum(), 1))


def _with_dates(rows: Rows, names: tuple[str, ...], code: NDArray[np.int16]) -> Markets:
    is_open = np.zeros((len(names), len(rows.dates)), dtype=bool)
    for symbol, market in enumerate(code.tolist()):
        is_open[market, rows.of(symbol)] = True
    return Markets(names=names, symbols=rows.symbols, code=code, dates=rows.dates, open=is_open)
