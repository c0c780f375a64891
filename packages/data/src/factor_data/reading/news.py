"""News documents: columns timestamp, symbol, text; other columns are left out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.reading.bars import find_files
from factor_data.reading.place import Place
from factor_data.reading.raw import column_names, read_batches
from factor_data.reading.sources import File, Paths
from factor_data.reading.stamps import parse_stamps
from factor_data.reading.table import Table, to_symbols, to_text
from factor_data.reading.zones import OneZone

NEWS_COLUMNS = ("timestamp", "symbol", "text")


def iter_news_tables(path_or_paths: Paths, batch_rows: int = 1_000_000) -> Iterator[Table]:
    """Yield checked tables of documents, file by file in order."""
    files = find_files(path_or_paths)
    for file in files:
        found = column_names(file)
        missing = [name for name in NEWS_COLUMNS if name not in found]
        if missing:
            raise ValueError(
                f"{file}: column {missing[0]!r} is missing; needed are {list(NEWS_COLUMNS)}, found {found}"
            )
    zone = OneZone()
    for file in files:
        yield from _tables(file, zone, batch_rows)


def _tables(file: File, zone: OneZone, batch_rows: int) -> Iterator[Table]:
    num_rows = 0
    for raw in read_batches(file, NEWS_COLUMNS, batch_rows):
        place = Place(file.path, raw.first_row)
        stamps = parse_stamps(place, raw.rows["timestamp"], "timestamp")
        frame = pd.DataFrame(
            {
                "timestamp": stamps.values,
                "symbol": pd.Series(to_symbols(place, raw.rows["symbol"], "symbol"), dtype=object),
                "text": pd.Series(to_text(place, raw.rows["text"], "text"), dtype=object),
            }
        )
        num_rows += len(frame)
        yield Table(file.path, frame, zone.add(place, stamps), raw.first_row)
    if not num_rows:
        raise ValueError(f"{file}: holds no row")


def read_news(path: Paths, calendar: NDArray[np.datetime64] | None = None) -> pd.DataFrame:
    """Read news documents: columns timestamp, symbol, text; other columns are left out.

    As strict as ``read_bars``, but documents may share a stamp and come in any order. With ``calendar`` (the
    dates of a panel) it is an error if no document falls between its first and last date.

    Returns
    -------
    DataFrame(timestamp datetime64[ns], symbol, text), sorted by (timestamp, symbol), else in file order
    """
    news = pd.concat([table.frame for table in iter_news_tables(path)], ignore_index=True)
    news = news.sort_values(["timestamp", "symbol"], kind="stable", ignore_index=True)
    if calendar is not None and len(calendar):
        stamps = news["timestamp"].to_numpy()
        if not np.any((stamps >= calendar[0]) & (stamps <= calendar[-1] + np.timedelta64(1, "D"))):
            raise ValueError(f"{path}: none of {len(news)} documents lies in {calendar[0]} .. {calendar[-1]}")
    return news
