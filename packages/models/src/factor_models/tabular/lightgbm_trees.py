"""Gradient-boosted trees of LightGBM (Ke et al. 2017) on the features of the last bar.

The same rows and seed give the same trees, whatever the number of threads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from factor_models.checks import check_at_least
from factor_models.extras import from_extra
from factor_models.tabular import base
from factor_models.tabular.boosting import BoostingConfig, Objective, Rows, TreesPerHorizon

SAMPLED_ROWS = 200_000
"""Rows that LightGBM cuts bins by (its default). It holds them three times over as doubles where it reads in chunks."""
OBJECTIVES: dict[Objective, tuple[str, str]] = {
    "squared": ("regression", "l2"),
    "binary": ("binary", "binary_logloss"),
}


@dataclass(frozen=True, kw_only=True)
class LightGBMConfig(BoostingConfig):
    """Size of the trees and of the ensemble."""

    min_rows_in_leaf: int = 200
    """Fewest rows of a leaf."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, {"min_rows_in_leaf": 1})


class LightGBMTrees(TreesPerHorizon):
    """One LightGBM booster per horizon."""

    weights_file: ClassVar[str] = "model.txt"
    separator: ClassVar[str] = "\n=== next horizon ===\n"

    def _column_names(self) -> list[str] | Literal["auto"]:
        """Names of what `_columns` returns; "auto": LightGBM counts them."""
        return "auto"

    def _grow(self, rows: Rows, stop_on: Rows | None, objective: Objective) -> Any:
        with from_extra("trees"):
            import lightgbm

        train = self._bins(rows)
        sets: list[Any] = []
        callbacks: list[Any] = []
        if stop_on is not None:
            sets = [self._bins(stop_on, like=train)]
            callbacks = [lightgbm.early_stopping(self.config.patience, verbose=False)]
        booster = lightgbm.train(
            self._parameters(objective), train, self.config.rounds, valid_sets=sets, callbacks=callbacks
        )
        # The text without the trees after the best one: a fitted and a loaded model are the same object.
        return self._from_text(booster.model_to_string(num_iteration=booster.best_iteration or None))

    def _bins(self, rows: Rows, like: Any = None) -> Any:
        """The rows as histogram bins; many rows are read chunk by chunk, into the bins of the whole without a copy."""
        import lightgbm

        class Features(lightgbm.Sequence):
            batch_size = base.ROWS_AT_ONCE

            def __len__(self) -> int:
                return len(rows.places)

            def __getitem__(self, key: Any) -> np.ndarray:
                values = rows.columns[rows.places[key]]
                return values if values.ndim == 2 else values.astype(np.float64)  # a row is asked for as doubles

        return lightgbm.Dataset(
            rows.columns[rows.places] if len(rows.places) <= SAMPLED_ROWS else Features(),
            rows.y,
            weight=rows.weights,
            reference=like,
            feature_name=self._column_names(),
            params={
                "verbosity": -1,
                "num_threads": self.config.num_threads,
                "data_random_seed": self.config.seed,  # of the rows that bins are cut by, where there are many
            },
        )

    def _margin(self, booster: Any, x: np.ndarray) -> np.ndarray:
        return booster.predict(x, num_threads=self.config.num_threads, raw_score=True)

    def _gain(self, booster: Any) -> np.ndarray:
        return np.asarray(booster.feature_importance("gain"), dtype=np.float64)

    def _to_text(self, booster: Any) -> str:
        return booster.model_to_string()

    def _from_text(self, text: str) -> Any:
        with from_extra("trees"):
            import lightgbm

        sizes = re.search(r"^tree_sizes=([\d ]*)$", text, re.MULTILINE)
        if sizes is None or "\nend of trees" not in text or len(sizes[1].split()) != text.count("\nTree="):
            raise ValueError("is no whole text of LightGBM's trees")  # LightGBM would end the process
        return lightgbm.Booster(model_str=text)

    def _count_trees(self, booster: Any) -> int:
        return booster.num_trees()

    def _count_leaves(self, booster: Any) -> int:
        return sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"])

    def _parameters(self, objective: Objective) -> dict[str, Any]:
        config = self.config
        name, metric = OBJECTIVES[objective]
        return {
            "objective": name,
            "metric": metric,
            "learning_rate": config.learning_rate,
            "num_leaves": config.leaves,
            "min_data_in_leaf": config.min_rows_in_leaf,
            "feature_fraction": config.feature_share,
            "bagging_fraction": config.row_share,
            "bagging_freq": 1,
            "lambda_l2": config.l2,
            "seed": config.seed,
            "num_threads": config.num_threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
