"""Gradient-boosted trees (LightGBM) on the features of the last bar, one booster per horizon, stopped early
on the valid rows.

Missing features go to the side of a split that LightGBM learns for them. The same rows and seed give the same
trees, whatever the number of threads.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from factor_models.checks import check_at_least
from factor_models.tabular.base import check_table, check_targets
from factor_models.writing import write_bytes

SEPARATOR = "\n=== next horizon ===\n"


@dataclass(frozen=True, kw_only=True)
class LightGBMConfig:
    """Size of the trees and of the ensemble."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    rounds: int = 300
    """Most trees per horizon."""
    patience: int = 30
    """Trees without a better squared error on the valid rows before growth stops."""
    learning_rate: float = 0.05
    """Shrinkage of each tree."""
    leaves: int = 31
    """Most leaves of a tree."""
    min_rows_in_leaf: int = 200
    """Fewest rows of a leaf."""
    feature_share: float = 0.8
    """Share of features a tree may use."""
    row_share: float = 0.8
    """Share of rows a tree is grown on."""
    l2: float = 10.0
    """Penalty on squared leaf values."""
    seed: int = 7
    """Draws features and rows."""
    num_threads: int = 2
    """Threads; the trees do not depend on it."""

    def __post_init__(self) -> None:
        minimums = {
            "rounds": 1,
            "patience": 1,
            "leaves": 2,
            "min_rows_in_leaf": 1,
            "l2": 0,
            "seed": 0,
            "num_threads": 1,
        }
        check_at_least("LightGBMConfig", self, minimums)
        for name in ("learning_rate", "feature_share", "row_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"LightGBMConfig.{name} = {getattr(self, name)!r}: must be in (0, 1]")


class BoostedTrees:
    """One LightGBM booster per horizon."""

    input_kind: ClassVar[str] = "last_bar"
    weights_file: ClassVar[str] = "model.txt"

    def __init__(self, config: LightGBMConfig, num_features: int, num_horizons: int) -> None:
        self.config, self.num_features, self.num_horizons = config, num_features, num_horizons
        self.boosters: list[Any] = []

    @property
    def num_trees(self) -> list[int]:
        """Trees kept per horizon."""
        return [booster.num_trees() for booster in self.boosters]

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        x_valid: np.ndarray | None = None,
        y_valid: np.ndarray | None = None,
    ) -> "BoostedTrees":
        """Fit on features (N, F) and targets (N, H). Without valid rows all `rounds` trees are grown."""
        check_table(x, self.num_features)
        check_targets(y, len(x), self.num_horizons)
        if (x_valid is None) != (y_valid is None):
            raise ValueError("x_valid and y_valid must be given together")
        if x_valid is not None and y_valid is not None:
            check_table(x_valid, self.num_features, "x_valid")
            check_targets(y_valid, len(x_valid), self.num_horizons, "y_valid")
        self.boosters = []
        for horizon in range(self.num_horizons):
            valid = None if x_valid is None or y_valid is None else _known(x_valid, y_valid[:, horizon])
            self.boosters.append(self._grow(*_known(x, y[:, horizon]), valid))
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Forecasts (N, H) float32."""
        if not self.boosters:
            raise ValueError("the model is not fitted: call fit or load_weights first")
        check_table(x, self.num_features)
        threads = self.config.num_threads
        columns = [booster.predict(x, num_threads=threads) for booster in self.boosters]
        return np.stack(columns, axis=1).astype(np.float32)

    def save_weights(self, path: Path) -> None:
        """Write the boosters in LightGBM's text format, one after another."""
        if not self.boosters:
            raise ValueError("the model is not fitted: nothing to save")
        write_bytes(path, SEPARATOR.join(booster.model_to_string() for booster in self.boosters).encode())

    def load_weights(self, path: Path) -> None:
        """Read what `save_weights` wrote."""
        import lightgbm

        texts = path.read_text().split(SEPARATOR)
        if len(texts) != self.num_horizons:
            raise ValueError(
                f"{path}: holds {len(texts)} boosters, the configuration says {self.num_horizons}"
            )
        self.boosters = [lightgbm.Booster(model_str=text) for text in texts]

    def _grow(self, x: np.ndarray, y: np.ndarray, valid: tuple[np.ndarray, np.ndarray] | None) -> Any:
        import lightgbm

        train = lightgbm.Dataset(x, y, params={"verbosity": -1, "num_threads": self.config.num_threads})
        sets = [] if valid is None else [lightgbm.Dataset(*valid, reference=train)]
        stop: Any = lightgbm.early_stopping(self.config.patience, verbose=False)
        callbacks = [] if valid is None else [stop]
        booster = lightgbm.train(
            self._parameters(), train, self.config.rounds, valid_sets=sets, callbacks=callbacks
        )
        # The text without the trees after the best one: a fitted and a loaded model are the same object.
        return lightgbm.Booster(
            model_str=booster.model_to_string(num_iteration=booster.best_iteration or None)
        )

    def _parameters(self) -> dict[str, Any]:
        config = self.config
        return {
            "objective": "regression",
            "metric": "l2",
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


def _known(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(y)
    return x[known], y[known]
