"""Read bars and news from Parquet or CSV, strictly: what is doubtful is refused with file, row, column and
rule.

Data rows are counted from 1 (a CSV header is not counted). Timestamps are ISO 8601 text or a timestamp type;
where all of them carry one and the same time zone the wall clock of that zone is kept and the zone dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.panel import REQUIRED_COLUMNS, Panel
from factor_data.tables import Table, offenders, read_table

Paths = str | Path | Sequence[str | Path]
SUFFIXES = (".parquet", ".csv")


def read_bars(path_or_paths: Paths) -> Panel:
    """Read bars into a panel.

    Parameters
    ----------
    path_or_paths : a ``.parquet`` or ``.csv`` file, a folder (its files of these kinds, not its sub-folders),
        or a list of files and folders. Needed columns: timestamp, symbol, open, high, low, close, volume.
        Every other column must be numeric and in every file. Empty numbers are missing values.

    Raises
    ------
    ValueError for a path that does not exist or cannot be read, a missing or non-numeric column, infinite
    numbers, missing symbols or timestamps, mixed time zones, duplicate (symbol, timestamp) pairs, and for
    bars of one symbol that are not in time order within a file
    """
    tables = [_read_bar_file(path) for path in _files(path_or_paths)]
    _check_one_zone(tables)
    _check_same_columns(tables)
    _check_duplicates(tables)
    return Panel.from_frame(pd.concat([table.frame for table in tables], ignore_index=True))


def iter_bar_tables(path_or_paths: Paths, layout: str = "auto", batch_rows: int = 1_000_000):
    for path in _files(path_or_paths):
        yield _read_bar_file(path)


def read_news(path: Paths, calendar: NDArray[np.datetime64] | None = None) -> pd.DataFrame:
    """Read news documents: columns timestamp, symbol, text; other columns are left out.

    As strict as ``read_bars``, but documents may share a stamp and come in any order. With ``calendar`` (the
    dates of a panel) it is an error if no document falls between its first and last date.

    Returns
    -------
    DataFrame(timestamp datetime64[ns], symbol, text), sorted by (timestamp, symbol), else in file order
    """
    tables = [
        read_table(file, text_columns=("text",), required=("timestamp", "symbol", "text"))
        for file in _files(path)
    ]
    _check_one_zone(tables)
    for table in tables:
        missing = table.frame["text"].isna().to_numpy()
        if missing.any():
            raise ValueError(f"{table.path}: text is missing in {offenders(missing)}")
    news = pd.concat([table.frame[["timestamp", "symbol", "text"]] for table in tables], ignore_index=True)
    news = news.sort_values(["timestamp", "symbol"], kind="stable", ignore_index=True)
    if calendar is not None and len(calendar):
        stamps = news["timestamp"].to_numpy()
        if not np.any((stamps >= calendar[0]) & (stamps <= calendar[-1] + np.timedelta64(1, "D"))):
            raise ValueError(f"{path}: none of {len(news)} documents lies in {calendar[0]} .. {calendar[-1]}")
    return news


def _files(path_or_paths: Paths) -> list[Path]:
    given = [path_or_paths] if isinstance(path_or_paths, str | Path) else list(path_or_paths)
    if not given:
        raise ValueError("no path given")
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
            if not found:
                raise ValueError(f"{path}: folder has no file ending in {' or '.join(SUFFIXES)}")
            files += found
        elif path.is_file():
            if path.suffix not in SUFFIXES:
                raise ValueError(f"{path}: file must end in {' or '.join(SUFFIXES)}")
            files.append(path)
        else:
            raise ValueError(f"{path}: no such file or folder")
    return files


def _read_bar_file(path: Path) -> Table:
    table = read_table(path, required=("timestamp", "symbol", *REQUIRED_COLUMNS))
    for name in table.frame.columns.drop(["timestamp", "symbol"]):
        infinite = np.isinf(table.frame[name].to_numpy())
        if infinite.any():
            raise ValueError(
                f"{path}: column {name!r} is infinite in {offenders(infinite)}; numbers must be finite"
            )
    return table


def _check_one_zone(tables: Sequence[Table]) -> None:
    zones = {table.zone: table.path for table in tables}
    if len(zones) > 1:
        (first, file), (second, other) = list(zones.items())[:2]
        raise ValueError(
            f"time zones differ between files: {file} has {first or 'none'}, {other} has {second or 'none'}; "
            "all timestamps must share one zone, or have none"
        )


def _check_same_columns(tables: Sequence[Table]) -> None:
    expected = set(tables[0].frame.columns)
    for table in tables[1:]:
        different = sorted(expected ^ set(table.frame.columns))
        if different:
            raise ValueError(
                f"{table.path} and {tables[0].path} do not have the same columns: {different[:3]} in one only"
            )


@dataclass(frozen=True)
class _Keys:
    """Every row of every file: which file, which row, and the (symbol, timestamp) it holds."""

    file: NDArray[np.int64]
    row: NDArray[np.int64]
    symbol: NDArray[np.int64]
    time: NDArray[np.int64]


def _check_duplicates(tables: Sequence[Table]) -> None:
    """Refuse repeated (symbol, timestamp) pairs, then bars that step back in time within a file."""
    sizes = [len(table.frame) for table in tables]
    keys = _Keys(
        file=np.repeat(np.arange(len(tables)), sizes),
        row=np.concatenate([np.arange(1, size + 1) for size in sizes]),
        symbol=pd.factorize(np.concatenate([t.frame["symbol"].to_numpy(dtype=object) for t in tables]))[0],
        time=np.concatenate([table.frame["timestamp"].to_numpy().astype(np.int64) for table in tables]),
    )
    order = np.lexsort((keys.time, keys.symbol))
    symbol, time = keys.symbol[order], keys.time[order]
    repeated = np.flatnonzero((symbol[1:] == symbol[:-1]) & (time[1:] == time[:-1]))
    if len(repeated):
        pairs = [_describe_pair(tables, keys, order[at], order[at + 1]) for at in repeated[:3]]
        raise ValueError(f"{len(repeated)} duplicate (symbol, timestamp): " + "; ".join(pairs))
    order = np.lexsort((keys.row, keys.symbol, keys.file))
    same = (np.diff(keys.symbol[order]) == 0) & (np.diff(keys.file[order]) == 0)
    back = np.flatnonzero(same & (np.diff(keys.time[order]) < 0))
    if len(back):
        pairs = [_describe_pair(tables, keys, order[at], order[at + 1]) for at in back[:3]]
        raise ValueError(
            f"unsorted: {len(back)} bars are earlier than the bar of their symbol before them: "
            + "; ".join(pairs)
        )


def _describe_pair(tables: Sequence[Table], keys: _Keys, first: int, second: int) -> str:
    one, other = tables[keys.file[first]], tables[keys.file[second]]
    row = other.frame.iloc[keys.row[second] - 1]
    return (
        f"{row['symbol']} at {row['timestamp']} ({one.path} row {keys.row[first]} and {other.path} "
        f"row {keys.row[second]})"
    )
