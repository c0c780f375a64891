"""Averages over a long memory, of the newest bars: what they average is computed once, when its bar comes, and kept.

`return_1_memory_80` looks back on 640 bars, and on those that its source looks back on from each. A source depends on
its own window alone, to the last bit, so its value of a bar is the same whenever it is computed: of a new date only the
newest is, and the average is taken of values that lie there, in the order in which the feature takes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from factor_data import FEATURES, FeaturePlan, Panel
from factor_data.features.memory import WINDOW_HALF_LIVES, remembered
from factor_data.features.table import Feature
from factor_data.features.window_kernels import known_mean_back
from factor_data.kernel_cache import kernel
from factor_serve.sorted_rows import tail_of

Floats = NDArray[np.float64]
ROOM = 128
"""Places behind the last value of a symbol, so that values are moved once in so many dates."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """What averages are taken of, at the last bars of each symbol.

    Attributes
    ----------
    values : (num_sources, num_symbols, num_places)
    ends : (num_symbols,) how many places of a symbol are filled

    What comes later fills places that this one does not look at, so the array is shared, and of several that go on from
    one only the last may be used.
    """

    values: Floats
    ends: NDArray[np.int64]

    @property
    def window(self) -> int:
        """Bars that the longest average looks back on."""
        return self.values.shape[2] - ROOM

    def of_symbols(self, place: NDArray[np.integer], num_symbols: int) -> Kept:
        """Return it with a table of more symbols, in which those that it has are at `place`."""
        values = np.zeros((len(self.values), num_symbols, self.values.shape[2]))
        values[:, place] = self.values
        ends = np.zeros(num_symbols, dtype=np.int64)
        ends[place] = self.ends
        return Kept(values=values, ends=ends)

    def whole(self) -> tuple[Floats, NDArray[np.int64]]:
        """Return the values that a later average looks at, symbol by symbol, and how many each has, for `kept_of`."""
        counts = np.minimum(self.ends, self.window)
        places = np.arange(self.values.shape[2])
        wanted = (places < self.ends[:, None]) & (places >= (self.ends - counts)[:, None])
        return self.values[:, wanted], counts


def kept_of(values: Floats, counts: NDArray[np.integer], window: int) -> Kept:
    """Return values that lie symbol by symbol, (num_sources, num_rows), with room for later ones."""
    ends = np.minimum(counts, window).astype(np.int64)
    last = np.cumsum(counts)
    from_end = np.repeat(last, counts) - np.arange(values.shape[1])
    wanted = from_end <= window
    result = np.zeros((len(values), len(counts), window + ROOM))
    result[:, np.arange(window + ROOM) < ends[:, None]] = values[:, wanted]
    return Kept(values=result, ends=ends)


@dataclass(frozen=True, kw_only=True)
class Averages:
    """The features of a plan that are averages over a long memory.

    Attributes
    ----------
    places : of each among the plan's symbol features, and of features that are what is averaged, at one bar
    sources : what is averaged, each once
    source : of each feature, its place among the sources
    half_lives : of each feature; None of one that is no average
    """

    places: tuple[int, ...]
    sources: tuple[Feature, ...]
    source: tuple[int, ...]
    half_lives: tuple[int | None, ...]

    @cached_property
    def window(self) -> int:
        """Bars that the longest looks back on."""
        return WINDOW_HALF_LIVES * max(one for one in self.half_lives if one is not None)

    def of_history(self, panel: Panel) -> Kept:
        """Return what is kept after cleaned bars."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            values = np.stack([source(panel) for source in self.sources])
        return kept_of(values, np.diff(panel.starts), self.window)

    def with_newest(self, kept: Kept, panel: Panel, symbols: NDArray[np.integer], bars: tuple[int, ...]) -> Kept:
        """Return what is kept after one more bar of some symbols, the last of each in the panel.

        `bars` are those that each source looks at.
        """
        if kept.ends[symbols].max(initial=0) == kept.values.shape[2]:
            kept = kept_of(*kept.whole(), kept.window)
        tails = {count: tail_of(panel, symbols, count) for count in set(bars)}
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for values, source, count in zip(kept.values, self.sources, bars, strict=True):
                tail, last = tails[count]
                values[symbols, kept.ends[symbols]] = source(tail)[last]
        ends = kept.ends.copy()
        ends[symbols] += 1
        return Kept(values=kept.values, ends=ends)

    def newest(self, kept: Kept, plan: FeaturePlan, panel: Panel, symbols: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the features of the last bars of some symbols, (len(symbols), len(places))."""
        ends, num_places = kept.ends[symbols], kept.values.shape[2]
        return self._taken(
            plan, list(kept.values), symbols * num_places + ends - 1, ends, tail_of(panel, symbols, 1)[0]
        )

    def at(self, plan: FeaturePlan, panel: Panel, rows: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the features of some rows of a panel, (rows.sum(), len(places)); each source is computed once."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            values = [source(panel) for source in self.sources]
        return self._taken(plan, values, np.flatnonzero(rows), panel.age[rows] + 1, panel.select(rows))

    def _taken(
        self, plan: FeaturePlan, sources: list[Floats], last: NDArray[np.int64], bars: NDArray[np.int64], rows: Panel
    ) -> NDArray[np.float32]:
        """The features of rows, of which the plan makes what it makes of what any feature gives.

        Parameters
        ----------
        sources : values, symbol by symbol
        last : where in them the rows' own are
        bars : how many a symbol has up to the row
        """
        found: dict[str, Floats] = {}
        for number, place in enumerate(self.places):
            half_life, values = self.half_lives[number], sources[self.source[number]].ravel()
            if half_life is None:
                found[plan.symbol_names[place]] = values[last]
                continue
            keep, window = 0.5 ** (1.0 / half_life), WINDOW_HALF_LIVES * half_life
            found[plan.symbol_names[place]] = mean_at(values, last, bars, keep, window, half_life)
        own = {name: lambda _, column=column: column for name, column in found.items()}
        part = replace(plan, names=tuple(own), symbol_names=tuple(own), date_features={}, own=own)
        return part.symbol_values(rows)


def averages_of(plan: FeaturePlan) -> Averages | None:
    """Return the averages among the symbol features of a plan; None where there are none."""
    table = {place: FEATURES[name] for place, name in enumerate(plan.symbol_names) if _of_table(name, plan)}
    long = {place: one for place, one in table.items() if isinstance(one, partial) and one.func is remembered}
    if not long:
        return None
    sources = tuple(dict.fromkeys(one.keywords["source"] for one in long.values()))
    at_one_bar = {place: one for place, one in table.items() if one in sources}
    averaged = (*(one.keywords["source"] for one in long.values()), *at_one_bar.values())
    return Averages(
        places=(*long, *at_one_bar),
        sources=sources,
        source=tuple(sources.index(one) for one in averaged),
        half_lives=(*(one.keywords["half_life"] for one in long.values()), *[None] * len(at_one_bar)),
    )


def _of_table(name: str, plan: FeaturePlan) -> bool:
    return name in FEATURES and name not in plan.own


@kernel(nogil=True)
def mean_at(
    values: Floats, last: NDArray[np.int64], bars: NDArray[np.int64], keep: float, window: int, least: int
) -> Floats:
    """`known_exponential_mean` at some rows.

    `last` says which, and `bars` how many their symbol has up to them.
    """
    result = np.full(len(last), np.nan)
    weights = keep ** np.arange(window)
    for number in range(len(last)):
        result[number] = known_mean_back(values, last[number], bars[number], weights, least)
    return result
