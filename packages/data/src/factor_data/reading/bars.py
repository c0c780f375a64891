"""Bars from any layout: as an iterator of tables in bounded memory, or as one panel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from factor_data.panel import Panel
from factor_data.reading.gather import gather_panel
from factor_data.reading.long import long_file
from factor_data.reading.sources import SUFFIXES, File, Paths, locate
from factor_data.reading.table import Table
from factor_data.reading.tabular import BarFile
from factor_data.reading.zones import OneZone


def iter_bar_tables(
    path_or_paths: Paths, layout: str = "auto", batch_rows: int = 1_000_000
) -> Iterator[Table]:
    """Yield checked tables of bars, file by file in order, at most ``batch_rows`` rows each.

    All files are looked at (headers only) before the first is read: they must have the same columns. Only the
    batch at hand is in memory. One zone holds for all tables. Whether a (symbol, timestamp) comes twice, or a
    symbol's bars go back in time, is not looked at here: ``read_bars`` does.
    """
    if layout not in ("auto", "long"):
        raise ValueError(f"layout must be 'auto' or 'long', got {layout!r}")
    if batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
    files = [long_file(file) for file in find_files(path_or_paths)]
    _check_same_columns(files)
    zone = OneZone()
    for file in files:
        yield from file.tables(zone, batch_rows)


def find_files(path_or_paths: Paths) -> list[File]:
    """Return the Parquet and CSV files of paths, the files of a folder sorted by name."""
    given = [path_or_paths] if not isinstance(path_or_paths, Sequence | list) else list(path_or_paths)
    if isinstance(path_or_paths, str):
        given = [path_or_paths]
    if not given:
        raise ValueError("no path given")
    files: list[File] = []
    for file in map(locate, given):
        if file.is_folder():
            found = file.files()
            if not found:
                raise ValueError(f"{file}: folder has no file ending in {' or '.join(SUFFIXES)}")
            files += found
        elif file.is_file():
            if file.suffix not in SUFFIXES:
                raise ValueError(f"{file}: file must end in {' or '.join(SUFFIXES)}")
            files.append(file)
        else:
            raise ValueError(f"{file}: no such file or folder")
    return files


def _check_same_columns(files: Sequence[BarFile]) -> None:
    expected = set(files[0].numbers)
    for file in files[1:]:
        different = sorted(expected ^ set(file.numbers))
        if different:
            raise ValueError(
                f"{file.path} and {files[0].path} do not have the same columns: {different[:3]} in one only"
            )


def read_bars(path_or_paths: Paths, layout: str = "auto") -> Panel:
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
    return gather_panel(iter_bar_tables(path_or_paths, layout))
