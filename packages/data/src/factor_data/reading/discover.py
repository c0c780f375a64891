"""Everything an import finds under one path: bars, news, and what is neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from factor_data.reading.config import ReadConfig
from factor_data.reading.documents import NewsFile
from factor_data.reading.layouts import (
    FILE_LAYOUTS,
    FOLDER_LAYOUTS,
    check_same_columns,
    file_layout,
    folder_layout,
    kind_of,
    locate_all,
    long_news,
    read_headers,
    refuse_other_bars,
)
from factor_data.reading.sources import File, PathLike
from factor_data.reading.tabular import BarSource, Header


@dataclass(frozen=True)
class Found:
    """The sources of a path under one layout; `left_out` are the tables that are neither bars nor news."""

    layout: str
    bars: Sequence[BarSource]
    news: Sequence[NewsFile]
    left_out: tuple[str, ...]


def find_all(path: PathLike, layout: str, config: ReadConfig) -> Found:
    """Return what lies under a path, headers checked.

    Files that have bars or news must be whole: a table with timestamp or symbol that lacks another column is refused.
    """
    root = locate_all([path])[0]
    name = folder_layout([root], layout)
    if name is not None:
        bars: Sequence[BarSource] = FOLDER_LAYOUTS[name].bars(root, config)
        news: Sequence[NewsFile] = FOLDER_LAYOUTS[name].news(root)
        if layout == "auto":
            refuse_other_bars(root, name)
        used = {source.path for source in bars} | {source.path for source in news}
        left_out = tuple(file.path for file in root.files() if file.path not in used)
    else:
        name, bars, news, left_out = _files(root, layout, config)
    check_same_columns(bars)
    return Found(name, bars, news, left_out)


def _files(
    root: File, layout: str, config: ReadConfig
) -> tuple[str, Sequence[BarSource], Sequence[NewsFile], tuple[str, ...]]:
    headers = read_headers([root])
    kinds = {header.file.path: kind_of(header) for header in headers}
    if layout == "auto":
        strangers = [h for h in headers if kinds[h.file.path] is None or _is_list(h)]
        news = [h for h in headers if kinds[h.file.path] == "news"]
    else:
        strangers, news = [], [h for h in headers if layout == "long" and kinds[h.file.path] == "news"]
    chosen = [header for header in headers if header not in strangers and header not in news]
    if not chosen:
        file_layout([header for header in headers if header not in news] or headers)  # says why
        raise ValueError(f"{root}: holds no table of bars, but {[header.file.name for header in headers][:3]}")
    name = file_layout(chosen) if layout == "auto" else layout
    folder = root.child("news")
    if root.is_folder() and folder.is_folder():
        news += read_headers([folder])
    left_out = tuple(header.file.path for header in strangers)
    return name, FILE_LAYOUTS[name](chosen, config), long_news(news), left_out


def _is_list(header: Header) -> bool:
    """A calendar or a list of symbols: a table with no other column than timestamp or symbol."""
    return len(header.names) == 1
