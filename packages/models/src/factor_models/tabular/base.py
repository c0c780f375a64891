"""Models on the features of the last bar alone: the table they read, the protocol they share, the checks of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

ROUNDING_UNITS = 64
"""What equal values may differ by, in units of the eps of their type."""
ROWS_AT_ONCE = 65_536
"""Rows that are worked on together where a copy of all would not fit: the sums of a fit depend on it."""


def row_chunks(num_rows: int) -> list[slice]:
    """Consecutive runs of rows that make up all of them."""
    return [slice(first, first + ROWS_AT_ONCE) for first in range(0, num_rows, ROWS_AT_ONCE)]


@dataclass(frozen=True, eq=False)
class SelectedRows:
    """Rows of a matrix that stays where it is, mapped from a file say: only what is read of them is copied.

    Attributes
    ----------
    matrix : (M, F)
    rows : (N,) places of the rows in `matrix`
    """

    matrix: np.ndarray
    rows: np.ndarray

    ndim: ClassVar[int] = 2

    @property
    def shape(self) -> tuple[int, int]:
        """Return (N, F)."""
        return len(self.rows), self.matrix.shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Copy rows, or columns of rows: `selected[rows]`, `selected[rows, columns]`."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        return np.asarray(self.matrix[self.rows[rows], columns])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("selected rows lie apart in their matrix: an array of them is a copy")
        return np.asarray(self[:], dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Rows to fit on, or to predict: one per symbol and date.

    Attributes
    ----------
    features : (N, F) float, NaN = missing; not infinite
    targets : (N, H) float, NaN = unknown: left out per horizon; None when predicting
    groups : (N,) integers, the date of a row; None: all rows are one date
    symbols : (N,) ids of a vocabulary, 0 = unknown; None: all unknown
    weights : (N,) weight of a row in the fit, finite and >= 0; None: all 1
    """

    features: np.ndarray | SelectedRows
    targets: np.ndarray | None = None
    groups: np.ndarray | None = None
    symbols: np.ndarray | None = None
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 2:
            raise ValueError(f"features have shape {self.features.shape}: must be (num_rows, num_features)")
        num_infinite = sum(int(np.isinf(self.features[rows]).sum()) for rows in row_chunks(len(self.features)))
        if num_infinite:
            raise ValueError(f"features hold {num_infinite} infinite values: must be finite or NaN")
        num_rows = len(self.features)
        if self.targets is not None and (self.targets.ndim != 2 or len(self.targets) != num_rows):
            raise ValueError(f"targets have shape {self.targets.shape}: must be (num_rows={num_rows}, num_horizons)")
        for name in ("groups", "symbols", "weights"):
            values = getattr(self, name)
            if values is not None and values.shape != (num_rows,):
                raise ValueError(f"{name} have shape {values.shape}: must be (num_rows={num_rows},)")
        if self.weights is not None and not (np.isfinite(self.weights) & (self.weights >= 0)).all():
            raise ValueError("weights hold a negative or not finite value: must be finite and >= 0")

    def __len__(self) -> int:
        return len(self.features)


@runtime_checkable
class TabularModel(Protocol):
    """Fitted in one call on rows of features; one forecast per horizon."""

    input_kind: ClassVar[str]
    """Always "last_bar": features (N, F), NaN = missing."""
    weights_file: ClassVar[str]
    """Name of the file `save_weights` writes."""

    @property
    def num_parameters(self) -> int:
        """Fitted numbers: weights and intercepts, or values of leaves."""
        ...

    def fit(self, train: Table, valid: Table | None = None) -> TabularModel:
        """Fit on a table with targets; `valid` decides when to stop, where the model grows step by step."""
        ...

    def predict(self, table: Table) -> np.ndarray:
        """Forecasts (N, H) float32; log odds where the targets of the fit were 0 and 1."""
        ...

    def save_weights(self, path: Path) -> None:
        """Write the fitted state to one file."""
        ...

    def load_weights(self, path: Path) -> None:
        """Read what `save_weights` wrote."""
        ...


def check_features(table: Table, num_features: int, name: str = "table") -> None:
    """The table has the columns the model was built for."""
    if table.features.shape[1] != num_features:
        raise ValueError(
            f"{name}.features have shape {table.features.shape}: must be (num_rows, num_features={num_features})"
        )


def is_constant(values: np.ndarray) -> bool:
    """Whether finite values differ by no more than rounding: 64 eps of their type times their largest size.

    The rule of `factor_metrics.dispersion`, which this package may not import; a test holds the two together.
    """
    info = np.finfo(values.dtype)
    low, high = float(values.min()), float(values.max())
    return high - low <= ROUNDING_UNITS * float(info.eps) * max(abs(low), abs(high)) + float(info.tiny)


def check_targets(table: Table, num_horizons: int, name: str = "train") -> np.ndarray:
    """The targets (N, num_horizons), with something to learn at each horizon."""
    if table.targets is None:
        raise ValueError(f"{name}.targets are None: a fit needs them")
    if table.targets.shape[1] != num_horizons:
        raise ValueError(
            f"{name}.targets have shape {table.targets.shape}: must be (num_rows, num_horizons={num_horizons})"
        )
    for horizon in range(num_horizons):
        known = table.targets[np.isfinite(table.targets[:, horizon]), horizon]
        if len(known) == 0 or is_constant(known):
            state = "hold no finite value" if len(known) == 0 else f"are constant ({known[0]})"
            raise ValueError(f"{name}.targets[:, {horizon}] {state}: nothing can be learnt from them")
    return table.targets
