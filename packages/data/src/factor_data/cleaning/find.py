"""Search functions of the cleaning rules, of the bars and the thresholds, each at t and before."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from factor_data.bar_columns import UNIVERSE
from factor_data.cleaning.bars import TRADED, Bars, Mask

SPLIT_RATIOS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 20.0)


class Found(NamedTuple):
    """Result of a rule: the bars, and per bar the value to show and how often it counts (default 1)."""

    hit: Mask
    value: NDArray | None = None
    weight: NDArray[np.int64] | None = None


class Thresholds(Protocol):
    """Thresholds that the rules read; `CleanRules` has these fields and documents them."""

    @property
    def min_history(self) -> int:
        """Return the bars that a symbol must have had, up to and with t."""

    @property
    def max_abs_return(self) -> float:
        """Return the largest one-bar move of the adjusted close that is not a large move."""

    @property
    def split_tolerance(self) -> float:
        """Return the relative distance from 2, 3, 4 ... within which a jump looks like a split."""

    @property
    def stale_bars(self) -> int:
        """Return the bars in a row with an unchanged close from which on the price is stale."""

    @property
    def price_tolerance(self) -> float:
        """Return the relative slack of the range from low to high."""

    @property
    def limit_column(self) -> str | None:
        """Return the column that says that a bar is at its daily price limit, if there is one."""

    @property
    def limit_values(self) -> tuple[float, ...]:
        """Return the values of the column that mean "at the limit"."""

    @property
    def limit_move(self) -> float | None:
        """Return the move of the adjusted close above which a bar without `limit_column` is a limit day."""

    @property
    def factor_columns(self) -> tuple[str, ...]:
        """Return the names or patterns of ready-made factors."""

    @property
    def max_missing(self) -> float:
        """Return the largest share of `factor_columns` that may be missing in a bar."""


Find = Callable[[Bars, Thresholds], Found | None]


def infinite_value(bars: Bars, rules: Thresholds) -> Found:
    """Find bars with an infinite value in any column; the first one is shown."""
    hit = np.zeros(bars.panel.num_rows, dtype=bool)
    shown = np.full(bars.panel.num_rows, np.nan)
    for values in bars.columns.values():
        infinite = np.isinf(values)
        if infinite.any():
            shown = np.where(infinite & ~hit, values, shown)
            hit |= infinite
    return Found(hit, shown)


def unusable(column: str) -> Find:
    """Return a rule that finds bars whose `column` is not above 0; NaN counts."""

    def find(bars: Bars, rules: Thresholds) -> Found:
        return Found(~(bars[column] > 0.0))

    return find


def outside_universe(bars: Bars, rules: Thresholds) -> Found:
    """Find bars that the data mark as outside the universe."""
    return Found(~(bars[UNIVERSE] > 0.0))


def range_crossed(bars: Bars, rules: Thresholds) -> Found:
    """Find bars whose high is below their low."""
    return Found(bars["high"] < bars["low"])


def outside_range(column: str) -> Find:
    """Return a rule that finds bars whose `column` lies outside low to high."""

    def find(bars: Bars, rules: Thresholds) -> Found:
        value, slack = bars[column], rules.price_tolerance
        return Found((value > bars["high"] * (1 + slack)) | (value < bars["low"] * (1 - slack)))

    return find


def suspended(bars: Bars, rules: Thresholds) -> Found | None:
    """Find bars without trading: volume or amount of 0 or less, where the data have values above 0 of it at all."""
    hits = [bars[name] <= 0.0 for name in TRADED if name in bars and name not in bars.facts.silent]
    return Found(np.logical_or.reduce(hits)) if hits else None


def volume_negative(bars: Bars, rules: Thresholds) -> Found:
    """Find bars with a volume below 0."""
    return Found(bars["volume"] < 0.0)


def volume_zero(bars: Bars, rules: Thresholds) -> Found:
    """Find bars with a volume of exactly 0."""
    return Found(bars["volume"] == 0.0)


def missing_ratio(bars: Bars, rules: Thresholds) -> Found | None:
    """Find bars in which too large a share of the factor columns is missing; the share is shown."""
    names = bars.factor_columns(rules.factor_columns)
    if not names:
        return None
    missing = np.zeros(bars.panel.num_rows, dtype=np.int64)
    for name in names:
        missing += np.isnan(bars[name])
    share = missing / len(names)
    return Found(share > rules.max_missing, share)


def limit_day(bars: Bars, rules: Thresholds) -> Found | None:
    """Find bars at the price limit, by the column where it is known, else by the size of the move."""
    by_move = rules.limit_move is not None and "close" in bars
    if rules.limit_column is None and not by_move:
        return None
    unknown = np.ones(bars.panel.num_rows, dtype=bool)
    hit = ~unknown
    if rules.limit_column is not None:
        hit = np.isin(bars[rules.limit_column], rules.limit_values)
        unknown = np.isnan(bars[rules.limit_column])
    if rules.limit_move is not None:
        hit |= unknown & (np.abs(bars.adjusted_ratio - 1.0) > rules.limit_move)
    return Found(hit, bars.adjusted_ratio - 1.0)


def large_move(bars: Bars, rules: Thresholds) -> Found:
    """Find bars whose adjusted close moves by more than `max_abs_return`; the move is shown."""
    move = bars.adjusted_ratio - 1.0
    return Found(np.abs(move) > rules.max_abs_return, move)


def split_suspected(bars: Bars, rules: Thresholds) -> Found:
    """Find jumps near a split ratio that the adjusted price x."""
    jump, tolerance = bars.close_ratio, rules.split_tolerance
    times = np.maximum(jump, 1.0 / jump)
    candidates = np.flatnonzero(times > SPLIT_RATIOS[0] * (1.0 - tolerance))
    near = np.abs(times[candidates, None] / np.array(SPLIT_RATIOS) - 1.0).min(axis=1) < tolerance
    hit = np.zeros(len(jump), dtype=bool)
    hit[candidates] = near & (np.abs(bars.adjusted_ratio[candidates] / jump[candidates] - 1.0) < tolerance)
    return Found(hit, jump)


def duplicate_bar(bars: Bars, rules: Thresholds) -> Found:
    """Find bars with a volume that repeat the bar before in volume and all four prices."""
    hit = bars["volume"] > 0.0
    for name in ("volume", "close", "open", "high", "low"):
        hit &= bars.same_as_before(name)
    return Found(hit)


def stale_price(bars: Bars, rules: Thresholds) -> Found:
    """Find bars with a close that has not changed for `stale_bars` bars."""
    return Found(bars.run_length("close") >= rules.stale_bars)


def calendar_gap(bars: Bars, rules: Thresholds) -> Found:
    """Find bars before which the symbol misses dates of its market's calendar; their number is shown."""
    place = bars.panel.date_code.astype(np.int64)
    markets = bars.panel.known_markets
    if markets is not None and len(markets.names) > 1:
        place = markets.position[markets.code[bars.panel.symbol_code], place]
    gap = np.where(bars.first, 0, np.diff(place, prepend=0) - 1)
    return Found(gap > 0, gap, gap)


def adjusted_equals_close(bars: Bars, rules: Thresholds) -> Found:
    """The first bar of each symbol whose adjusted close equals its close throughout: a fact about the whole sample."""
    code = bars.panel.symbol_code
    differs = np.bincount(code, weights=bars["adj_close"] != bars["close"], minlength=bars.panel.num_symbols)
    return Found(bars.first & (differs[code] == 0))


def short_history(bars: Bars, rules: Thresholds) -> Found:
    """Find bars of symbols that have had fewer than `min_history` bars."""
    return Found(bars.age < rules.min_history - 1)
