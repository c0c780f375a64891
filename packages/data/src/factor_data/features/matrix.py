"""The feature matrix: features of every row of a panel, side by side in one float32 array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.inline import MOST_ROWS, inline_html, inline_table
from factor_data.panel.frames import arrow_columns
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

    def __repr__(self) -> str:
        names = ", ".join(self.names[:8]) + (f" and {len(self.names) - 8} more" if len(self.names) > 8 else "")
        return f"FeatureMatrix({self.panel.num_rows:,} rows, {len(self.names):,} features: {names})"

    def _repr_html_(self) -> str:
        rows = []
        for place, name in enumerate(self.names[:MOST_ROWS]):
            values = self.values[:, place]
            known = values[~np.isnan(values)].astype(np.float64)
            share = f"{1 - len(known) / len(values):.2%}" if len(values) else "-"
            rows.append([name, share, *((float(known.mean()), float(known.std())) if len(known) else (None, None))])
        facts = {
            "rows": self.panel.num_rows,
            "features": len(self.names),
            "symbols": self.panel.num_symbols,
            "dates": self.panel.num_dates,
        }
        more = len(self.names) - len(rows)
        said = f"<div>and {more:,} more features</div>" if more else ""
        table = inline_table(["feature", "missing", "mean", "deviation"], rows)
        return inline_html("FeatureMatrix", facts, table, said)

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

    def to_arrow(self) -> Any:
        """Return the long table as pyarrow's: timestamp, symbol (a dictionary), then the features, NaN as null."""
        columns = {name: self.values[:, place] for place, name in enumerate(self.names)}
        return arrow_columns(columns, self.panel.symbol_code, self.panel.symbols, self.panel.timestamp)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_stream__(requested_schema)
