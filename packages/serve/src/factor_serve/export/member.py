"""A member as an ONNX graph, held against the member on random inputs and on those of the canary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from factor_data import Label
from factor_models import SelectedRows, Table
from factor_models.kline import PathForecaster, point_forecasts
from factor_serve.bundle import Bundle
from factor_serve.canary import STACK_TOLERANCE
from factor_serve.export.graphs import NotExportable, graph_of_table
from factor_serve.export.kline import Windows, canary_windows, random_windows
from factor_serve.export.loop import path_graph
from factor_serve.export.names import DRAWN, INPUT, OUTPUT, WINDOWS
from factor_serve.export.networks import Served, traced
from factor_serve.members import Member, computing_threads
from factor_serve.rows import Rows

if TYPE_CHECKING:
    import onnxruntime

TOLERANCE = 1e-4
"""Largest difference of a forecast that is still equal: of a number near 1 or below, relative above."""
SPREADS = 100.0
"""A difference counts beside so many times the spread of the forecasts, where that is less than 1."""
MOST_DRAWN_OTHERWISE = 1e-2
BATCHES = (1, 3, 200)
MISSING = 0.1
DOCUMENTS = 2
"""Texts of a bar, where no bundle says how many."""
Feed = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """One member as a graph."""

    name: str
    content: bytes
    inputs: Mapping[str, tuple[str, list[Any]]]
    """Type and shape of each input."""
    outputs: Mapping[str, tuple[str, list[Any]]]
    opsets: Mapping[str, int]
    difference: Mapping[str, float]
    """Largest difference on random inputs and on those of the canary, a tenth of the random ones missing."""
    moved: Mapping[str, float] = field(default_factory=dict)
    """Largest difference of a stack as a whole, in deviations of the date: symbols that all but tie for a member may
    change places by its rounding. Nothing for a member."""
    drawn_otherwise: Mapping[str, float] = field(default_factory=dict)
    """Share of windows of which a K-line model's graph draws another path: rounding decides where a number all but
    meets the edge between two tokens. `difference` is of all others. Nothing for what draws none."""

    @property
    def is_equal(self) -> bool:
        """Return whether the graph gives the forecasts of the member, or of the stack."""
        equal = all(value <= TOLERANCE for value in self.difference.values())
        drawn = all(value <= MOST_DRAWN_OTHERWISE for value in self.drawn_otherwise.values())
        return equal and drawn and all(value <= STACK_TOLERANCE for value in self.moved.values())


def export_member(member: Member, bundle: Bundle, rows: Rows) -> Exported:
    """Return a member as a graph with what it differs by; NotExportable where no graph can be made of it."""
    if member.kind == "kline":
        return export_paths(member, bundle, rows)
    per_bar = DOCUMENTS if bundle.vectoriser is None else bundle.vectoriser.config.documents_per_bar
    feeds = random_feeds(member, len(bundle.manifest["inputs"]), per_bar)
    every = {"random": feeds, "canary": [_canary_feed(member, bundle, rows)]}
    if member.kind == "last_bar":
        return compared(member, graph_of_table(member.model).SerializeToString(), forecasts_of_table(member), every)
    return network_graph(member, served_network(member, list(bundle.labels)), every)


def served_network(member: Member, heads: list[str]) -> Served:
    """Return a network with what happens around it."""
    assert isinstance(member.model, nn.Module)
    return Served(member.model, member.loss(heads), member.rules.missing_mask).eval()


def export_paths(member: Member, bundle: Bundle, rows: Rows) -> Exported:
    """Return a K-line model as a graph with what it differs by."""
    assert isinstance(member.model, PathForecaster)
    feeds = {"random": random_windows(member.model), "canary": [canary_windows(member.model, bundle, rows)]}
    return paths_graph(member, list(bundle.labels.values()), feeds)


def paths_graph(member: Member, labels: Sequence[Label], feeds: Mapping[str, list[Windows]]) -> Exported:
    """Return a K-line model as a graph, compared on windows; NotExportable where none can be made of it."""
    pair = member.model
    assert isinstance(pair, PathForecaster)
    example = [torch.from_numpy(values) for values in feeds["random"][1].feed(pair).values()]
    with computing_threads(member.threads):
        content = path_graph(pair, labels, example)
    session = opened(content)
    difference, otherwise = {}, {}
    for which, batches in feeds.items():
        now, then, same = [], [], []
        for one in batches:
            said, drawn = session.run([OUTPUT, DRAWN], one.feed(pair))
            with computing_threads(member.threads):
                values, tokens = pair.of_windows(one.bars, one.stamps, one.stamps_ahead, one.seed, labels)
            now.append(said)
            then.append(point_forecasts(values, labels).astype(np.float64))
            same.append((drawn == tokens).all(axis=(1, 2, 3)))
        alike = np.concatenate(same)
        difference[which] = largest_difference([np.concatenate(now)[alike]], [np.concatenate(then)[alike]])
        otherwise[which] = float(1.0 - alike.mean())
    return described(member.name, content, session, difference, drawn_otherwise=otherwise)


def network_graph(member: Member, served: Served, feeds: Mapping[str, list[Feed]]) -> Exported:
    """Return a network as a graph, compared; NotExportable where torch can make none of it."""
    example = [torch.from_numpy(values) for values in feeds["random"][1].values()]
    try:
        with computing_threads(member.threads):
            content = traced(served, example)
        return compared(member, content, forecasts_of(served), feeds)
    except Exception as error:  # whatever torch and ONNX Runtime raise on what they do not know
        said = " ".join(str(error).split())[:160]
        raise NotExportable(f"torch cannot make a graph of it: {said}") from error


def compared(
    member: Member, content: bytes, forecast: Callable[[Feed], NDArray[np.float32]], feeds: Mapping[str, list[Feed]]
) -> Exported:
    """Run the graph on every feed and return it with the largest difference from the member's own forecasts."""
    session = opened(content)
    names = {one.name for one in session.get_inputs()}  # an input that the forecast does not depend on is not there
    difference = {}
    with computing_threads(member.threads):
        for which, batches in feeds.items():
            then = [forecast(feed).astype(np.float64) for feed in batches]
            now = [session.run(None, {key: one[key] for key in one if key in names})[0] for one in batches]
            difference[which] = largest_difference(now, then)
    return described(member.name, content, session, difference)


def opened(content: bytes) -> onnxruntime.InferenceSession:
    """Return a graph that can be run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def described(
    name: str,
    content: bytes,
    session: onnxruntime.InferenceSession,
    difference: Mapping[str, float],
    moved: Mapping[str, float] | None = None,
    drawn_otherwise: Mapping[str, float] | None = None,
) -> Exported:
    """Return a graph with what it reads and gives."""
    import onnx

    return Exported(
        name=name,
        content=content,
        inputs={one.name: (one.type, one.shape) for one in session.get_inputs()},
        outputs={one.name: (one.type, one.shape) for one in session.get_outputs()},
        opsets={one.domain or "ai.onnx": int(one.version) for one in onnx.load_from_string(content).opset_import},
        difference=difference,
        moved=moved or {},
        drawn_otherwise=drawn_otherwise or {},
    )


def largest_difference(now: Sequence[NDArray[Any]], then: Sequence[NDArray[np.float64]]) -> float:
    """Return the largest difference of batches (batch, num_horizons), as `TOLERANCE` bounds it.

    Forecasts of small labels, returns of an hour say, are all far below 1: a graph that gives 0 for each must not pass.
    """
    if any(a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any() for a, b in zip(now, then, strict=True)):
        return float("inf")
    mine, expected = np.concatenate(now).astype(np.float64), np.concatenate(then)
    scale = np.maximum(1.0, np.abs(expected))
    known = np.isfinite(expected).any(axis=0)
    spread = np.zeros(expected.shape[1])
    spread[known] = np.nanstd(expected[:, known], axis=0)
    scale = np.where(spread > 0.0, np.minimum(scale, SPREADS * spread), scale)
    return float(np.nanmax(np.abs(mine - expected) / scale, initial=0.0))


def forecasts_of(served: Served) -> Callable[[Feed], NDArray[np.float32]]:
    """Return the network as a function of a feed, whose order is that of its inputs."""

    @torch.no_grad()
    def forecast(feed: Feed) -> NDArray[np.float32]:
        found: NDArray[np.float32] = served(*(torch.from_numpy(values) for values in feed.values())).numpy()
        return found

    return forecast


def forecasts_of_table(member: Member) -> Callable[[Feed], NDArray[np.float32]]:
    """Return a tabular model as such a function."""

    def forecast(feed: Feed) -> NDArray[np.float32]:
        x = feed[INPUT]
        assert not isinstance(member.model, nn.Module)
        table = Table(
            features=SelectedRows(x, np.arange(len(x))),
            groups=np.zeros(len(x), dtype=np.int64),
            symbols=feed.get("symbols"),
        )
        return np.asarray(member.model.predict(table))  # type: ignore[union-attr]

    return forecast


def random_feeds(member: Member, num_inputs: int, documents: int = DOCUMENTS) -> list[Feed]:
    """Return inputs of several sizes, a tenth of the numbers missing; `documents` are those of a bar."""
    generator = np.random.default_rng(0)
    config = member.config
    feeds = []
    for size in BATCHES:
        if member.kind == "last_bar":
            of_row: Feed = {INPUT: with_holes(generator, (size, num_inputs))}
            if member.reads_symbols:
                of_row["symbols"] = random_symbols(generator, size, int(config["num_symbols"]))
            feeds.append(of_row)
            continue
        shape = (size, member.lookback, num_inputs)
        if member.kind == "tokens":
            tokens = generator.integers(0, int(config["num_tokens"]) + 1, shape, dtype=np.uint8)
            feed: Feed = {WINDOWS: tokens}
        else:
            feed = {WINDOWS: with_holes(generator, shape)}
        extras = getattr(member.model, "extra_inputs", ())
        if "symbols" in extras:
            feed["symbols"] = random_symbols(generator, size, int(config["num_symbols"]))
        if "texts" in extras:
            feed["texts"] = random_texts(generator, (size, member.lookback, documents, int(config["text_dim"])))
        feeds.append({name: feed[name] for name in (WINDOWS, *extras) if name in feed})
    return feeds


def with_holes(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return random inputs, some of them missing."""
    values = generator.standard_normal(shape).astype(np.float32)
    values[generator.random(shape) < MISSING] = np.nan
    return values


def random_symbols(generator: np.random.Generator, size: int, num_symbols: int) -> NDArray[np.int64]:
    """Return ids of symbols on a date: each but 0, the unknown one, at most once."""
    drawn = generator.permutation(max(size, num_symbols))[:size]
    return np.where(drawn < num_symbols, drawn, 0).astype(np.int64)


def random_texts(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Vectors of documents, NaN where there is none, known ones first."""
    values = generator.standard_normal(shape).astype(np.float32)
    count = generator.integers(0, shape[2] + 1, shape[:2])
    values[np.arange(shape[2])[None, None] >= count[:, :, None]] = np.nan
    return values


def _canary_feed(member: Member, bundle: Bundle, rows: Rows) -> Feed:
    """What the member read on the canary's date."""
    code = np.array([len(rows.dates) - 1])
    if member.kind == "last_bar":
        assert rows.inputs is not None
        found = rows.on(code)
        ids = member.symbol_ids(rows, bundle.vocabulary)
        own = {} if ids is None else {"symbols": np.asarray(ids[found], dtype=np.int64)}
        return {INPUT: np.asarray(rows.inputs[found], dtype=np.float32)} | own
    batch = next(iter(member.windows(rows, code, bundle.vocabulary, mask=False).batches(1)))
    feed: Feed = {WINDOWS: np.ascontiguousarray(batch.windows)}
    for name in getattr(member.model, "extra_inputs", ()):
        if name == "symbols":
            feed[name] = np.asarray(batch.symbols, dtype=np.int64)
        elif name == "texts":
            feed[name] = np.asarray(batch.texts, dtype=np.float32)
    return feed
