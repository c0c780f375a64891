"""The feature matrix: features of every row of a panel, side by side in one float32 array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.features.table import FEATURES
from factor_data.panel import Panel


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMatrix:
    """Features of the rows of a panel, in the panel's row order.

    Attributes
    ----------
    values : (num_rows, num_features) float32, C order, NaN = missing
    names : num_features column names
    panel : the panel the rows belong to
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    panel: Panel

    def __post_init__(self) -> None:
        if self.values.shape != (self.panel.num_rows, len(self.names)):
            raise ValueError(
                f"values must have shape ({self.panel.num_rows}, {len(self.names)}), got {self.values.shape}"
            )

    @property
    def timestamp(self) -> NDArray[np.datetime64]:
        """(num_rows,) datetime64[ns]."""
        return self.panel.timestamp

    @property
    def symbol(self) -> NDArray[np.str_]:
        """(num_rows,) symbol names."""
        return self.panel.symbol

    @property
    def index(self) -> pd.MultiIndex:
        """MultiIndex (timestamp, symbol) of the rows, in row order."""
        return pd.MultiIndex.from_arrays([self.timestamp, self.symbol], names=["timestamp", "symbol"])

    def column(self, name: str) -> NDArray[np.float32]:
        """(num_rows,) view of one feature."""
        if name not in self.names:
            raise ValueError(f"no feature {name!r}; there are {list(self.names)}")
        return self.values[:, self.names.index(name)]

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame with one column per feature, indexed by (timestamp, symbol)."""
        return pd.DataFrame(self.values, index=self.index, columns=list(self.names))


def available_features() -> tuple[str, ...]:
    """Return the names ``compute_features`` knows, in their order."""
    return tuple(FEATURES)


def compute_features(panel: Panel, names: Sequence[str] | None = None) -> FeatureMatrix:
    """Compute features by name, all of them by default.

    A value that is not finite (a division by zero in uncleaned bars) is missing: NaN.

    Raises
    ------
    ValueError naming the unknown or repeated features
    """
    chosen = tuple(FEATURES if names is None else names)
    unknown = [name for name in chosen if name not in FEATURES]
    if unknown:
        raise ValueError(f"unknown features {unknown}; available are {list(FEATURES)}")
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"features repeat: {sorted({n for n in chosen if chosen.count(n) > 1})}")
    values = np.empty((panel.num_rows, len(chosen)), dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for column, name in enumerate(chosen):
            values[:, column] = FEATURES[name](panel)
    values[~np.isfinite(values)] = np.nan
    return FeatureMatrix(values=values, names=chosen, panel=panel)
