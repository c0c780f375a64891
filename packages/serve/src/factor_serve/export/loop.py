"""The parts of a K-line model as one graph, in which one bar of every path is a loop's body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from factor_models.kline import PathForecaster
from factor_models.kline.paths import PathLabel
from factor_serve.export.graphs import OPSET
from factor_serve.export.names import AHEAD, BARS, DRAWN, OUTPUT, STAMPS, UNIFORM
from factor_serve.export.networks import graph_of
from factor_serve.export.nodes import prefixed
from factor_serve.export.paths import NextBar, Prompt, Said

IR_VERSION = 9
ROWS = {0: "rows"}
BATCH = {0: "batch"}
GROWING = {0: "rows", 2: "bars"}


def path_graph(pair: PathForecaster, labels: Sequence[PathLabel], example: Sequence[torch.Tensor]) -> bytes:
    """Return the ONNX file of a K-line model, from `BARS`, `STAMPS`, `AHEAD` and `UNIFORM` to `OUTPUT` and `DRAWN`.

    `example` are some inputs, by which the parts are traced.
    """
    from onnx import TensorProto, checker, helper

    bars, stamps, ahead, uniform = example
    prompt, step, said = Prompt(pair).eval(), NextBar(pair).eval(), Said(pair, labels).eval()
    stored = [f"{kind}_{place}" for place in range(len(pair.model.transformer.blocks) + 1) for kind in ("key", "value")]
    with torch.no_grad():
        begun = prompt(bars, stamps, ahead)
        center, scale, tokens, times, context = begun[:5]
        of_bar = (torch.tensor(0), uniform, times, context, *begun[5:])
        drawn = torch.stack([step(*of_bar)[0]] * pair.num_ahead)
    names = ["center", "scale", "tokens", "times", "context", *stored]
    axes = {"center": BATCH, "scale": BATCH, "tokens": BATCH, "context": ROWS, **dict.fromkeys(stored, GROWING)}
    given = {BARS: bars, STAMPS: stamps, AHEAD: ahead}
    parts = {
        "prompt": graph_of(prompt, given, names, {BARS: BATCH, STAMPS: BATCH} | axes),
        "step": graph_of(
            step,
            dict(zip(["bar", UNIFORM, "times", "context", *stored], of_bar, strict=True)),
            ["drawn", "next_context", *(f"next_{name}" for name in stored)],
            {"drawn": ROWS, "next_context": ROWS, **{f"next_{name}": GROWING for name in stored}} | axes,
        ),
        "said": graph_of(
            said,
            {BARS: bars, "center": center, "scale": scale, "tokens": tokens, "paths": drawn},
            [OUTPUT, DRAWN],
            {BARS: BATCH, "center": BATCH, "scale": BATCH, "tokens": BATCH, "paths": {1: "rows"}}
            | {OUTPUT: BATCH, DRAWN: BATCH},
        ),
    }
    graphs = {name: prefixed(content, f"{name}/") for name, content in parts.items()}
    nodes = [*_given("prompt", [BARS, STAMPS, AHEAD]), *graphs["prompt"].node]
    body = _body(graphs["step"], stored)
    carried = ["context", *stored]
    constants = [
        helper.make_tensor("trips", TensorProto.INT64, [], [pair.num_ahead]),
        helper.make_tensor("go_on", TensorProto.BOOL, [], [True]),
    ]
    nodes.append(
        helper.make_node(
            "Loop",
            ["trips", "go_on", *(f"prompt/{name}" for name in carried)],
            [*(f"last/{name}" for name in carried), "said/paths"],
            body=body,
        )
    )
    for name in ("center", "scale", "tokens"):
        nodes.append(helper.make_node("Identity", [f"prompt/{name}"], [f"said/{name}"]))
    nodes += [*_given("said", [BARS]), *graphs["said"].node]
    nodes += [helper.make_node("Identity", [f"said/{name}"], [name]) for name in (OUTPUT, DRAWN)]
    for graph in graphs.values():
        constants += graph.initializer
    kinds = {BARS: TensorProto.FLOAT, UNIFORM: TensorProto.FLOAT, STAMPS: TensorProto.INT64, AHEAD: TensorProto.INT64}
    shapes: dict[str, list[Any]] = {
        BARS: ["batch", *bars.shape[1:]],
        STAMPS: ["batch", *stamps.shape[1:]],
        AHEAD: list(ahead.shape),
        UNIFORM: list(uniform.shape),
        OUTPUT: ["batch", len(labels)],
        DRAWN: ["batch", pair.samples, pair.num_ahead, 2],
    }
    paths = helper.make_graph(
        nodes,
        "paths",
        [helper.make_tensor_value_info(name, kind, shapes[name]) for name, kind in kinds.items()],
        [
            helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shapes[OUTPUT]),
            helper.make_tensor_value_info(DRAWN, TensorProto.INT64, shapes[DRAWN]),
        ],
        constants,
    )
    whole = helper.make_model(paths, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(whole)
    return bytes(whole.SerializeToString())


def _given(part: str, names: Sequence[str]) -> list[Any]:
    """Nodes that hand inputs of the whole to a part, under its own names."""
    from onnx import helper

    return [helper.make_node("Identity", [name], [f"{part}/{name}"]) for name in names]


def _body(step: Any, stored: Sequence[str]) -> Any:
    """The body of the loop: what a bar reads of the whole lies outside, what it hands to the next goes round."""
    from onnx import TensorProto, helper

    kinds = {one.name: one.type.tensor_type.elem_type for one in (*step.input, *step.output)}
    carried = ["context", *stored]
    outside = [
        helper.make_node("Identity", ["step/number"], ["step/bar"]),
        helper.make_node("Identity", [UNIFORM], [f"step/{UNIFORM}"]),
        helper.make_node("Identity", ["prompt/times"], ["step/times"]),
        helper.make_node("Identity", ["step/go_on"], ["step/goes_on"]),
    ]
    inputs = [
        helper.make_tensor_value_info("step/number", TensorProto.INT64, []),
        helper.make_tensor_value_info("step/go_on", TensorProto.BOOL, []),
        *(helper.make_tensor_value_info(f"step/{name}", kinds[f"step/{name}"], None) for name in carried),
    ]
    outputs = [
        helper.make_tensor_value_info("step/goes_on", TensorProto.BOOL, []),
        *(helper.make_tensor_value_info(f"step/next_{name}", kinds[f"step/next_{name}"], None) for name in carried),
        helper.make_tensor_value_info("step/drawn", TensorProto.INT64, None),
    ]
    return helper.make_graph([*outside, *step.node], "next_bar", inputs, outputs)
