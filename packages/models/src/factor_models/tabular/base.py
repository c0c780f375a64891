"""Models on the features of the last bar alone: the protocol they share and the checks of their input."""

from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class TabularModel(Protocol):
    """Fitted in one call on rows of features; one forecast per horizon."""

    input_kind: ClassVar[str]
    """Always "last_bar": features (N, F), NaN = missing."""
    weights_file: ClassVar[str]
    """Name of the file `save_weights` writes."""

    def fit(
        self, x: np.ndarray, y: np.ndarray, x_valid: np.ndarray | None, y_valid: np.ndarray | None
    ) -> "TabularModel":
        """Fit on features (N, F) and targets (N, H); NaN targets are left out per horizon."""
        ...

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Forecasts (N, H) float32."""
        ...

    def save_weights(self, path: Path) -> None:
        """Write the fitted state to one file."""
        ...

    def load_weights(self, path: Path) -> None:
        """Read what `save_weights` wrote."""
        ...


def check_table(x: np.ndarray, num_features: int, name: str = "x") -> None:
    """Features are (N, num_features) and hold no infinite value."""
    if x.ndim != 2 or x.shape[1] != num_features:
        raise ValueError(f"{name} has shape {x.shape}: must be (num_rows, num_features={num_features})")
    num_infinite = int(np.isinf(x).sum())
    if num_infinite:
        raise ValueError(f"{name} holds {num_infinite} infinite values: must be finite or NaN")


def check_targets(y: np.ndarray, num_rows: int, num_horizons: int, name: str = "y") -> None:
    """Targets are (num_rows, num_horizons), with something to learn at each horizon."""
    if y.shape != (num_rows, num_horizons):
        raise ValueError(
            f"{name} has shape {y.shape}: must be (num_rows={num_rows}, num_horizons={num_horizons})"
        )
    for horizon in range(num_horizons):
        known = y[np.isfinite(y[:, horizon]), horizon]
        if len(known) == 0 or known.min() == known.max():
            state = "holds no finite value" if len(known) == 0 else f"is constant ({known[0]})"
            raise ValueError(f"{name}[:, {horizon}] {state}: nothing can be learnt from it")
