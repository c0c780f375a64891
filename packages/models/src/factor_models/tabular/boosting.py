"""Common part of boosted trees, whichever library grows them.

One booster per horizon, stopped early on the valid rows, all boosters in one file of the library's own text format.

Missing features go to the side of a split that the library learns for them. Where all known targets of a horizon
are 0 or 1, the booster is fitted to the log odds (binary cross-entropy), else to squared error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np

from factor_models.checks import check_at_least, check_at_most
from factor_models.tabular.base import SelectedRows, Table, check_features, check_targets, row_chunks
from factor_models.whole_file import write_bytes

Objective = Literal["squared", "binary"]


@dataclass(frozen=True, kw_only=True)
class BoostingConfig:
    """Size of the trees and of the ensemble, as every library knows it."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    rounds: int = 300
    """Most trees per horizon."""
    patience: int = 30
    """Trees without a better error on the valid rows before growth stops."""
    learning_rate: float = 0.05
    """Shrinkage of each tree."""
    leaves: int = 31
    """Most leaves of a tree."""
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
        minimums = {"rounds": 1, "patience": 1, "leaves": 2, "l2": 0, "seed": 0, "num_threads": 1}
        check_at_least(self, minimums)
        check_at_most(self, {"leaves": 2**17, "seed": 2**31 - 1, "num_threads": 1024})  # more ends in the libraries
        for name in ("learning_rate", "feature_share", "row_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)!r}: must be in (0, 1]")


class Rows(NamedTuple):
    """The rows of one horizon whose target is known. A library reads their features some rows at a time."""

    columns: np.ndarray | SelectedRows
    """(N, columns) of all rows, those without a target included."""
    places: np.ndarray
    """(num_known,) which of them have a target."""
    y: np.ndarray
    """(num_known,) the targets."""
    weights: np.ndarray | None
    """(num_known,) weights; None: all 1."""


class TreesPerHorizon:
    """Base of the boosted trees: a subclass grows, scores and writes one booster.

    Attributes
    ----------
    boosters : the library's own objects, one per horizon
    """

    input_kind: ClassVar[str] = "last_bar"
    weights_file: ClassVar[str]
    separator: ClassVar[str]
    """Between the texts of two boosters in the file."""

    def __init__(self, config: Any, num_features: int, num_horizons: int) -> None:
        self.config, self.num_features, self.num_horizons = config, num_features, num_horizons
        self.boosters: list[Any] = []

    @property
    def num_trees(self) -> list[int]:
        """Trees kept per horizon."""
        return [self._count_trees(booster) for booster in self.boosters]

    @property
    def num_parameters(self) -> int:
        """Leaves of all trees."""
        return sum(self._count_leaves(booster) for booster in self.boosters)

    def fit(self, train: Table, valid: Table | None = None) -> Self:
        """Fit on a table with targets. Without valid rows all `rounds` trees are grown."""
        check_features(train, self.num_features, "train")
        check_targets(train, self.num_horizons)
        if valid is not None:
            check_features(valid, self.num_features, "valid")
            check_targets(valid, self.num_horizons, "valid")
        x = self._columns(train)
        x_valid = None if valid is None else self._columns(valid)
        self.boosters = []
        for horizon in range(self.num_horizons):
            rows = _known(x, train, horizon)
            stop_on = None if valid is None or x_valid is None else _known(x_valid, valid, horizon)
            self.boosters.append(self._grow(rows, stop_on, _objective(rows.y)))
        return self

    def predict(self, table: Table) -> np.ndarray:
        """Forecasts (N, H) float32; log odds where the targets were 0 and 1."""
        if not self.boosters:
            raise ValueError("the model is not fitted: call fit or load_weights first")
        check_features(table, self.num_features)
        x = self._columns(table)
        prediction = np.empty((len(x), self.num_horizons), np.float32)
        for rows in row_chunks(len(x)):
            for horizon, booster in enumerate(self.boosters):
                prediction[rows, horizon] = self._margin(booster, x[rows])
        return prediction

    def gain_shares(self) -> np.ndarray:
        """Return (num_horizons, num_features) the share of each feature in what the splits gained in training.

        What was made of a feature, such as its mean of the date, counts as it. Rows add up to 1; of trees without a
        split they are 0.
        """
        shares = np.zeros((self.num_horizons, self.num_features))
        for horizon, booster in enumerate(self.boosters):
            gain = self._gain(booster)
            shares[horizon] = np.bincount(np.arange(len(gain)) % self.num_features, gain, self.num_features)
            shares[horizon] /= max(float(shares[horizon].sum()), np.finfo(float).tiny)
        return shares

    def save_weights(self, path: Path) -> None:
        """Write the boosters in the library's text format, one after another."""
        if not self.boosters:
            raise ValueError("the model is not fitted: nothing to save")
        write_bytes(path, self.separator.join(self._to_text(booster) for booster in self.boosters).encode())

    def load_weights(self, path: Path) -> None:
        """Read what `save_weights` wrote."""
        texts = path.read_text(encoding="utf-8").split(self.separator)
        if len(texts) != self.num_horizons:
            raise ValueError(f"{path}: holds {len(texts)} boosters, the configuration says {self.num_horizons}")
        self.boosters = [self._from_text(text) for text in texts]

    def _columns(self, table: Table) -> np.ndarray | SelectedRows:
        """Return the inputs of the trees, (N, columns)."""
        return table.features

    def _grow(self, rows: Rows, stop_on: Rows | None, objective: Objective) -> Any:
        raise NotImplementedError

    def _margin(self, booster: Any, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _gain(self, booster: Any) -> np.ndarray:
        """Return (num_columns,) what the splits on each column gained."""
        raise NotImplementedError

    def _to_text(self, booster: Any) -> str:
        raise NotImplementedError

    def _from_text(self, text: str) -> Any:
        raise NotImplementedError

    def _count_trees(self, booster: Any) -> int:
        raise NotImplementedError

    def _count_leaves(self, booster: Any) -> int:
        raise NotImplementedError


def _known(x: np.ndarray | SelectedRows, table: Table, horizon: int) -> Rows:
    assert table.targets is not None
    known = np.isfinite(table.targets[:, horizon])
    weights = None if table.weights is None else table.weights[known]
    return Rows(x, np.flatnonzero(known), table.targets[known, horizon], weights)


def _objective(y: np.ndarray) -> Objective:
    return "binary" if np.isin(y, (0.0, 1.0)).all() else "squared"
