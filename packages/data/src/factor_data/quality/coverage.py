"""Which bars there are: counts of symbols, dates and values, and the heat map of missing bars. All of it adds up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data.bar_columns import UNIVERSE
from factor_data.panel.panel import Panel

MAX_CELLS = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """Counts of the bars read and the bars left, such that the sum over parts is that of the whole.

    Attributes
    ----------
    dates : (num_dates,) datetime64[ns], the calendar
    bars_per_date : (num_dates,) int64, bars left
    bars_read, bars_in_universe : int
    symbols_read, symbols_left : int, symbols with at least one bar
    missing_values : column -> (bars read without a value, bars left without a value)
    groups, buckets : first symbol of each row and first date of each column of the heat map
    expected : (num_groups, num_buckets) int64, dates of a symbol from its first to its last bar read
    missing : (num_groups, num_buckets) int64, how many of them have no bar left
    """

    dates: NDArray[np.datetime64]
    bars_per_date: NDArray[np.int64]
    bars_read: int
    bars_in_universe: int
    symbols_read: int
    symbols_left: int
    missing_values: dict[str, tuple[int, int]]
    groups: tuple[str, ...]
    buckets: tuple[str, ...]
    expected: NDArray[np.int64]
    missing: NDArray[np.int64]

    @classmethod
    def of(cls, before: Panel, after: Panel) -> Coverage:
        """Count the bars of a panel before and after cleaning; both have the same symbols and dates."""
        num_groups = min(before.num_symbols, MAX_CELLS)
        num_buckets = min(before.num_dates, MAX_CELLS)
        expected = _expected(before, num_groups, num_buckets)
        return cls(
            dates=before.dates,
            bars_per_date=np.bincount(after.date_code, minlength=before.num_dates),
            bars_read=before.num_rows,
            bars_in_universe=int((after.columns[UNIVERSE] > 0).sum()),
            symbols_read=num_occupied_symbols(before),
            symbols_left=num_occupied_symbols(after),
            missing_values={
                name: (int(np.isnan(values).sum()), int(np.isnan(after.columns[name]).sum()))
                for name, values in before.columns.items()
            },
            groups=tuple(str(name) for name in before.symbols[_first(before.num_symbols, num_groups)]),
            buckets=tuple(stamp(date) for date in before.dates[_first(before.num_dates, num_buckets)]),
            expected=expected,
            missing=expected - _present(after, num_groups, num_buckets),
        )

    @classmethod
    def merge(cls, parts: Sequence[Coverage]) -> Coverage:
        """Add the counts of parts that have different symbols' bars and the same symbols and dates."""
        head = parts[0]
        for part in parts[1:]:
            if part.groups != head.groups or not np.array_equal(part.dates, head.dates):
                raise ValueError("parts of a report must be made with the same symbols and dates")
            if list(part.missing_values) != list(head.missing_values):
                raise ValueError(
                    f"parts of a report must have the same columns, got {list(head.missing_values)} "
                    f"and {list(part.missing_values)}"
                )
        return cls(
            dates=head.dates,
            bars_per_date=np.sum([part.bars_per_date for part in parts], axis=0),
            bars_read=sum(part.bars_read for part in parts),
            bars_in_universe=sum(part.bars_in_universe for part in parts),
            symbols_read=sum(part.symbols_read for part in parts),
            symbols_left=sum(part.symbols_left for part in parts),
            missing_values={
                name: (
                    sum(part.missing_values[name][0] for part in parts),
                    sum(part.missing_values[name][1] for part in parts),
                )
                for name in head.missing_values
            },
            groups=head.groups,
            buckets=head.buckets,
            expected=np.sum([part.expected for part in parts], axis=0),
            missing=np.sum([part.missing for part in parts], axis=0),
        )

    def summary(self) -> dict[str, int | str]:
        """Return the figures at the head of the report."""
        occupied = self.dates[self.bars_per_date > 0]
        return {
            "bars_in": self.bars_read,
            "bars_out": int(self.bars_per_date.sum()),
            "bars_in_universe": self.bars_in_universe,
            "symbols_in": self.symbols_read,
            "symbols_out": self.symbols_left,
            "dates": len(occupied),
            "first_date": stamp(occupied[0]) if len(occupied) else "",
            "last_date": stamp(occupied[-1]) if len(occupied) else "",
        }

    def heat_map(self) -> dict[str, Any]:
        """Return the heat map as plain data: first symbol of each row, first date of each column, counts."""
        return {
            "symbols": list(self.groups),
            "dates": list(self.buckets),
            "expected": self.expected.tolist(),
            "missing": self.missing.tolist(),
        }


def stamp(date: np.datetime64) -> str:
    """ISO text to the second, or to the nanosecond where there are any; sorts as time does."""
    second = date.astype("datetime64[s]")
    return str(second if second == date else date)


def _first(length: int, num_parts: int) -> NDArray[np.int64]:
    """(num_parts,) first position of each part when `length` positions are parted as evenly as possible."""
    return -(-np.arange(num_parts) * length // max(num_parts, 1))


def _part(code: NDArray[np.integer], length: int, num_parts: int) -> NDArray[np.int64]:
    return code.astype(np.int64) * num_parts // max(length, 1)


def num_occupied_symbols(panel: Panel) -> int:
    """Return how many symbols have a bar."""
    return int(np.count_nonzero(np.diff(panel.starts)))


def _expected(panel: Panel, num_groups: int, num_buckets: int) -> NDArray[np.int64]:
    starts = panel.starts
    symbols = np.flatnonzero(np.diff(starts))
    first = panel.date_code[starts[symbols]].astype(np.int64)
    end = panel.date_code[starts[symbols + 1] - 1].astype(np.int64) + 1
    edges = np.r_[_first(panel.num_dates, num_buckets), panel.num_dates]
    overlap = np.minimum(end[:, None], edges[1:]) - np.maximum(first[:, None], edges[:-1])
    expected = np.zeros((num_groups, num_buckets), dtype=np.int64)
    np.add.at(expected, _part(symbols, panel.num_symbols, num_groups), np.maximum(overlap, 0))
    return expected


def _present(panel: Panel, num_groups: int, num_buckets: int) -> NDArray[np.int64]:
    cell = _part(panel.symbol_code, panel.num_symbols, num_groups) * num_buckets
    cell += _part(panel.date_code, panel.num_dates, num_buckets)
    return np.bincount(cell, minlength=num_groups * num_buckets).reshape(num_groups, num_buckets)
