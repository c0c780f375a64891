"""Graphs of linear models and of trees, node by node: the same comparisons and the same way with missing values.

Trees of LightGBM compare float32 inputs with double thresholds; a graph has float32. Each threshold is therefore taken
down to the next float32, which no float32 input tells from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_models.tabular.cross_asset import CrossAssetTrees
from factor_models.tabular.lightgbm_trees import LightGBMTrees
from factor_models.tabular.linear import RidgeRegressor
from factor_models.tabular.xgboost_trees import XGBoostTrees
from factor_serve.export.names import INPUT, OUTPUT
from factor_serve.export.nodes import Graph

OPSET, TREE_OPSET = 18, 3


class NotExportable(Exception):
    """A member that no graph can be made of, and why."""


@dataclass(eq=False)
class Nodes:
    """Nodes of all trees, as `TreeEnsembleRegressor` wants them: an entry per node in each list."""

    tree: list[int] = field(default_factory=list)
    node: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    mode: list[str] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    missing_is_yes: list[int] = field(default_factory=list)
    leaf_tree: list[int] = field(default_factory=list)
    leaf_node: list[int] = field(default_factory=list)
    leaf_target: list[int] = field(default_factory=list)
    leaf_value: list[float] = field(default_factory=list)

    def branch(
        self, tree: int, node: int, feature: int, mode: str, value: float, yes: int, no: int, missing_is_yes: bool
    ) -> None:
        """Add a comparison."""
        self._add(tree, node, feature, mode, value, yes, no, int(missing_is_yes))

    def leaf(self, tree: int, node: int, target: int, value: float) -> None:
        """Add what a tree gives to a target."""
        self._add(tree, node, 0, "LEAF", 0.0, 0, 0, 0)
        self.leaf_tree.append(tree)
        self.leaf_node.append(node)
        self.leaf_target.append(target)
        self.leaf_value.append(value)

    def _add(self, *parts: Any) -> None:
        columns: tuple[list[Any], ...] = (
            self.tree, self.node, self.feature, self.mode, self.value, self.yes, self.no, self.missing_is_yes
        )  # fmt: skip
        for column, part in zip(columns, parts, strict=True):
            column.append(part)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the operator."""
        return {
            "nodes_treeids": self.tree,
            "nodes_nodeids": self.node,
            "nodes_featureids": self.feature,
            "nodes_modes": self.mode,
            "nodes_values": self.value,
            "nodes_truenodeids": self.yes,
            "nodes_falsenodeids": self.no,
            "nodes_missing_value_tracks_true": self.missing_is_yes,
            "target_treeids": self.leaf_tree,
            "target_nodeids": self.leaf_node,
            "target_ids": self.leaf_target,
            "target_weights": self.leaf_value,
        }


def graph_of_table(model: Any) -> Any:
    """Return the ONNX model of a tabular member; NotExportable for one of a class that is not known here."""
    if isinstance(model, RidgeRegressor):
        return _linear(model)
    if isinstance(model, CrossAssetTrees):
        columns = Graph()
        nodes, base = _lightgbm_nodes(model)
        tree = _tree_node(nodes, base, _cross_asset_columns(columns, model.leaders.tolist()), model.num_horizons)
        reads_symbols = len(model.leaders) > 0
        return _model(
            [*columns.nodes, tree], columns.constants, model.num_features, model.num_horizons, symbols=reads_symbols
        )
    if type(model) is LightGBMTrees:  # what is built on it has columns of its own
        return _trees(*_lightgbm_nodes(model), model.num_features, model.num_horizons)
    if isinstance(model, XGBoostTrees):
        return _trees(*_xgboost_nodes(model), model.num_features, model.num_horizons)
    raise NotExportable(f"{type(model).__name__} reads other columns besides its inputs")


def _cross_asset_columns(graph: Graph, leaders: Sequence[int]) -> str:
    """The columns of `CrossAssetTrees`, (batch, columns) float32, of rows that are all of one date.

    Sums are taken row by row in double, as numpy's `bincount` takes them, and so have its bits: trees may split on what
    rounding has left of the mean of ranks, which is the same on each date.
    """
    x, zero, nan = graph.cast(INPUT, np.float64), graph.constant(0.0), graph.constant(np.nan)
    missing = graph.add("IsNaN", x)
    count = graph.sum(graph.cast(graph.add("Not", missing), np.float64), 0)
    none = graph.add("Equal", count, zero)
    divisor = graph.add("Where", none, graph.constant(1.0), count)

    def mean_of(values: str) -> str:
        running = graph.add("CumSum", graph.add("Where", missing, zero, values), graph.constant(0, np.int64))
        last = graph.add("Gather", running, graph.constant([-1], np.int64), axis=0)
        return str(graph.add("Div", last, divisor))

    mean = mean_of(x)
    rest = graph.add("Sub", x, mean)
    deviation = graph.add("Sqrt", mean_of(graph.add("Mul", rest, rest)))
    blocks = [graph.cast(graph.add("Where", none, nan, each), np.float32) for each in (mean, deviation)]
    blocks += [_row_of(graph, leader) for leader in leaders]
    shape = graph.add("Shape", INPUT)
    return str(graph.add("Concat", INPUT, *(graph.add("Expand", each, shape) for each in blocks), axis=1))


def _row_of(graph: Graph, symbol: int) -> str:
    """The inputs of one symbol of the date (1, num_features); NaN where it has no row."""
    its = graph.add("Equal", "symbols", graph.constant(symbol, np.int64))
    there = graph.add("ReduceMax", graph.cast(its, np.int32), keepdims=1)
    place = graph.add("ArgMax", graph.cast(its, np.int32), axis=0, keepdims=1)
    found = graph.add("Gather", INPUT, place, axis=0)
    return str(graph.add("Where", graph.cast(there, np.bool_), found, graph.constant(np.nan, np.float32)))


def _linear(model: RidgeRegressor) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    assert model.weights is not None
    constants = {
        "center": model.center,
        "scale": model.scale,
        "weights": model.weights,
        "intercept": model.intercept,
        "nothing": np.zeros(1),
    }
    nodes = [
        helper.make_node("Cast", [INPUT], ["x"], to=TensorProto.DOUBLE),
        helper.make_node("Sub", ["x", "center"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["z"]),
        helper.make_node("IsNaN", ["z"], ["missing"]),
        helper.make_node("Where", ["missing", "nothing", "z"], ["known"]),
        helper.make_node("MatMul", ["known", "weights"], ["product"]),
        helper.make_node("Add", ["product", "intercept"], ["sum"]),
        helper.make_node("Cast", ["sum"], [OUTPUT], to=TensorProto.FLOAT),
    ]
    tensors = [numpy_helper.from_array(np.asarray(value, np.float64), name) for name, value in constants.items()]
    return _model(nodes, tensors, model.num_features, model.num_horizons)


def _trees(nodes: Nodes, base: NDArray[np.float64], num_features: int, num_horizons: int) -> Any:
    return _model([_tree_node(nodes, base, INPUT, num_horizons)], [], num_features, num_horizons)


def _tree_node(nodes: Nodes, base: NDArray[np.float64], columns: str, num_horizons: int) -> Any:
    from onnx import helper

    return helper.make_node(
        "TreeEnsembleRegressor",
        [columns],
        [OUTPUT],
        domain="ai.onnx.ml",
        n_targets=num_horizons,
        base_values=base.astype(np.float32).tolist(),
        aggregate_function="SUM",
        post_transform="NONE",
        **nodes.attributes(),
    )


def _model(
    nodes: Sequence[Any], tensors: Sequence[Any], num_features: int, num_horizons: int, *, symbols: bool = False
) -> Any:
    from onnx import TensorProto, checker, helper

    ids = [helper.make_tensor_value_info("symbols", TensorProto.INT64, ["batch"])] if symbols else []
    graph = helper.make_graph(
        nodes,
        "member",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", num_features]), *ids],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", num_horizons])],
        tensors,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREE_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    checker.check_model(model, full_check=True)
    return model


def _lightgbm_nodes(model: LightGBMTrees) -> tuple[Nodes, NDArray[np.float64]]:
    nodes, number = Nodes(), 0
    for target, booster in enumerate(model.boosters):
        for tree in booster.dump_model()["tree_info"]:
            _walk(tree["tree_structure"], nodes, number, target)
            number += 1
    return nodes, np.zeros(model.num_horizons)


def _walk(root: Mapping[str, Any], nodes: Nodes, tree: int, target: int) -> None:
    """Add a tree of LightGBM, each node with a number of its own."""
    waiting: list[tuple[int, Mapping[str, Any]]] = [(0, root)]
    free = 1
    while waiting:
        number, one = waiting.pop()
        if "split_feature" not in one:
            nodes.leaf(tree, number, target, float(one["leaf_value"]))
            continue
        if one["decision_type"] != "<=":
            raise NotExportable(f"trees compare by {one['decision_type']!r}, which is not a threshold")
        threshold = float(one["threshold"])
        missing_is_yes = bool(one["default_left"]) if one["missing_type"] == "NaN" else threshold >= 0.0
        if one["missing_type"] == "Zero":
            raise NotExportable("trees take 0 for missing")
        nodes.branch(
            tree, number, int(one["split_feature"]), "BRANCH_LEQ", floor32(threshold), free, free + 1, missing_is_yes
        )
        waiting += [(free, one["left_child"]), (free + 1, one["right_child"])]
        free += 2


def _xgboost_nodes(model: XGBoostTrees) -> tuple[Nodes, NDArray[np.float64]]:
    nodes, number, base = Nodes(), 0, np.zeros(model.num_horizons)
    for target, booster in enumerate(model.boosters):
        learner = json.loads(booster.save_raw("json"))["learner"]
        start = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
        logistic = learner["objective"]["name"] == "binary:logistic"
        base[target] = math.log(start / (1.0 - start)) if logistic else start
        for tree in learner["gradient_booster"]["model"]["trees"]:
            if any(tree.get("split_type", [])):
                raise NotExportable("trees split by category")
            left, right = tree["left_children"], tree["right_children"]
            for node, condition in enumerate(tree["split_conditions"]):
                if left[node] == -1:
                    nodes.leaf(number, node, target, float(condition))
                else:
                    nodes.branch(
                        number, node, int(tree["split_indices"][node]), "BRANCH_LT", float(condition),
                        left[node], right[node], bool(tree["default_left"][node]),
                    )  # fmt: skip
            number += 1
    return nodes, base


def floor32(value: float) -> float:
    """Return the largest float32 that is not above a double."""
    with np.errstate(over="ignore"):  # a threshold that only keeps missing values apart
        near = np.float32(value)
    return float(near if float(near) <= value else np.nextafter(near, np.float32(-np.inf)))
