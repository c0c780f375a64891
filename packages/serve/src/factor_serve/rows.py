"""What members read: some bars of some symbols with all that was computed from them, sorted as in a panel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from factor_data import DocumentVectors

KLINE = "kline_"


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows sorted by (symbol, date), as many bars of each symbol as the longest window needs, or more.

    Attributes
    ----------
    symbols : (num_symbols,) sorted
    dates : (num_dates,) datetime64[ns], sorted: the calendar up to the last date
    symbol_code, date_code : (num_rows,) positions in them
    in_universe : (num_rows,) whether cleaning left the bar in the universe
    inputs : (num_rows, num_inputs) float32, NaN = missing
    tokens : (num_rows, num_inputs) uint8, 0 = missing; None where no member reads tokens
    kline : adjusted open, high, low, close, volume and, if known, amount, (num_rows,) each; empty without K-line models
    documents : texts that each row knows; None where no member reads texts
    """

    symbols: NDArray[np.str_]
    dates: NDArray[np.datetime64]
    symbol_code: NDArray[np.integer]
    date_code: NDArray[np.integer]
    in_universe: NDArray[np.bool_]
    inputs: NDArray[np.float32] | None = None
    tokens: NDArray[np.uint8] | None = None
    kline: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    documents: DocumentVectors | None = None

    @property
    def num_rows(self) -> int:
        """Return the number of bars."""
        return len(self.symbol_code)

    def on(self, codes: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(num_rows,) True for the universe's rows on the dates of these codes."""
        return np.isin(self.date_code, codes) & self.in_universe


def load_rows(folder: Path, documents_per_bar: int) -> Rows:
    """Return rows that lie in a folder, an .npy per array: the canary of a bundle."""

    def read(name: str) -> NDArray | None:
        path = folder / f"{name}.npy"
        return np.load(path, allow_pickle=False) if path.is_file() else None

    def needed(name: str) -> NDArray:
        found = read(name)
        if found is None:
            raise ValueError(f"{folder / name}.npy: no such file")
        return found

    vectors = read("documents")
    kline = {path.stem.removeprefix(KLINE): np.load(path, allow_pickle=False) for path in folder.glob(f"{KLINE}*.npy")}
    return Rows(
        symbols=needed("symbols"),
        dates=needed("dates").astype("datetime64[ns]"),
        symbol_code=needed("symbol_code"),
        date_code=needed("date_code"),
        in_universe=needed("in_universe"),
        inputs=read("inputs"),
        tokens=read("tokens"),
        kline=kline,
        documents=None
        if vectors is None
        else DocumentVectors(vectors=vectors, bounds=needed("document_rows"), per_bar=documents_per_bar),
    )
