"""Layout "long": one row per (timestamp, symbol).

Files have the columns timestamp, symbol, open, high, low, close, volume. Every other column must be numeric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factor_data.panel.panel import REQUIRED_COLUMNS
from factor_data.reading.config import ReadConfig
from factor_data.reading.place import Place
from factor_data.reading.stamps import Stamps, parse_stamps
from factor_data.reading.table import to_symbols
from factor_data.reading.tabular import BarFile, Header

KEY = ("timestamp", "symbol")


@dataclass(frozen=True, kw_only=True)
class LongFile(BarFile):
    """Stamps and symbols in columns of these names."""

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Return the columns that identify a bar."""
        return KEY

    def stamps(self, place: Place, rows: pa.Table) -> Stamps:
        """Return the times of the rows."""
        return parse_stamps(place, rows["timestamp"], "timestamp")

    def symbols(self, place: Place, rows: pa.Table) -> NDArray[np.object_]:
        """Return the symbols of the rows."""
        return to_symbols(place, rows["symbol"], "symbol")


def long_bars(headers: Sequence[Header], config: ReadConfig) -> list[LongFile]:
    """The files in the order given; a file that lacks a column is refused."""
    for header in headers:
        header.require(*KEY, *REQUIRED_COLUMNS)
    return [
        LongFile(file=header.file, numbers={name: name for name in header.names if name not in KEY})
        for header in headers
    ]
