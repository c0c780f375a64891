"""Ridge regression on the features of the last bar, closed form, one solution per horizon.

Source: Hoerl & Kennard (1970), "Ridge Regression". With columns standardised on the training rows, w = (X'X +
alpha I)^-1 X'(y - mean y); the intercept is not penalised. Sums in float64, by one thread: those that are shared among
threads round differently, and weights would depend on the number of cores. How much to shrink depends on how little
of the target can be known, so it may be chosen on the valid rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from safetensors.numpy import load_file, save

from factor_models.checks import check_at_least
from factor_models.tabular.base import SelectedRows, Table, check_features, check_targets, row_chunks
from factor_models.whole_file import write_bytes

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

COLUMNS_AT_ONCE = 16
ALPHAS = (1e1, 1e2, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6)
"""What alpha: auto chooses from."""


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """Strength of the penalty."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    alpha: float | Literal["auto"] = 100.0
    """Penalty on squared weights, in units of rows of standardised features; auto: per horizon the one of 10 to 1e6
    whose forecasts have the highest mean correlation with the targets of a date, over the valid dates."""

    def __post_init__(self) -> None:
        if isinstance(self.alpha, str):
            if self.alpha != "auto":
                raise ValueError(f"alpha = {self.alpha!r}: must be a number >= 0 or auto")
        else:
            check_at_least(self, {"alpha": 0.0})


class RidgeRegressor:
    """Linear forecast; a missing feature counts as the training mean (0 after standardisation).

    Attributes
    ----------
    num_missing : missing entries of the features seen by `fit`
    alphas : (num_horizons,) penalty of each horizon
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
        self.alphas = np.zeros(num_horizons)

    @property
    def num_parameters(self) -> int:
        """Weights and intercepts."""
        return (self.num_features + 1) * self.num_horizons

    def fit(self, train: Table, valid: Table | None = None) -> RidgeRegressor:
        """Fit on a table with targets; valid rows choose the penalty where alpha is auto, else they are not used.

        A weight of 2 equals the row given twice; it has no part in the choice.

        Where the targets are 0 and 1 the fitted chance p becomes log odds by their tangent at 1/2, 4 (p - 1/2): the
        same order, positive where an up is more likely.
        """
        check_features(train, self.num_features, "train")
        x, y = train.features, check_targets(train, self.num_horizons)
        if self.config.alpha == "auto":
            if valid is None:
                raise ValueError("alpha = 'auto': the penalty is chosen on valid rows, none are given; give a number")
            check_features(valid, self.num_features, "valid")
            check_targets(valid, self.num_horizons, "valid")
        with _algebra().limit(limits=1):
            self._fit_columns(x, y, train.weights, valid)
        return self

    def _fit_columns(
        self, x: np.ndarray | SelectedRows, y: np.ndarray, weights: np.ndarray | None, valid: Table | None
    ) -> None:
        self._fit_scale(x, weights)
        self.weights = np.empty((self.num_features, self.num_horizons))
        for horizon in range(self.num_horizons):
            known = np.flatnonzero(np.isfinite(y[:, horizon]))
            row_weights = None if weights is None else weights[known].astype(np.float64)
            self._fit_horizon(horizon, x, known, y[known, horizon].astype(np.float64), row_weights, valid)
            if np.isin(y[known, horizon], (0.0, 1.0)).all():
                self.weights[:, horizon] *= 4.0
                self.intercept[horizon] = 4.0 * (self.intercept[horizon] - 0.5)

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
            "alphas": self.alphas,
        }
        write_bytes(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

    def load_weights(self, path: Path) -> None:
        """Read what `save_weights` wrote; ValueError naming the file and what another version did not write."""
        arrays = load_file(path)
        if missing := {"center", "scale", "weights", "intercept"} - arrays.keys():
            raise ValueError(f"{path}: no {', '.join(sorted(missing))}: written by another version of factor_models")
        expected = (self.num_features, self.num_horizons)
        if arrays["weights"].shape != expected:
            raise ValueError(f"{path}: weights have shape {arrays['weights'].shape}, the configuration says {expected}")
        self.center, self.scale = arrays["center"], arrays["scale"]
        self.weights, self.intercept = arrays["weights"], arrays["intercept"]
        given = np.nan if isinstance(self.config.alpha, str) else self.config.alpha
        self.alphas = arrays.get("alphas", np.full(self.num_horizons, given))  # files of before have none

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
        valid: Table | None,
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
        centred_moment = moment - mass * mean_z * mean_y
        alphas = ALPHAS if isinstance(self.config.alpha, str) else (self.config.alpha,)
        solutions = np.stack([_solve(gram, centred_moment, alpha) for alpha in alphas], axis=1)
        best = 0
        if len(alphas) > 1:
            assert valid is not None
            best = self._best_on(valid, horizon, solutions)
        self.alphas[horizon] = alphas[best]
        self.weights[:, horizon] = solutions[:, best]
        self.intercept[horizon] = mean_y - mean_z @ solutions[:, best]

    def _best_on(self, valid: Table, horizon: int, solutions: np.ndarray) -> int:
        """Place of the solution (F, num_solutions) with the highest mean correlation over the dates of the valid rows.

        A date on which forecasts or targets are constant counts 0; of equals the last one, the most shrunk, is taken.
        """
        assert valid.targets is not None
        rows = np.flatnonzero(np.isfinite(valid.targets[:, horizon]))
        target = valid.targets[rows, horizon].astype(np.float64)
        date = (
            np.zeros(len(rows), np.int64)
            if valid.groups is None
            else np.unique(valid.groups[rows], return_inverse=True)[1]
        )
        forecasts = np.concatenate(
            [self._standardise(valid.features[rows[part]]) @ solutions for part in row_chunks(len(rows))]
        )
        scores = [_mean_correlation(forecast, target, date) for forecast in forecasts.T]
        return len(scores) - 1 - int(np.argmax(scores[::-1]))

    def _standardise(self, x: np.ndarray) -> np.ndarray:
        z = x.astype(np.float64)
        z -= self.center
        z /= self.scale
        return np.nan_to_num(z, copy=False, nan=0.0)


@lru_cache(maxsize=1)
def _algebra() -> ThreadpoolController:
    """The threads of the linear algebra of numpy and scipy, which brings its own; looked for once."""
    from scipy import linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _solve(gram: np.ndarray, moment: np.ndarray, alpha: float) -> np.ndarray:
    """Solve (gram + alpha I) w = moment; of a singular system, alpha 0 and dependent features, with the least norm."""
    from scipy import linalg  # a tenth of a second, which who reads settings alone need not spend

    penalised = gram.copy()
    penalised[np.diag_indices_from(penalised)] += alpha
    return linalg.lstsq(penalised, moment, lapack_driver="gelsd")[0]


def _mean_correlation(x: np.ndarray, y: np.ndarray, date: np.ndarray) -> float:
    """Mean over dates of the correlation of x and y (num_rows,); 0 on a date where either is constant."""
    count = np.bincount(date)
    x, y = (values - (np.bincount(date, values) / count)[date] for values in (x, y))
    scale = np.sqrt(np.bincount(date, x * x) * np.bincount(date, y * y))
    return float(np.mean(np.divide(np.bincount(date, x * y), scale, out=np.zeros(len(count)), where=scale > 0)))


def _sum_of_rows(values: np.ndarray, row_weights: np.ndarray | None) -> np.ndarray:
    weighted = values if row_weights is None else values * row_weights[:, None]
    return weighted.sum(axis=0, dtype=np.float64)


def _column_blocks(num_columns: int) -> list[slice]:
    """Blocks of columns; none of one column beside others, since numpy adds up a single column in another order."""
    firsts = list(range(0, num_columns, COLUMNS_AT_ONCE))
    if num_columns > 1 and num_columns % COLUMNS_AT_ONCE == 1 and len(firsts) > 1:
        firsts.pop()
    return [slice(first, last) for first, last in zip(firsts, [*firsts[1:], num_columns], strict=True)]
