"""Ridge regression on the features of the last bar, closed form, one solution per horizon.

Source: Hoerl & Kennard (1970), "Ridge Regression". With columns standardised on the training rows, w = (X'X +
alpha I)^-1 X'(y - mean y); the intercept is not penalised. Sums in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from safetensors.numpy import load_file, save

from factor_models.checks import check_at_least
from factor_models.tabular.base import SelectedRows, Table, check_features, check_targets, row_chunks
from factor_models.writing import write_bytes

COLUMNS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """Strength of the penalty."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    alpha: float = 100.0
    """Penalty on squared weights, in units of rows of standardised features."""

    def __post_init__(self) -> None:
        check_at_least(self, {"alpha": 0.0})


class RidgeRegressor:
    """Linear forecast; a missing feature counts as the training mean (0 after standardisation).

    Attributes
    ----------
    num_missing : missing entries of the features seen by `fit`
    """

    input_kind: ClassVar[str] = "last_bar"
    weights_file: ClassVar[str] = "model.safetensors"

    def __init__(self, config: LinearConfig, num_features: int, num_horizons: int) -> None:
        self.config, self.num_features, self.num_horizons = config, num_features, num_horizons
        self.center = np.zeros(num_features)
        self.scale = np.ones(num_features)
        self.weights: np.ndarray | None = None
        self.intercept = np.zeros(num_horizons)
        self.num_missing = 0

    @property
    def num_parameters(self) -> int:
        """Weights and intercepts."""
        return (self.num_features + 1) * self.num_horizons

    def fit(self, train: Table, valid: Table | None = None) -> RidgeRegressor:
        """Fit on a table with targets; the valid rows are not used. A weight of 2 equals the row given twice.

        Where the targets are 0 and 1 the fitted chance p becomes log odds by their tangent at 1/2, 4 (p - 1/2): the
        same order, positive where an up is more likely.
        """
        check_features(train, self.num_features, "train")
        x, y = train.features, check_targets(train, self.num_horizons)
        self._fit_scale(x, train.weights)
        self.weights = np.empty((self.num_features, self.num_horizons))
        for horizon in range(self.num_horizons):
            known = np.flatnonzero(np.isfinite(y[:, horizon]))
            row_weights = None if train.weights is None else train.weights[known].astype(np.float64)
            self._fit_horizon(horizon, x, known, y[known, horizon].astype(np.float64), row_weights)
            if np.isin(y[known, horizon], (0.0, 1.0)).all():
                self.weights[:, horizon] *= 4.0
                self.intercept[horizon] = 4.0 * (self.intercept[horizon] - 0.5)
        return self

    def predict(self, table: Table) -> np.ndarray:
        """Forecasts (N, H) float32."""
        if self.weights is None:
            raise ValueError("the model is not fitted: call fit or load_weights first")
        check_features(table, self.num_features)
        x = table.features
        prediction = np.empty((len(x), self.num_horizons), np.float32)
        for rows in row_chunks(len(x)):
            prediction[rows] = self._standardise(x[rows]) @ self.weights + self.intercept
        return prediction

    def save_weights(self, path: Path) -> None:
        """Write scale, weights and intercept as safetensors (float64)."""
        if self.weights is None:
            raise ValueError("the model is not fitted: nothing to save")
        arrays = {
            "center": self.center,
            "scale": self.scale,
            "weights": self.weights,
            "intercept": self.intercept,
        }
        write_bytes(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

    def load_weights(self, path: Path) -> None:
        """Read what `save_weights` wrote."""
        arrays = load_file(path)
        expected = (self.num_features, self.num_horizons)
        if arrays["weights"].shape != expected:
            raise ValueError(f"{path}: weights have shape {arrays['weights'].shape}, the configuration says {expected}")
        self.center, self.scale = arrays["center"], arrays["scale"]
        self.weights, self.intercept = arrays["weights"], arrays["intercept"]

    def _fit_scale(self, x: np.ndarray | SelectedRows, row_weights: np.ndarray | None) -> None:
        """Mean and deviation of each column, some columns at a time: the temporary arrays are larger than x."""
        self.center, self.scale = np.zeros(self.num_features), np.ones(self.num_features)
        self.num_missing = 0
        for columns in _column_blocks(self.num_features):
            block = x[:, columns]
            known = np.isfinite(block)
            self.num_missing += int(block.size - known.sum())
            count = known.sum(axis=0) if row_weights is None else row_weights.astype(np.float64) @ known
            count = np.where(count > 0, count, 1)
            center = _sum_of_rows(np.where(known, block, 0.0), row_weights) / count
            residual = np.where(known, block - center, 0.0)
            scale = np.sqrt(_sum_of_rows(np.square(residual), row_weights) / count)
            self.center[columns], self.scale[columns] = center, np.where(scale > 0, scale, 1.0)

    def _fit_horizon(
        self,
        horizon: int,
        x: np.ndarray | SelectedRows,
        known: np.ndarray,
        y: np.ndarray,
        row_weights: np.ndarray | None,
    ) -> None:
        """Solve for one horizon on the rows `known` of x, whose targets are y."""
        assert self.weights is not None
        gram = np.zeros((self.num_features, self.num_features))
        moment, total = np.zeros(self.num_features), np.zeros(self.num_features)
        for rows in row_chunks(len(known)):
            z = self._standardise(x[known[rows]])
            weighted = z if row_weights is None else z * row_weights[rows, None]
            gram += weighted.T @ z
            moment += weighted.T @ y[rows]
            total += weighted.sum(axis=0)
        mass = len(known) if row_weights is None else row_weights.sum()
        if not mass > 0:
            raise ValueError(f"weights of the rows with a target at horizon {horizon} are all 0: nothing to fit")
        mean_z, mean_y = total / mass, np.average(y, weights=row_weights)
        gram -= mass * np.outer(mean_z, mean_z)
        gram[np.diag_indices_from(gram)] += self.config.alpha
        centred_moment = moment - mass * mean_z * mean_y
        # With alpha = 0 and dependent features the matrix is singular: the solution of least norm is taken.
        from scipy import linalg  # a tenth of a second, which who reads settings alone need not spend

        solution = linalg.lstsq(gram, centred_moment, lapack_driver="gelsd")[0]
        self.weights[:, horizon] = solution
        self.intercept[horizon] = mean_y - mean_z @ solution

    def _standardise(self, x: np.ndarray) -> np.ndarray:
        z = x.astype(np.float64)
        z -= self.center
        z /= self.scale
        return np.nan_to_num(z, copy=False, nan=0.0)


def _sum_of_rows(values: np.ndarray, row_weights: np.ndarray | None) -> np.ndarray:
    weighted = values if row_weights is None else values * row_weights[:, None]
    return weighted.sum(axis=0, dtype=np.float64)


def _column_blocks(num_columns: int) -> list[slice]:
    """Blocks of columns; none of one column beside others, since numpy adds up a single column in another order."""
    firsts = list(range(0, num_columns, COLUMNS_AT_ONCE))
    if num_columns > 1 and num_columns % COLUMNS_AT_ONCE == 1 and len(firsts) > 1:
        firsts.pop()
    return [slice(first, last) for first, last in zip(firsts, [*firsts[1:], num_columns], strict=True)]
