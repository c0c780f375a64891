"""A network as a graph, with what happens around it: missing inputs, their mask, and the forecast of its outputs."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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
        if self.reads_dates:
            given["groups"] = torch.zeros_like(x[:, 0, 0], dtype=torch.int64)
        return self.loss.point(self.model(x, **given))


def traced(served: Served, example: Sequence[Tensor]) -> bytes:
    """Return the ONNX file of a network, with a batch of any size, by tracing, which takes less than a second.

    What a trace would freeze shows in a comparison with other batches than the example's.
    """
    torch.onnx.register_custom_op_symbolic("aten::expm1", _expm1, OPSET)
    file = io.BytesIO()
    names = [WINDOWS, *served.names]
    with torch.no_grad(), warnings.catch_warnings(), _silence():
        warnings.simplefilter("ignore")  # of the tracer, on shapes that do not change
        torch.onnx.export(
            served.eval(),
            tuple(example),
            file,  # type: ignore[arg-type]  # a file that is open will do
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=[OUTPUT],
            dynamic_axes={name: {0: "batch"} for name in (*names, OUTPUT)},
        )
    return file.getvalue()


def exported(served: Served, example: Sequence[Tensor]) -> bytes:
    """Return the same by `torch.export`, which knows more operators, takes up to a minute and needs onnxscript."""
    any_size = {0: torch.export.Dim.DYNAMIC}
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings(), _silence():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            served.eval(),
            tuple(example),
            dynamo=True,
            opset_version=OPSET,
            input_names=[WINDOWS, *served.names],
            output_names=[OUTPUT],
            dynamic_shapes=(any_size, tuple(any_size for _ in served.names)),
            verbose=False,
        )
        assert program is not None
        program.save(file)  # type: ignore[arg-type]  # a file that is open will do
    return file.getvalue()


def _expm1(graph: Any, x: Any) -> Any:
    """exp(x) - 1 = tanh(x / 2) (exp(x) + 1), exact near 0 too: ONNX has no operator for it."""
    one, half = (graph.op("Constant", value_t=torch.tensor(value)) for value in (1.0, 0.5))
    return graph.op("Mul", graph.op("Tanh", graph.op("Mul", x, half)), graph.op("Add", graph.op("Exp", x), one))


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
