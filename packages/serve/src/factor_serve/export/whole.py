"""The stack of a bundle as one graph, held against the stack that the bundle forecasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_serve.bundle import Bundle
from factor_serve.ensemble import stack_of_date, stack_of_levels
from factor_serve.export.member import (
    BATCHES,
    Exported,
    Feed,
    described,
    forecasts_of,
    forecasts_of_table,
    largest_difference,
    opened,
    random_texts,
    served_network,
    with_holes,
)
from factor_serve.export.names import INPUT, KNOWN, OUTPUT, STACK, TOKENS, WINDOWS
from factor_serve.export.stack import MemberGraph, Recipe, stack_graph
from factor_serve.members import Member, computing_threads
from factor_serve.rows import Rows

KNOWN_SHARE = 0.8
DOCUMENTS = 2


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
    parts = {
        name: MemberGraph(content=graphs[name], lookback=member.lookback, reads_tokens=member.kind == "tokens")
        for name, member in members.items()
    }
    widths = {"num_inputs": sizes.num_inputs, "documents": sizes.documents, "text_dim": sizes.text_dim}
    content = stack_graph(recipe, parts, widths)
    session = opened(content)
    names = {one.name for one in session.get_inputs()}
    ways = {name: native(member, recipe.heads) for name, member in members.items()}
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


def native(member: Member, heads: tuple[str, ...]) -> Callable[[Feed], NDArray[np.float32]]:
    """Return the member itself as a function of what its graph reads, cut from what the whole graph reads."""
    if member.kind == "last_bar":
        table = forecasts_of_table(member)
        return lambda feed: table({INPUT: np.ascontiguousarray(feed[WINDOWS][:, -1])})
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


def spread_over(way: Callable[[Feed], NDArray[np.float32]], feed: Feed, place: int) -> NDArray[np.float32]:
    """Return a member's forecasts of the symbols that it knows, NaN for the others."""
    known = feed[KNOWN][:, place]
    rows = np.flatnonzero(known) if known.any() else np.array([0])
    own = way({key: value[rows] for key, value in feed.items() if key != KNOWN})
    found = np.full((len(known), own.shape[1]), np.nan, dtype=np.float32)
    if known.any():
        found[rows] = own
    return found


def sizes_of(members: Mapping[str, Member], bundle: Bundle, rows: Rows) -> Sizes:
    """Return the shapes that the members need."""

    def longest(kind: str) -> int:
        wanted = {
            "windows": lambda one: one.kind != "tokens",
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
        feeds.append(
            {
                WINDOWS: with_holes(generator, (size, sizes.windows, sizes.num_inputs)),
                TOKENS: generator.integers(
                    0, sizes.num_tokens + 1, (size, sizes.tokens, sizes.num_inputs), dtype=np.uint8
                ),
                "symbols": generator.integers(0, max(sizes.num_symbols, 1), size),
                "texts": random_texts(generator, (size, sizes.texts, sizes.documents, sizes.text_dim)),
                KNOWN: known,
            }
        )
    return feeds


def canary_date(members: Mapping[str, Member], bundle: Bundle, rows: Rows, sizes: Sizes) -> Feed:
    """Return what the members read on the canary's date, and which of them forecast which symbol."""
    code = np.array([len(rows.dates) - 1])
    chosen = np.flatnonzero(rows.on(code))
    known = np.zeros((len(chosen), len(members)), dtype=bool)
    for place, member in enumerate(members.values()):
        known[:, place] = np.isin(chosen, member.windows(rows, code, bundle.vocabulary).rows)
    feed: Feed = {KNOWN: known, "symbols": bundle.vocabulary.encode(rows.symbols)[rows.symbol_code[chosen]]}
    if rows.inputs is not None:
        feed[WINDOWS] = last_bars(rows, chosen, rows.inputs, sizes.windows, np.nan)
    if rows.tokens is not None and sizes.tokens:
        feed[TOKENS] = last_bars(rows, chosen, rows.tokens, sizes.tokens, 0)
    if rows.documents is not None and sizes.texts:
        every = np.arange(rows.num_rows, dtype=np.int64)
        feed["texts"] = last_bars(rows, chosen, rows.documents.gather(every, 1)[:, 0], sizes.texts, np.nan)
    feed["symbols"] = np.asarray(feed["symbols"], dtype=np.int64)
    return feed


def last_bars(rows: Rows, chosen: NDArray[np.int64], values: NDArray, length: int, missing: float) -> NDArray:
    """Return the last bars of the symbols of some rows, (batch, length, ...); `missing` where there are fewer."""
    first = np.searchsorted(rows.symbol_code, rows.symbol_code[chosen])
    place = chosen[:, None] + np.arange(1 - length, 1)
    found = values[np.maximum(place, 0)]
    found[place < first[:, None]] = missing
    return found
