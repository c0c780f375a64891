"""The stack of a bundle as one graph, held against the stack that the bundle forecasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from factor_models.kline import PathForecaster, kline_bars
from factor_models.kline.calendar import stamps_ahead, stamps_of
from factor_models.kline.draws import date_seed, uniform_numbers
from factor_serve.bundle import Bundle
from factor_serve.ensemble import stack_of_date, stack_of_levels
from factor_serve.export.kline import random_windows
from factor_serve.export.member import (
    BATCHES,
    DOCUMENTS,
    Exported,
    Feed,
    described,
    forecasts_of,
    forecasts_of_table,
    largest_difference,
    opened,
    random_symbols,
    random_texts,
    served_network,
    with_holes,
)
from factor_serve.export.names import AHEAD, BARS, INPUT, KNOWN, OUTPUT, STACK, STAMPS, TOKENS, UNIFORM, WINDOWS
from factor_serve.export.stack import MemberGraph, Recipe, stack_graph
from factor_serve.kline import path_windows
from factor_serve.members import Member, computing_threads
from factor_serve.rows import Rows

KNOWN_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Shapes of what the whole graph reads."""

    windows: int
    """The longest look-back of members that read inputs; of those that read tokens, and texts: 0 for none."""
    tokens: int
    texts: int
    num_inputs: int
    num_tokens: int
    num_symbols: int
    documents: int
    text_dim: int


def export_stack(bundle: Bundle, graphs: Mapping[str, bytes], rows: Rows) -> Exported:
    """Return the stack as one graph with what it differs by, made of the graphs of all members.

    Members and what is made of them are compared apart: forecasts of members with the members' own, the stack with
    `factor_serve.ensemble` of the graph's members; `moved` is the whole beside the bundle's own stack.
    """
    members: dict[str, Member] = {}
    for name, member in bundle.members.items():
        assert isinstance(member, Member)
        members[name] = member
    sizes = sizes_of(members, bundle, rows)
    recipe = recipe_of(bundle)
    parts = {name: part_of(member, graphs[name]) for name, member in members.items()}
    widths = {"num_inputs": sizes.num_inputs, "documents": sizes.documents, "text_dim": sizes.text_dim}
    content = stack_graph(recipe, parts, widths)
    session = opened(content)
    names = {one.name for one in session.get_inputs()}
    ways = {name: native(member, recipe.heads, graphs[name]) for name, member in members.items()}
    feeds = {"random": random_dates(members, sizes), "canary": [canary_date(members, bundle, rows, sizes)]}
    difference, moved = {}, {}
    for which, dates in feeds.items():
        found = [0.0]
        apart = [0.0]
        for feed in dates:
            outputs = [OUTPUT, *(f"{OUTPUT}.{name}" for name in members)]
            stack, *said = session.run(outputs, {key: value for key, value in feed.items() if key in names})
            own = {name: spread_over(ways[name], feed, place) for place, name in enumerate(members)}
            found += [largest_difference([a], [b.astype(np.float64)]) for a, b in zip(said, own.values(), strict=True)]
            found.append(largest_difference([stack], [stacked(recipe, dict(zip(members, said, strict=True)))]))
            apart.append(in_deviations(stack, stacked(recipe, own)))
        difference[which], moved[which] = max(found), max(apart)
    return described(STACK, content, session, difference, moved)


def part_of(member: Member, content: bytes) -> MemberGraph:
    """Return a member's graph with what is cut from what the whole graph reads."""
    pair = member.model
    of_paths = {"num_ahead": pair.num_ahead, "samples": pair.samples} if isinstance(pair, PathForecaster) else {}
    return MemberGraph(content=content, lookback=member.lookback, reads_tokens=member.kind == "tokens", **of_paths)


def recipe_of(bundle: Bundle) -> Recipe:
    """Return how the bundle makes its stack."""
    levels = {label: bundle.levels(label) for label in bundle.labels}
    return Recipe(
        members=tuple(bundle.members),
        heads=tuple(bundle.labels),
        weights={label: bundle.weights(label) for label in bundle.labels},
        scales={label: bundle.scale(label) for label in bundle.labels},
        levels=None if None in levels.values() else {label: one for label, one in levels.items() if one is not None},
    )


def stacked(recipe: Recipe, said: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    """Return the stack (batch, num_heads) of members' forecasts, in numpy."""
    found = []
    for head, label in enumerate(recipe.heads):
        of_date = {name: said[name][:, head] for name in recipe.weights[label]}
        if recipe.levels is None:
            found.append(stack_of_date(of_date, recipe.weights[label], recipe.scales[label]))
        else:
            found.append(stack_of_levels(of_date, recipe.weights[label], recipe.levels[label]))
    return np.stack(found, axis=1)


def in_deviations(now: NDArray[np.float32], then: NDArray[np.float64]) -> float:
    """Return the largest difference in standard deviations of the date, whatever their size; inf for other holes."""
    if (np.isnan(now) != np.isnan(then)).any():
        return float("inf")
    spread = np.array([np.std(one[np.isfinite(one)]) if np.isfinite(one).any() else 0.0 for one in then.T])
    return float(np.nanmax(np.abs(now - then) / np.where(spread > 0.0, spread, 1.0), initial=0.0))


def native(member: Member, heads: tuple[str, ...], content: bytes) -> Callable[[Feed], NDArray[np.float32]]:
    """Return the member itself as a function of what its graph reads, cut from what the whole graph reads.

    Of a K-line model it is the graph alone: it has been compared with the model, path by path.
    """
    if isinstance(member.model, PathForecaster):
        return _paths_alone(member, member.model, content)
    if member.kind == "last_bar":
        table = forecasts_of_table(member)
        ids = ("symbols",) if member.reads_symbols else ()
        return lambda feed: table(
            {INPUT: np.ascontiguousarray(feed[WINDOWS][:, -1])} | {name: feed[name] for name in ids}
        )
    served = served_network(member, list(heads))
    network = forecasts_of(served)

    def forecast(feed: Feed) -> NDArray[np.float32]:
        source = feed[TOKENS if member.kind == "tokens" else WINDOWS]
        own: Feed = {WINDOWS: np.ascontiguousarray(source[:, -member.lookback :])}
        for name in served.names:
            own[name] = feed[name][:, -member.lookback :] if name == "texts" else feed[name]
        with computing_threads(member.threads):
            return network(own)

    return forecast


def _paths_alone(member: Member, pair: PathForecaster, content: bytes) -> Callable[[Feed], NDArray[np.float32]]:
    session = opened(content)

    def forecast(feed: Feed) -> NDArray[np.float32]:
        own = {name: np.ascontiguousarray(feed[name][:, -pair.lookback :]) for name in (BARS, STAMPS)}
        own |= {AHEAD: feed[AHEAD][: pair.num_ahead], UNIFORM: feed[f"{UNIFORM}.{member.name}"]}
        found: NDArray[np.float32] = session.run([OUTPUT], own)[0]
        return found

    return forecast


def spread_over(way: Callable[[Feed], NDArray[np.float32]], feed: Feed, place: int) -> NDArray[np.float32]:
    """Return a member's forecasts of the symbols that it knows, NaN for the others."""
    known = feed[KNOWN][:, place]
    rows = np.flatnonzero(known) if known.any() else np.array([0])
    of_date = {key for key in feed if key == AHEAD or key.startswith(UNIFORM)}
    own = way({key: value if key in of_date else value[rows] for key, value in feed.items() if key != KNOWN})
    found = np.full((len(known), own.shape[1]), np.nan, dtype=np.float32)
    if known.any():
        found[rows] = own
    return found


def sizes_of(members: Mapping[str, Member], bundle: Bundle, rows: Rows) -> Sizes:
    """Return the shapes that the members need."""

    def longest(kind: str) -> int:
        wanted = {
            "windows": lambda one: one.kind not in ("tokens", "kline"),
            "tokens": lambda one: one.kind == "tokens",
            "texts": lambda one: one.reads_texts,
        }[kind]
        return max((one.lookback for one in members.values() if wanted(one)), default=0)

    def largest(key: str) -> int:
        return max((int(one.config.get(key, 0)) for one in members.values()), default=0)

    return Sizes(
        windows=longest("windows"),
        tokens=longest("tokens"),
        texts=longest("texts"),
        num_inputs=len(bundle.manifest["inputs"]),
        num_tokens=largest("num_tokens"),
        num_symbols=largest("num_symbols"),
        documents=DOCUMENTS if rows.documents is None else rows.documents.per_bar,
        text_dim=largest("text_dim"),
    )


def random_dates(members: Mapping[str, Member], sizes: Sizes) -> list[Feed]:
    """Return dates of several sizes, a tenth of the numbers missing; on the last one member forecasts nothing."""
    generator = np.random.default_rng(0)
    feeds: list[Feed] = []
    for size in (*BATCHES, BATCHES[-1]):
        known = generator.random((size, len(members))) < KNOWN_SHARE
        if len(feeds) == len(BATCHES):
            known[:, 0] = False
        feed: Feed = {
            WINDOWS: with_holes(generator, (size, sizes.windows, sizes.num_inputs)),
            TOKENS: generator.integers(0, sizes.num_tokens + 1, (size, sizes.tokens, sizes.num_inputs), dtype=np.uint8),
            "symbols": random_symbols(generator, size, max(sizes.num_symbols, 1)),
            "texts": random_texts(generator, (size, sizes.texts, sizes.documents, sizes.text_dim)),
            KNOWN: known,
        }
        feeds.append(feed | _random_paths(members, len(feeds)))
    return feeds


def _pairs(members: Mapping[str, Member]) -> dict[str, PathForecaster]:
    return {name: one.model for name, one in members.items() if isinstance(one.model, PathForecaster)}


def _random_paths(members: Mapping[str, Member], number: int) -> Feed:
    """What K-line models read on the random date with a number; nothing where there are none."""
    pairs = _pairs(members)
    if not pairs:
        return {}
    lookback, num_ahead = (max(getattr(one, key) for one in pairs.values()) for key in ("lookback", "num_ahead"))
    longest = replace(next(iter(pairs.values())), lookback=lookback, num_ahead=num_ahead)
    batch = random_windows(longest)[min(number, len(BATCHES) - 1)]
    feed: Feed = {BARS: batch.bars, STAMPS: batch.stamps, AHEAD: batch.stamps_ahead}
    for name, one in pairs.items():
        feed[f"{UNIFORM}.{name}"] = uniform_numbers(batch.seed, one.num_ahead, one.samples)
    return feed


def _canary_paths(pairs: Mapping[str, PathForecaster], bundle: Bundle, rows: Rows, chosen: NDArray[np.int64]) -> Feed:
    """What K-line models read on the canary's date; zeros for the bars that a symbol has not."""
    if not pairs:
        return {}
    lookback, num_ahead = (max(getattr(one, key) for one in pairs.values()) for key in ("lookback", "num_ahead"))
    bars, date = kline_bars(rows.kline, rows.symbol_code, rows.date_code), rows.dates[-1]
    ends = bars.position_of_row[chosen]
    place = ends[:, None] + np.arange(1 - lookback, 1)
    there = (ends[:, None] >= 0) & (place >= bars.first[ends][:, None])
    place = np.maximum(place, 0)
    feed: Feed = {
        BARS: np.asarray(np.where(there[..., None], bars.values[place], 0.0), dtype=np.float32),
        STAMPS: np.asarray(np.where(there[..., None], stamps_of(bars.date_code[place], rows.dates), 0)),
        AHEAD: stamps_ahead(date, bundle.train_dates, num_ahead),
    }
    for name, one in pairs.items():
        feed[f"{UNIFORM}.{name}"] = uniform_numbers(date_seed(one.seed, date), one.num_ahead, one.samples)
    return feed


def canary_date(members: Mapping[str, Member], bundle: Bundle, rows: Rows, sizes: Sizes) -> Feed:
    """Return what the members read on the canary's date, and which of them forecast which symbol."""
    code = np.array([len(rows.dates) - 1])
    chosen = np.flatnonzero(rows.on(code))
    known = np.zeros((len(chosen), len(members)), dtype=bool)
    for place, member in enumerate(members.values()):
        if isinstance(pair := member.model, PathForecaster):
            found = path_windows(rows, int(code[0]), pair.lookback, pair.num_ahead, bundle.train_dates)[0]
        else:
            found = member.windows(rows, code, bundle.vocabulary).rows
        known[:, place] = np.isin(chosen, found)
    feed: Feed = {KNOWN: known, "symbols": bundle.vocabulary.encode(rows.symbols)[rows.symbol_code[chosen]]}
    if rows.inputs is not None:
        feed[WINDOWS] = last_bars(rows, chosen, rows.inputs, sizes.windows, np.nan)
    if rows.tokens is not None and sizes.tokens:
        feed[TOKENS] = last_bars(rows, chosen, rows.tokens, sizes.tokens, 0)
    if rows.documents is not None and sizes.texts:
        every = np.arange(rows.num_rows, dtype=np.int64)
        feed["texts"] = last_bars(rows, chosen, rows.documents.gather(every, 1)[:, 0], sizes.texts, np.nan)
    elif sizes.texts:  # members that read texts, in a bundle without any
        feed["texts"] = np.zeros((len(chosen), sizes.texts, sizes.documents, sizes.text_dim), dtype=np.float32)
    feed["symbols"] = np.asarray(feed["symbols"], dtype=np.int64)
    return feed | _canary_paths(_pairs(members), bundle, rows, chosen)


def last_bars(rows: Rows, chosen: NDArray[np.int64], values: NDArray, length: int, missing: float) -> NDArray:
    """Return the last bars of the symbols of some rows, (batch, length, ...); `missing` where there are fewer."""
    first = np.searchsorted(rows.symbol_code, rows.symbol_code[chosen])
    place = chosen[:, None] + np.arange(1 - length, 1)
    found = values[np.maximum(place, 0)]
    found[place < first[:, None]] = missing
    return found
