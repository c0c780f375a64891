"""The feature matrix: features of every row of a panel, side by side in one float32 array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.panel.panel import Panel


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
