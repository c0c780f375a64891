"""How many bars of a symbol its newest row depends on: so many are kept, and no more, to forecast a new date."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from factor_data import ALPHA158_NAMES, ALPHA360_NAMES, FEATURES, CleanRules, Expression, FeaturePlan, Panel
from factor_data.features.columns import ColumnFeature
from factor_data.features.table import Feature
from factor_serve.averages import Averages, averages_of
from factor_serve.bundle import Bundle
from factor_serve.inputs import feature_plan
from factor_serve.sorted_rows import tail_of

WHOLE_WINDOWS = 62
"""Bars of Alpha158 and Alpha360: windows of 60, the bar before them, and that bar's own change."""
PROBED_BARS = 2048
"""More than twice the longest window of the table, the 8 half-lives of 80 bars of `memory` and their source's."""
PROBED_SYMBOLS = 4
MARGIN = 2
LENGTHS = (2, 6, 22, 26, 61)
"""Bars that features are given, so that a few panels will do for all: what those of the set `bars` need, or one more.

A feature is computed at every bar whose window is whole, so three bars too many are three values too many.
"""


def kept_bars(bundle: Bundle, panel: Panel) -> int | None:
    """Return the bars of a symbol that a new date needs, by cleaning and features; None: all of them."""
    return _with_cleaning(bundle, feature_bars(feature_plan(bundle, panel)))


def held_bars(bundle: Bundle, panel: Panel) -> int | None:
    """Return the bars of a symbol that are held for a new date; None: all of them.

    They are `kept_bars`, but of an average over a long memory those that its source looks at: what it averages is kept
    beside the bars (`factor_serve.averages`).
    """
    plan = feature_plan(bundle, panel)
    if (averages := averages_of(plan)) is None:
        return kept_bars(bundle, panel)
    names = tuple(name for place, name in enumerate(plan.symbol_names) if place not in averages.places)
    others, sources = feature_bars(replace(plan, symbol_names=names)), source_bars(averages)
    return None if others is None else _with_cleaning(bundle, max(others, *sources))


def source_bars(averages: Averages) -> tuple[int, ...]:
    """Return the bars that each source of averages looks at, or a few more, so that one panel will do for several."""
    needed = [_probed(source) for source in averages.sources]
    assert None not in needed, "a feature of the table looks back on a window"
    return tuple(_given(bars) for bars in needed if bars is not None)


def _given(bars: int) -> int:
    return next((one for one in LENGTHS if one >= bars), bars)


def _with_cleaning(bundle: Bundle, features: int | None) -> int | None:
    if features is None:
        return None
    rules = bundle.clean_rules
    return max(features, cleaning_bars(rules)) + rules.stale_bars + MARGIN


def feature_bars(plan: FeaturePlan) -> int | None:
    """Return the bars that the symbol features of a plan look at, that of t included; None: perhaps all.

    Of an expression it is counted from its operators, of a ready-made column from its rules. A feature of the table is
    NaN until its window is full: the shortest history of made-up bars with which it gives the value, and the same bits
    of float64 as with 2,048 bars, is its window. A function of a user's file may look back as far as it likes.
    """
    needed = [_bars_of(name, plan) for name in plan.symbol_names]
    return None if None in needed else max((bars for bars in needed if bars is not None), default=1)


def cleaning_bars(rules: CleanRules) -> int:
    """Return the bars that cleaning of a bar looks at, itself included: history, runs of a price, the bar before."""
    return max(rules.min_history, rules.stale_bars, 2)


def newest_values(
    plan: FeaturePlan, panel: Panel, symbols: NDArray[np.integer], but: Collection[int] = ()
) -> NDArray[np.float32]:
    """Return the symbol features (len(symbols), num_symbol_features) of the last bars of some symbols.

    Each feature is computed on as many bars as it looks at, so on its window alone and not on the window of every bar
    that another one looks back on.

    Parameters
    ----------
    panel : cleaned bars
    symbols : their codes, ascending; each has a bar
    but : places of features that are left out, and have no value
    """
    values = np.empty((len(symbols), len(plan.symbol_names)), dtype=np.float32)
    for bars, places in _by_length(plan, but).items():
        tail, last = tail_of(panel, symbols, bars)
        names = tuple(plan.symbol_names[place] for place in places)
        part = replace(plan, names=names, symbol_names=names, date_features={})
        values[:, places] = part.symbol_values(tail)[last]
    return values


def _by_length(plan: FeaturePlan, but: Collection[int]) -> dict[int | None, list[int]]:
    """Places of the symbol features by how many bars are given to them: the next of `LENGTHS`, or what they need."""
    found: dict[int | None, list[int]] = {}
    for place, name in enumerate(plan.symbol_names):
        if place in but:
            continue
        bars = _bars_of(name, plan)
        given = None if bars is None else _given(bars)
        found.setdefault(given, []).append(place)
    return found


def _bars_of(name: str, plan: FeaturePlan) -> int | None:
    feature = plan.own.get(name)
    if feature is None:
        feature = FEATURES.get(name)
    if isinstance(feature, Expression):
        return feature.bars
    if isinstance(feature, ColumnFeature):
        return 1 + (feature.max_age or 0)
    if name in plan.own:
        return None
    if name in FEATURES:
        return _probed(FEATURES[name])
    assert name in ALPHA158_NAMES or name in ALPHA360_NAMES
    return WHOLE_WINDOWS


@cache
def _probed(feature: Feature) -> int | None:
    """The least bars with which the last row of a feature is what it is with all of them; None where none will do."""
    whole = _made_up(PROBED_BARS)
    with np.errstate(all="ignore"):
        expected = _last(feature(whole))
        low, high = 1, PROBED_BARS
        while low < high:
            middle = (low + high) // 2
            if np.array_equal(_last(feature(_tail(whole, middle))), expected, equal_nan=True):
                high = middle
            else:
                low = middle + 1
    return high if high < PROBED_BARS // 2 else None


def _made_up(num_bars: int) -> Panel:
    """Bars of a few symbols, with every column that features read and nothing missing."""
    generator = np.random.default_rng(0)
    num_rows = PROBED_SYMBOLS * num_bars
    close = 50.0 * np.exp(np.cumsum(0.02 * generator.standard_normal((PROBED_SYMBOLS, num_bars)), axis=1)).ravel()
    open_ = close * np.exp(0.01 * generator.standard_normal(num_rows))
    spread = np.exp(np.abs(0.01 * generator.standard_normal(num_rows)))
    volume = np.exp(10.0 + generator.standard_normal(num_rows))
    return Panel(
        symbols=np.array([f"S{number}" for number in range(PROBED_SYMBOLS)]),
        dates=np.datetime64("2001-01-01", "ns") + np.arange(num_bars) * np.timedelta64(1, "D"),
        symbol_code=np.repeat(np.arange(PROBED_SYMBOLS, dtype=np.int32), num_bars),
        date_code=np.tile(np.arange(num_bars, dtype=np.int32), PROBED_SYMBOLS),
        columns={
            "open": open_,
            "high": np.maximum(open_, close) * spread,
            "low": np.minimum(open_, close) / spread,
            "close": close,
            "volume": volume,
            "amount": volume * close,
            "adj_close": close * 0.5,
        },
    )


def _tail(panel: Panel, num_bars: int) -> Panel:
    return panel.select(panel.date_code >= panel.num_dates - num_bars)


def _last(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.reshape(PROBED_SYMBOLS, -1)[:, -1]
