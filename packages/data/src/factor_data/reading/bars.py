"""Bars of any layout: as an iterator of tables in bounded memory, or as one panel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

from factor_data.panel.panel import Panel
from factor_data.reading.config import DEFAULT_CONFIG, ReadConfig
from factor_data.reading.gather import gather_panel
from factor_data.reading.layouts import find_bars
from factor_data.reading.notes import Notes
from factor_data.reading.sources import Paths
from factor_data.reading.table import Table
from factor_data.reading.tabular import BarSource
from factor_data.reading.zones import OneZone


def iter_bar_tables(
    path_or_paths: Paths,
    layout: str = "auto",
    batch_rows: int = 1_000_000,
    config: ReadConfig = DEFAULT_CONFIG,
) -> Iterator[Table]:
    """Yield checked tables of bars, file by file in order, at most `batch_rows` rows each.

    The headers of all files are checked before the first row is read. Only the batch at hand is in memory, and of
    a file only the columns that are needed. One zone holds for all tables. Whether a (symbol, timestamp) comes
    twice, or a symbol's bars go back in time, is not looked at here: `read_bars` and `import_data` do.
    """
    if batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
    notes = Notes()
    sources = find_bars(path_or_paths, layout, config, notes)[1]
    notes.warn()
    yield from tables_of(sources, batch_rows)


def tables_of(sources: Sequence[BarSource], batch_rows: int) -> Iterator[Table]:
    """Yield the tables of sources under one zone, columns in the order of the first source.

    Files without rows, where a layout may have them, are named in one warning at the end.
    """
    zone = OneZone()
    names = ["timestamp", "symbol", *sources[0].columns]
    empty: list[str] = []
    for source in sources:
        num_rows = 0
        for table in source.tables(zone, batch_rows):
            num_rows += len(table.frame)
            same = list(table.frame.columns) == names
            yield table if same else replace(table, frame=table.frame[names])
        if not num_rows:
            empty.append(source.path)
    if len(empty) == len(sources):
        raise ValueError(f"{empty[0]}: holds no row" + (", nor does any other file" if len(empty) > 1 else ""))
    if empty:
        warnings.warn(
            f"{len(empty)} of {len(sources)} files have a header and no row, their symbols have no bars: "
            f"{', '.join(empty[:3])}{', ...' if len(empty) > 3 else ''}",
            stacklevel=2,
        )


def read_bars(path_or_paths: Paths, layout: str = "auto", config: ReadConfig = DEFAULT_CONFIG) -> Panel:
    """Read bars into a panel.

    Parameters
    ----------
    path_or_paths : a `.parquet` or `.csv` file, a folder (its files of these kinds, not its sub-folders),
        a folder with the tree of a layout, or a list of these. Local paths or fsspec URLs.
    layout : how the files hold bars; "auto" finds out from names and headers.
        "long": columns timestamp, symbol, open, high, low, close, volume, and any other numeric ones;
        "symbol": one file per symbol, the symbol in the file name;
        "kronos": as "symbol", with the columns timestamps, open, high, low, close, volume, amount;
        "day": one file per day with sid, factors and targets, the day in the file name;
        "csmd", "qlib", "acl18", "dataset": folders of price/, of qlib's binary format, of bars.parquet, of bars/
    config : ReadConfig, what some layouts must be told

    Every file has the same columns; every column beside timestamp and symbol is numeric; empty numbers are missing
    values. Timestamps are ISO 8601 text or a timestamp type. Where they carry a zone, all carry the same one; their
    wall clock is kept and the zone dropped. Open, high, low, close and volume that files per day lack are NaN.

    Raises
    ------
    ValueError for a path that does not exist or cannot be read, an unknown layout, a missing or non-numeric column,
    infinite numbers, whole numbers that float64 cannot hold, missing symbols or timestamps, mixed time zones,
    duplicate (symbol, timestamp) pairs, and for bars of one symbol that are not in time order within a file.
    UserWarning where files of symbols have a header and no row.
    """
    return gather_panel(iter_bar_tables(path_or_paths, layout, config=config))
