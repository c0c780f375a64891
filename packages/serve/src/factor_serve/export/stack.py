"""The stack of a date as one graph: the graphs of its members in it, their ranks, and the weights of each label.

What `factor_serve.ensemble` does in numpy, in float64 as there. Which members have a forecast for a symbol is an input,
`known`: it depends on the bars that the symbol has, which a window does not tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_metrics.dispersion import rounding_of
from factor_models.stacking.members import LEAST_ROWS
from factor_serve.export.graphs import OPSET, TREE_OPSET
from factor_serve.export.names import (
    AHEAD,
    BARS,
    INPUT,
    KNOWN,
    OUTPUT,
    STAMPS,
    TOKENS,
    UNIFORM,
    WINDOWS,
)
from factor_serve.export.nodes import Graph, prefixed

IR_VERSION = 10
NUM_COLUMNS, STAMP_NUMBERS = 6, 5
"""Columns of a bar of K-line models, and numbers of a stamp."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the forecasts of members become the stack."""

    members: tuple[str, ...]
    heads: tuple[str, ...]
    weights: Mapping[str, Mapping[str, float]]
    """label -> member -> weight."""
    scales: Mapping[str, float]
    """label -> factor of the ranks."""
    levels: Mapping[str, Mapping[str, tuple[float, float]]] | None = None
    """label -> member -> mean and deviation; None where ranks are combined."""


@dataclass(frozen=True, kw_only=True)
class MemberGraph:
    """A member's graph, and how what it reads is taken from what the whole graph is given."""

    content: bytes
    lookback: int
    reads_tokens: bool = False
    num_ahead: int = 0
    """Bars ahead of a K-line model, and its paths of each symbol; 0 for other members."""
    samples: int = 0


def stack_graph(recipe: Recipe, graphs: Mapping[str, MemberGraph], sizes: Mapping[str, int]) -> bytes:
    """Return the ONNX file from inputs of one date to `forecasts`, and to `forecasts.MEMBER` of each member.

    Parameters
    ----------
    graphs : of every member of the recipe
    sizes : `num_inputs`, and `documents` and `text_dim` where a member reads texts

    Notes
    -----
    Inputs: `windows` (batch, longest look-back, num_inputs) float32, `tokens` of the same shape, `symbols` (batch,) and
    `texts` where a member reads them, `known` (batch, num_members) bool. Bars that a symbol does not have are NaN, or
    0 among tokens. A row is a symbol of the date. Where a member is a K-line model: `bars` and `stamps` of the longest
    look-back, `stamps_ahead`, and `uniform.MEMBER` for each such member.
    """
    from onnx import TensorProto, checker, helper, load_from_string

    whole = Graph()
    parts, opsets = [], {"": OPSET, "ai.onnx.ml": TREE_OPSET}
    said: dict[str, str] = {}
    for place, name in enumerate(recipe.members):
        graph = graphs[name]
        for one in load_from_string(graph.content).opset_import:
            opsets[one.domain] = max(opsets.get(one.domain, 0), one.version)
        part = prefixed(graph.content, f"{name}/")
        rows, known = _rows_of(whole, place)
        for wanted in part.input:
            own_name = wanted.name.removeprefix(f"{name}/")
            if own_name in (AHEAD, UNIFORM):  # of the date, not of its symbols
                of_date = f"{UNIFORM}.{name}" if own_name == UNIFORM else _first_ahead(whole, graph.num_ahead)
                whole.nodes.append(helper.make_node("Identity", [of_date], [wanted.name]))
                continue
            given = _given(whole, own_name, graph)
            whole.nodes.append(helper.make_node("Gather", [given, rows], [wanted.name], axis=0))
        whole.nodes.extend(part.node)
        parts.append(part)
        found = _spread(whole, f"{name}/{OUTPUT}", rows, known, len(recipe.heads))
        said[name] = f"{OUTPUT}.{name}"
        whole.nodes.append(helper.make_node("Identity", [found], [said[name]]))
    whole.nodes.append(helper.make_node("Identity", [_stacked(whole, recipe, said)], [OUTPUT]))
    inputs = _inputs(graphs, sizes, len(recipe.members))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(recipe.heads)])
        for name in (OUTPUT, *said.values())
    ]
    constants = [*whole.constants, *(one for graph in parts for one in graph.initializer)]
    model = helper.make_model(
        helper.make_graph(whole.nodes, "stack", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=IR_VERSION,
    )
    checker.check_model(model)
    return bytes(model.SerializeToString())


def ensemble_graph(recipe: Recipe) -> bytes:
    """Return the part of the stack behind its members alone: from `forecasts.MEMBER`, NaN for none, to `forecasts`."""
    from onnx import TensorProto, helper

    whole = Graph()
    shape: list[str | int | None] = ["batch", len(recipe.heads)]
    said = {name: f"{OUTPUT}.{name}" for name in recipe.members}
    whole.nodes.append(helper.make_node("Identity", [_stacked(whole, recipe, said)], [OUTPUT]))
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (*said.values(), OUTPUT)]
    graph = helper.make_graph(whole.nodes, "ensemble", infos[:-1], infos[-1:], whole.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())


def _inputs(graphs: Mapping[str, MemberGraph], sizes: Mapping[str, int], num_members: int) -> list[Any]:
    """What the whole graph is given: of the inputs that members read, those of the longest window."""
    from onnx import TensorProto, helper, load_from_string

    read = {name: {one.name for one in load_from_string(graph.content).graph.input} for name, graph in graphs.items()}

    def longest(wanted: Sequence[str]) -> int:
        return max((graphs[name].lookback for name in wanted), default=0)

    paths = [name for name, graph in graphs.items() if graph.num_ahead]
    tokens = longest([name for name, graph in graphs.items() if graph.reads_tokens])
    windows = longest([name for name, graph in graphs.items() if not graph.reads_tokens and name not in paths])
    texts = longest([name for name in graphs if "texts" in read[name]])
    width = sizes["num_inputs"]
    shapes: dict[str, tuple[int, list[Any]]] = {
        WINDOWS: (TensorProto.FLOAT, [windows, width] if windows else []),
        TOKENS: (TensorProto.UINT8, [tokens, width] if tokens else []),
        "texts": (TensorProto.FLOAT, [texts, sizes["documents"], sizes["text_dim"]] if texts else []),
    }
    found = [helper.make_tensor_value_info(k, kind, ["batch", *shape]) for k, (kind, shape) in shapes.items() if shape]
    if any("symbols" in one for one in read.values()):
        found.append(helper.make_tensor_value_info("symbols", TensorProto.INT64, ["batch"]))
    if paths:
        lookback, ahead = longest(paths), max(graphs[name].num_ahead for name in paths)
        found.append(helper.make_tensor_value_info(BARS, TensorProto.FLOAT, ["batch", lookback, NUM_COLUMNS]))
        found.append(helper.make_tensor_value_info(STAMPS, TensorProto.INT64, ["batch", lookback, STAMP_NUMBERS]))
        found.append(helper.make_tensor_value_info(AHEAD, TensorProto.INT64, [ahead, STAMP_NUMBERS]))
        shapes_of = {f"{UNIFORM}.{name}": [graphs[name].num_ahead, 2, graphs[name].samples] for name in paths}
        found += [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes_of.items()]
    return [*found, helper.make_tensor_value_info(KNOWN, TensorProto.BOOL, ["batch", num_members])]


def _given(whole: Graph, name: str, graph: MemberGraph) -> str:
    """The name of what a member's input is cut from, over all symbols."""
    if name == "symbols":
        return name
    source = TOKENS if graph.reads_tokens and name == WINDOWS else WINDOWS if name in (WINDOWS, INPUT) else name
    if name == INPUT:
        return whole.at(source, -1, axis=1)
    ends = [whole.constant([value], np.int64) for value in (-graph.lookback, np.iinfo(np.int64).max, 1)]
    return str(whole.add("Slice", source, *ends[:2], ends[2]))


def _first_ahead(whole: Graph, num_ahead: int) -> str:
    """The stamps of so many bars ahead, of as many as any member looks at."""
    start, end, axis = (whole.constant([value], np.int64) for value in (0, num_ahead, 0))
    return str(whole.add("Slice", AHEAD, start, end, axis))


def _rows_of(whole: Graph, place: int) -> tuple[str, str]:
    """The symbols that a member forecasts, and whether each is one; the first one where there is none.

    Some operators know no batch of no rows.
    """
    known = whole.at(KNOWN, place, axis=1)
    any_known = whole.add("ReduceMax", whole.cast(known, np.int32), keepdims=1)
    none = whole.add("Equal", any_known, whole.constant([0], np.int32))
    count = whole.add("Size", known)
    numbers = whole.add("Range", whole.constant(0, np.int64), count, whole.constant(1, np.int64))
    first = whole.add("Equal", numbers, whole.constant(0, np.int64))
    taken = whole.add("Or", known, whole.add("And", first, none))
    rows = whole.add("Squeeze", whole.add("NonZero", taken), whole.constant([0], np.int64))
    return str(rows), known


def _spread(whole: Graph, forecasts: str, rows: str, known: str, num_heads: int) -> str:
    """Forecasts of some symbols over all of them, NaN for the others."""
    shape = whole.add("Concat", whole.add("Shape", known), whole.constant([num_heads], np.int64), axis=0)
    missing = whole.constant(np.nan, np.float32)
    nothing = whole.add("Expand", missing, shape)
    places = whole.add("Unsqueeze", rows, whole.constant([1], np.int64))
    everywhere = whole.add("ScatterND", nothing, places, forecasts)
    of_symbol = whole.add("Unsqueeze", known, whole.constant([1], np.int64))
    return str(whole.add("Where", of_symbol, everywhere, missing))


def _stacked(whole: Graph, recipe: Recipe, said: Mapping[str, str]) -> str:
    """The stack of all labels, (batch, num_heads) float32, from the forecasts of members."""
    columns = []
    for head, label in enumerate(recipe.heads):
        weights = recipe.weights[label]
        rows = [whole.as_row(whole.cast(whole.at(said[name], head, axis=1), np.float64)) for name in weights]
        if recipe.levels is None:
            ranks = whole.add("Concat", *(_rank(whole, row) for row in rows), axis=0)
            found = whole.add(
                "Mul", _ranks_combined(whole, ranks, list(weights.values())), whole.constant(recipe.scales[label])
            )
        else:
            levels = [recipe.levels[label][name] for name in weights]
            found = _levels_combined(whole, whole.add("Concat", *rows, axis=0), list(weights.values()), levels)
        columns.append(whole.add("Unsqueeze", whole.cast(found, np.float32), whole.constant([1], np.int64)))
    return str(whole.add("Concat", *columns, axis=1))


def _rank(whole: Graph, row: str) -> str:
    """Ranks (1, batch) with mean 0 and variance 1 of one member's forecasts; NaN for all where they tell none apart."""
    known = whole.add("Not", whole.add("IsNaN", row))
    beyond, zero, one, half = (whole.constant(value) for value in (np.inf, 0.0, 1.0, 0.5))
    flat = whole.add("Squeeze", whole.add("Where", known, row, beyond), whole.constant([0], np.int64))
    _, _, places, counts = whole.add("Unique", flat, outputs=4, sorted=1)
    size = whole.cast(counts, np.float64)
    before = whole.add("CumSum", size, whole.constant(0, np.int64), exclusive=1)
    middle = whole.add("Add", before, whole.add("Mul", whole.add("Sub", size, one), half))
    rank = whole.as_row(whole.add("Gather", middle, places))
    count = whole.sum(whole.cast(known, np.float64), 1)
    divisor = whole.add("Max", count, one)
    mean = whole.add("Div", whole.sum(whole.add("Where", known, rank, zero), 1), divisor)
    centred = whole.add("Where", known, whole.add("Sub", rank, mean), zero)
    squares = whole.sum(whole.add("Mul", centred, centred), 1)
    deviation = whole.add("Sqrt", whole.add("Div", squares, divisor))
    told = whole.add("Greater", deviation, whole.add("Mul", whole.constant(1e-12), whole.add("Abs", mean)))
    usable = whole.add("And", told, whole.add("Not", _constant(whole, row, known, count)))
    unit = whole.add("Div", centred, whole.add("Where", usable, deviation, one))
    return str(whole.add("Where", whole.add("And", known, usable), unit, whole.constant(np.nan)))


def _constant(whole: Graph, row: str, known: str, count: str) -> str:
    """Whether a member's forecasts are one up to the rounding of float32, (1, 1): then they order nothing."""
    relative, least = rounding_of(dtype=np.float32)
    lowest, highest = whole.constant(np.inf), whole.constant(-np.inf)
    axis = whole.constant([1], np.int64)
    high = whole.add("ReduceMax", whole.add("Where", known, row, highest), axis, keepdims=1)
    low = whole.add("ReduceMin", whole.add("Where", known, row, lowest), axis, keepdims=1)
    several = whole.add("GreaterOrEqual", count, whole.constant(2.0))
    size = whole.add("Max", whole.add("Abs", high), whole.add("Abs", low))
    bound = whole.add("Add", whole.add("Mul", whole.constant(relative), size), whole.constant(least))
    differ = whole.add("Greater", whole.add("Sub", high, low), bound)
    return str(whole.add("Not", whole.add("And", several, differ)))


def _ranks_combined(whole: Graph, ranks: str, weights: Sequence[float]) -> str:
    """Ranks (num_members, batch) combined as by `combine_ranks`, (batch,).

    Rows are combined by their pattern of members that are there: a pattern's weighted sum is centred and scaled over
    all rows that have its members.
    """
    zero, one, nan = (whole.constant(value) for value in (0.0, 1.0, np.nan))
    missing = whole.add("IsNaN", ranks)
    values = whole.add("Where", missing, zero, ranks)
    present = whole.cast(whole.add("Not", missing), np.float64)
    digits = whole.constant(2.0 ** np.arange(len(weights)).reshape(-1, 1))
    codes = whole.add("Squeeze", whole.sum(whole.add("Mul", present, digits), 0), whole.constant([0], np.int64))
    _, examples, pattern_of_row, _ = whole.add("Unique", codes, outputs=4, sorted=1)
    patterns = whole.add("Transpose", whole.add("Gather", present, examples, axis=1), perm=[1, 0])
    used = whole.add("Mul", patterns, whole.constant(np.asarray(weights).reshape(1, -1)))
    size = whole.sum(whole.add("Abs", used), 1)
    number = whole.sum(patterns, 1)
    same = whole.add("Div", patterns, whole.add("Max", number, one))
    weighs = whole.add("Greater", size, zero)
    used = whole.add("Where", weighs, used, same)
    size = whole.add("Where", weighs, size, whole.add("Min", number, one))
    total = whole.add("MatMul", used, values)
    lacking = whole.add("MatMul", patterns, whole.add("Sub", one, present))
    has_all = whole.add("Less", lacking, whole.constant(0.5))
    count = whole.sum(whole.cast(has_all, np.float64), 1)
    mean = whole.add("Div", whole.sum(whole.add("Where", has_all, total, zero), 1), count)
    centred = whole.add("Sub", total, mean)
    squares = whole.sum(whole.add("Where", has_all, whole.add("Mul", centred, centred), zero), 1)
    deviation = whole.add("Sqrt", whole.add("Div", squares, count))
    enough = whole.add("GreaterOrEqual", count, whole.constant(float(LEAST_ROWS)))
    spread = whole.add("And", enough, whole.add("Greater", deviation, whole.add("Mul", whole.constant(1e-9), size)))
    scaled = whole.add(
        "Where",
        spread,
        whole.add("Div", centred, whole.add("Where", spread, deviation, one)),
        whole.add("Div", total, whole.add("Max", size, whole.constant(np.finfo(np.float64).tiny))),
    )
    scaled = whole.add("Where", whole.add("Greater", number, zero), scaled, nan)
    mine = whole.add("GatherElements", scaled, whole.as_row(pattern_of_row), axis=0)
    return str(whole.add("Squeeze", mine, whole.constant([0], np.int64)))


def _levels_combined(whole: Graph, rows: str, weights: Sequence[float], levels: Sequence[tuple[float, float]]) -> str:
    """Forecasts (num_members, batch) combined as by `combine_levels`, (batch,)."""
    means, deviations = (np.array([one[place] for one in levels]).reshape(-1, 1) for place in (0, 1))
    usable: NDArray[np.bool_] = deviations > 0.0
    zero = whole.constant(0.0)
    known = whole.add("And", whole.add("Not", whole.add("IsNaN", rows)), whole.constant(usable, np.bool_))
    level = whole.add(
        "Div", whole.add("Sub", rows, whole.constant(means)), whole.constant(np.where(usable, deviations, 1.0))
    )
    level = whole.add("Where", known, level, zero)
    used = whole.add("Where", known, whole.constant(np.asarray(weights).reshape(-1, 1)), zero)
    weighs = whole.add("Greater", whole.sum(whole.add("Abs", used), 0), zero)
    used = whole.add("Where", weighs, used, whole.cast(known, np.float64))
    total, size = whole.sum(whole.add("Mul", level, used), 0), whole.sum(whole.add("Abs", used), 0)
    some = whole.add("Greater", size, zero)
    mean = whole.add("Div", total, whole.add("Where", some, size, whole.constant(1.0)))
    return str(
        whole.add("Squeeze", whole.add("Where", some, mean, whole.constant(np.nan)), whole.constant([0], np.int64))
    )
