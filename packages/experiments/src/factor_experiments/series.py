"""The table of a forecast as series: per label dates, rank IC, spread, the floor beside it, what was scored."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

NEEDED = ("timestamp", "label", "overlap", "rank_ic")


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One forecast of one label, date by date; arrays are (num_dates,), NaN = undefined."""

    dates: NDArray[np.datetime64]
    """Dates in order, each once."""
    overlap: int
    """Dates over which the values of the label overlap."""
    rank_ic: NDArray[np.float64]
    spread: NDArray[np.float64] | None = None
    """Mean label of the top less that of the bottom quantile, before costs; None where it is not known."""
    floor: str | None = None
    """Name of the best floor; None where the table has none."""
    floor_rank_ic: NDArray[np.float64] | None = None
    """Rank IC of that floor on the same dates and symbols."""
    net_return: NDArray[np.float64] | None = None
    """Return after costs of the book on the date; None where the table has none."""
    equal_rank_ic: NDArray[np.float64] | None = None
    """Rank IC of a stack's models with equal weights; None of a model, or where the table has none."""
    symbols: NDArray[np.int64] | None = None
    """Digest of the symbols that a date scores; None where the table has none."""

    @property
    def iso(self) -> list[str]:
        """Return the dates as text, without the time of day where all are midnight."""
        days = self.dates.astype("datetime64[D]")
        unit = "D" if bool((days == self.dates).all()) else "s"
        return [str(date) for date in self.dates.astype(f"datetime64[{unit}]")]

    def on(self, dates: NDArray[np.datetime64]) -> NDArray[np.float64]:
        """Return the rank IC on other dates; NaN where this forecast has none."""
        return _reindexed(self.dates, self.rank_ic, dates)

    def floor_on(self, dates: NDArray[np.datetime64]) -> NDArray[np.float64] | None:
        """Return the floor's rank IC on other dates; None where there is no floor."""
        return None if self.floor_rank_ic is None else _reindexed(self.dates, self.floor_rank_ic, dates)

    def equal_on(self, dates: NDArray[np.datetime64]) -> NDArray[np.float64] | None:
        """Return the rank IC of equal weights on other dates; None where there is none."""
        return None if self.equal_rank_ic is None else _reindexed(self.dates, self.equal_rank_ic, dates)

    def net_on(self, dates: NDArray[np.datetime64]) -> NDArray[np.float64] | None:
        """Return the book's return after costs on other dates; None without a book."""
        known = self.net_return is not None and bool(np.isfinite(self.net_return).any())
        return _reindexed(self.dates, self.net_return, dates) if known and self.net_return is not None else None


def _reindexed(
    own: NDArray[np.datetime64], values: NDArray[np.float64], dates: NDArray[np.datetime64]
) -> NDArray[np.float64]:
    result = np.full(len(dates), np.nan)
    if not len(own):
        return result
    position = np.searchsorted(own, dates).clip(max=len(own) - 1)
    known = own[position] == dates
    result[known] = values[position[known]]
    return result


def read_series(content: bytes, name: str) -> dict[str, Series]:
    """Return the series of every label of a table in Parquet, in its order; `name` names it in errors.

    ValueError for a table that cannot be read, lacks a column, or has a date twice for a label.
    """
    try:
        frame = pq.read_table(io.BytesIO(content), page_checksum_verification=True).to_pandas()
    except MemoryError as error:  # Arrow's own is an ArrowException as well
        raise MemoryError(f"{name}: {error or 'no memory is left'}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{name}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    missing = [column for column in NEEDED if column not in frame]
    if missing:
        raise ValueError(f"{name}: has no column {', '.join(missing)}")
    return {str(label): _one(rows, f"{name}, label {label}") for label, rows in frame.groupby("label", sort=False)}


def _one(frame: pd.DataFrame, name: str) -> Series:
    frame = frame.sort_values("timestamp", kind="stable")
    dates = frame["timestamp"].to_numpy().astype("datetime64[ns]")
    twice = np.flatnonzero(dates[1:] == dates[:-1])
    if len(twice):
        raise ValueError(f"{name}: the date {dates[twice[0]]} is there twice")
    numbers = ("spread", "floor_rank_ic", "net_return", "equal_rank_ic")
    optional: Mapping[str, type] = {**dict.fromkeys(numbers, np.float64), "symbols": np.int64}
    found = {column: frame[column].to_numpy(kind) for column, kind in optional.items() if column in frame}
    floor = str(frame["floor"].iloc[0]) if "floor" in frame and len(frame) else None
    return Series(
        dates=dates,
        overlap=int(frame["overlap"].iloc[0]),
        rank_ic=frame["rank_ic"].to_numpy(np.float64),
        floor=floor,
        **found,
    )
