"""A network as a graph, with what happens around it: missing inputs, their mask, and the forecast of its outputs."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx import symbolic_helper

from factor_models import Loss
from factor_serve.export.graphs import OPSET
from factor_serve.export.names import OUTPUT, WINDOWS

GRAPH_INPUTS = ("symbols", "texts")
"""Inputs besides windows that a graph has; the date of each window is the same one in a run."""


class Served(nn.Module):
    """A network from windows as they are, NaN where an input is missing, to forecasts (B, H) of one date."""

    def __init__(self, model: nn.Module, loss: Loss, missing_mask: bool) -> None:
        super().__init__()
        self.model, self.loss, self.missing_mask = model, loss, missing_mask
        self.names = [name for name in getattr(model, "extra_inputs", ()) if name in GRAPH_INPUTS]
        self.reads_dates = "groups" in getattr(model, "extra_inputs", ())

    def forward(self, windows: Tensor, *extras: Tensor) -> Tensor:
        """Return forecasts; `extras` are those of `names`."""
        x = windows
        if windows.is_floating_point():
            missing = torch.isnan(windows)
            x = torch.where(missing, torch.zeros_like(windows), windows)
            if self.missing_mask:
                x = torch.cat([x, missing.to(x.dtype)], dim=2)
        given: dict[str, Any] = dict(zip(self.names, extras, strict=True))
        if (
            self.reads_dates and not torch.jit.is_tracing()
        ):  # of a graph all windows are of one date, so dates need no sorting
            given["groups"] = torch.zeros_like(x[:, 0, 0], dtype=torch.int64)
        return self.loss.point(self.model(x, **given))


def traced(served: Served, example: Sequence[Tensor]) -> bytes:
    """Return the ONNX file of a network, with a batch of any size, by tracing, which takes less than a second.

    What a trace would freeze shows in a comparison with other batches than the example's.
    """
    named = dict(zip([WINDOWS, *served.names], example, strict=True))
    return graph_of(served.eval(), named, [OUTPUT], {name: {0: "batch"} for name in (*named, OUTPUT)})


def graph_of(
    module: nn.Module, example: Mapping[str, Tensor], outputs: Sequence[str], axes: Mapping[str, Mapping[int, str]]
) -> bytes:
    """Return the ONNX file of a module by tracing it on an example of its inputs; `axes` are those of any size."""
    for operator, symbol in SYMBOLS.items():
        torch.onnx.register_custom_op_symbolic(f"aten::{operator}", symbol, OPSET)
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings(), _silence():
        warnings.simplefilter("ignore")  # of the tracer, on shapes that do not change
        torch.onnx.export(
            module,
            tuple(example.values()),
            file,  # type: ignore[arg-type]  # a file that is open will do
            dynamo=False,
            opset_version=OPSET,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_axes={name: dict(one) for name, one in axes.items()},
        )
    return file.getvalue()


def _expm1(graph: Any, x: Any) -> Any:
    """exp(x) - 1 = tanh(x / 2) (exp(x) + 1), exact near 0 too: ONNX has no operator for it."""
    one, half = (graph.op("Constant", value_t=torch.tensor(value)) for value in (1.0, 0.5))
    return graph.op("Mul", graph.op("Tanh", graph.op("Mul", x, half)), graph.op("Add", graph.op("Exp", x), one))


@symbolic_helper.parse_args("v", "i", "i", "i")
def _unfold(graph: Any, x: Any, axis: int, size: int, step: int) -> Any:
    """Runs of `size` values along an axis, side by side: torch's own symbol needs an axis whose length it knows."""
    if step != 1:
        raise ValueError(f"unfold with a step of {step}: only runs that start at each value have a graph")

    def constant(value: int) -> Any:
        return graph.op("Constant", value_t=torch.tensor([value]))

    ends = [place + 1 - size or torch.iinfo(torch.int64).max for place in range(size)]
    shifted = [graph.op("Slice", x, constant(place), constant(end), constant(axis)) for place, end in enumerate(ends)]
    return graph.op("Concat", *(graph.op("Unsqueeze", one, constant(-1)) for one in shifted), axis_i=-1)


@symbolic_helper.parse_args("v", "v", "v", "f")
def _rms_norm(graph: Any, x: Any, shape: Any, weight: Any, epsilon: float) -> Any:
    """x over its root mean square along the last axis, the only one that is asked for here, times the weight."""
    two, least = (graph.op("Constant", value_t=torch.tensor(value)) for value in (2.0, epsilon))
    last = graph.op("Constant", value_t=torch.tensor([-1]))
    mean = graph.op("ReduceMean", graph.op("Pow", x, two), last, keepdims_i=1)
    return graph.op("Mul", graph.op("Div", x, graph.op("Sqrt", graph.op("Add", mean, least))), weight)


SYMBOLS: dict[str, Callable[..., Any]] = {"expm1": _expm1, "unfold": _unfold, "rms_norm": _rms_norm}
"""Operators of torch that its exporter by tracing does not know, or not for a batch of any size."""


@contextmanager
def _silence() -> Iterator[None]:
    """Within, nothing is printed: where the tracer gives up it prints the whole graph, from C++."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
