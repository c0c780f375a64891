"""Nodes of a graph, put together one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(eq=False)
class Graph:
    """Nodes and constants of a graph, each result with a name of its own."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; return the name of its result, or the names of several."""
        from onnx import helper

        names = [f"{operator.lower()}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = np.float64) -> str:
        """Return the name of a constant."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def cast(self, value: str, dtype: Any) -> str:
        """Return a value as another type."""
        from onnx import helper

        return str(self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))

    def sum(self, value: str, axis: int) -> str:
        """Return sums along an axis, which stays with the size 1."""
        return str(self.add("ReduceSum", value, self.constant([axis], np.int64), keepdims=1))

    def at(self, value: str, place: int, axis: int) -> str:
        """Return what lies at a place of an axis, which goes."""
        return str(self.add("Gather", value, self.constant(place, np.int64), axis=axis))

    def as_row(self, value: str) -> str:
        """Return (n,) as (1, n)."""
        return str(self.add("Unsqueeze", value, self.constant([0], np.int64)))


def prefixed(content: bytes, prefix: str) -> Any:
    """Return the graph of a model with a prefix before each of its names, those in the bodies of its loops too.

    `onnx.compose.add_prefix` leaves the names as they are by which a body reads what lies outside of it.
    """
    from onnx import load_from_string

    graph = load_from_string(content).graph
    _rename(graph, prefix)
    return graph


def _rename(graph: Any, prefix: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [prefix + name if name else name for name in names]  # an empty one is left out
        node.name = node.name and prefix + node.name
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, prefix)
    for named in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        named.name = prefix + named.name
