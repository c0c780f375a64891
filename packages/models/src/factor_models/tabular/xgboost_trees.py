"""Gradient-boosted trees of XGBoost (Chen & Guestrin 2016) on the features of the last bar.

Grown leaf by leaf on histograms. The file holds one JSON model of XGBoost per line, one line per horizon. The same
rows and seed give the same trees, whatever the number of threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from factor_models.checks import check_at_least, check_at_most
from factor_models.extras import from_extra
from factor_models.tabular.base import row_chunks
from factor_models.tabular.boosting import BoostingConfig, Objective, Rows, TreesPerHorizon

OBJECTIVES: dict[Objective, tuple[str, str]] = {
    "squared": ("reg:squarederror", "rmse"),
    "binary": ("binary:logistic", "logloss"),
}


@dataclass(frozen=True, kw_only=True)
class XGBoostConfig(BoostingConfig):
    """Size of the trees and of the ensemble."""

    min_leaf_weight: float = 200.0
    """Least sum of second derivatives in a leaf: its rows (or weights) for squared error, p (1 - p) summed over
    them for targets 0 and 1."""
    bins: int = 256
    """Most histogram bins of a feature."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, {"min_leaf_weight": 0, "bins": 2})
        check_at_most(self, {"bins": 2**16})


class XGBoostTrees(TreesPerHorizon):
    """One XGBoost booster per horizon."""

    weights_file: ClassVar[str] = "model.jsonl"
    separator: ClassVar[str] = "\n"

    def _grow(self, rows: Rows, stop_on: Rows | None, objective: Objective) -> Any:
        with from_extra("trees"):
            import xgboost

        train = self._bins(rows)
        watched, patience = [], None
        if stop_on is not None:
            watched, patience = [(self._bins(stop_on, like=train), "valid")], self.config.patience
        booster = xgboost.train(
            self._parameters(objective),
            train,
            self.config.rounds,
            evals=watched,
            early_stopping_rounds=patience,
            verbose_eval=False,
        )
        kept = booster if stop_on is None else booster[: booster.best_iteration + 1]
        # Through the text without its notes: a fitted and a loaded model are the same object.
        kept.set_attr(best_iteration=None, best_score=None)
        return self._from_text(self._to_text(kept))

    def _margin(self, booster: Any, x: np.ndarray) -> np.ndarray:
        import xgboost

        return booster.predict(xgboost.DMatrix(x, nthread=self.config.num_threads), output_margin=True)

    def _gain(self, booster: Any) -> np.ndarray:
        gain = np.zeros(booster.num_features())
        for name, value in booster.get_score(importance_type="total_gain").items():
            gain[int(name.removeprefix("f"))] = value
        return gain

    def _to_text(self, booster: Any) -> str:
        return booster.save_raw("json").decode()

    def _from_text(self, text: str) -> Any:
        with from_extra("trees"):
            import xgboost

        if not isinstance(json.loads(text), dict):
            raise ValueError("is no JSON of XGBoost's trees")  # XGBoost would end the process
        booster = xgboost.Booster({"nthread": self.config.num_threads})
        booster.load_model(bytearray(text.encode()))
        return booster

    def _count_trees(self, booster: Any) -> int:
        return booster.num_boosted_rounds()

    def _count_leaves(self, booster: Any) -> int:
        trees = json.loads(self._to_text(booster))["learner"]["gradient_booster"]["model"]["trees"]
        return sum(sum(child == -1 for child in tree["left_children"]) for tree in trees)

    def _bins(self, rows: Rows, like: Any = None) -> Any:
        """The rows as histogram bins, made chunk by chunk; a `DMatrix` holds 8 bytes per value, for the same trees."""
        import xgboost

        class Chunks(xgboost.DataIter):
            def __init__(self) -> None:
                super().__init__()
                self.left = row_chunks(len(rows.places))

            def reset(self) -> None:
                self.left = row_chunks(len(rows.places))

            def next(self, input_data: Callable[..., Any]) -> bool:
                if not self.left:
                    return False
                chunk = self.left.pop(0)
                weights = None if rows.weights is None else rows.weights[chunk]
                input_data(data=rows.columns[rows.places[chunk]], label=rows.y[chunk], weight=weights)
                return True

        return xgboost.QuantileDMatrix(Chunks(), ref=like, max_bin=self.config.bins, nthread=self.config.num_threads)

    def _parameters(self, objective: Objective) -> dict[str, Any]:
        config = self.config
        name, metric = OBJECTIVES[objective]
        return {
            "objective": name,
            "eval_metric": metric,
            "tree_method": "hist",
            "grow_policy": "lossguide",
            "max_depth": 0,
            "max_leaves": config.leaves,
            "max_bin": config.bins,
            "eta": config.learning_rate,
            "min_child_weight": config.min_leaf_weight,
            "colsample_bytree": config.feature_share,
            "subsample": config.row_share,
            "lambda": config.l2,
            "seed": config.seed,
            "nthread": config.num_threads,
            "verbosity": 0,
        }
