"""News documents of any layout that has news: timestamp, symbol, text; other columns are left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.reading.bar_texts import BarTexts
from factor_data.reading.config import DEFAULT_CONFIG, ReadConfig
from factor_data.reading.documents import NewsFile
from factor_data.reading.layouts import find_news
from factor_data.reading.notes import Notes
from factor_data.reading.sources import Paths
from factor_data.reading.table import Table
from factor_data.reading.zones import OneZone


def iter_news_tables(
    path_or_paths: Paths,
    layout: str = "auto",
    batch_rows: int = 1_000_000,
    config: ReadConfig = DEFAULT_CONFIG,
) -> Iterator[Table]:
    """Yield checked tables of documents, file by file in order, at most `batch_rows` rows each."""
    notes = Notes()
    sources = find_news(path_or_paths, layout, config, notes)
    notes.warn()
    if not sources:
        raise ValueError(f"{path_or_paths}: holds no news")
    yield from news_tables_of(sources, batch_rows)


def news_tables_of(sources: Sequence[NewsFile | BarTexts], batch_rows: int) -> Iterator[Table]:
    """Yield the tables of sources under one zone."""
    zone = OneZone()
    for source in sources:
        yield from source.tables(zone, batch_rows)


def read_news(path: Paths, calendar: NDArray[np.datetime64] | None = None, layout: str = "auto") -> pd.DataFrame:
    """Read news documents: columns timestamp, symbol, text; other columns are left out.

    As strict as `read_bars`, but documents may share a stamp and come in any order. Layouts with news: "long"
    (columns timestamp, symbol, text), "csmd" (news/<stock>/<day>.csv), "acl18" (news.parquet), "dataset" (news/).
    With `calendar` (the dates of a panel) it is an error if no document falls between its first and last date.

    Returns
    -------
    DataFrame(timestamp datetime64[ns], symbol, text), sorted by (timestamp, symbol), else in file order
    """
    news = pd.concat([table.frame for table in iter_news_tables(path, layout)], ignore_index=True)
    news = news.sort_values(["timestamp", "symbol"], kind="stable", ignore_index=True)
    if calendar is not None and len(calendar):
        stamps = news["timestamp"].to_numpy()
        if not np.any((stamps >= calendar[0]) & (stamps <= calendar[-1] + np.timedelta64(1, "D"))):
            raise ValueError(f"{path}: none of {len(news)} documents lies in {calendar[0]} .. {calendar[-1]}")
    return news
