"""Everything an import finds under one path: bars, news, and what is neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from factor_data.reading.bar_texts import BarTexts, bar_texts
from factor_data.reading.config import ReadConfig
from factor_data.reading.documents import NewsFile, news_files
from factor_data.reading.header import Header, shown
from factor_data.reading.layouts import (
    FILE_LAYOUTS,
    FOLDER_LAYOUTS,
    check_same_columns,
    file_layout,
    folder_layout,
    kind_of,
    locate_all,
    note_others,
    read_headers,
    without_text,
)
from factor_data.reading.notes import Notes
from factor_data.reading.sources import File, PathLike
from factor_data.reading.tabular import BarSource
from factor_data.reading.told import check_told


@dataclass(frozen=True)
class Found:
    """The sources of a path under one layout; the notes say what is not read, and what was guessed."""

    layout: str
    bars: Sequence[BarSource]
    news: Sequence[NewsFile | BarTexts]
    notes: Notes


def find_all(path: PathLike, layout: str, config: ReadConfig) -> Found:
    """Return what lies under a path, headers checked.

    Files that have bars or news must be whole: a table with timestamp or symbol that lacks another column is refused.
    """
    root, notes = locate_all([path])[0], Notes()
    name = folder_layout([root], layout)
    if name is not None:
        bars: Sequence[BarSource] = FOLDER_LAYOUTS[name].bars(root, config, notes)
        news: Sequence[NewsFile | BarTexts] = FOLDER_LAYOUTS[name].news(root, config, notes)
        if config.texts:
            raise ValueError(f"{root}: texts: the layout {name!r} has no columns of text beside its bars")
        note_others(root, name, config, notes, refuse_bars=layout == "auto")
    else:
        name, bars, news = _files(root, layout, config, notes)
    if layout == "auto":
        notes.guess("layout", f"{name!r}")
    check_same_columns(bars)
    check_told(root, name, config, [*bars, *news], notes)
    return Found(name, bars, news, notes)


def _files(
    root: File, layout: str, config: ReadConfig, notes: Notes
) -> tuple[str, Sequence[BarSource], Sequence[NewsFile | BarTexts]]:
    folder = root.child("news")
    has_news = root.is_folder() and folder.is_folder()
    headers = read_headers([root], config, notes, skip=frozenset({"news"} if has_news else ()))
    kinds = {header.file.path: kind_of(header, config) for header in headers}
    if layout == "auto":
        strangers = {h.file.path for h in headers if kinds[h.file.path] is None or _is_list(h)}
        news = [h for h in headers if kinds[h.file.path] == "news"]
    else:
        strangers, news = set(), [h for h in headers if layout == "long" and kinds[h.file.path] == "news"]
    no_bars = strangers | {header.file.path for header in news}
    chosen = [header for header in headers if header.file.path not in no_bars]
    if not chosen:
        file_layout([header for header in headers if header not in news] or headers, config)  # says why
        raise ValueError(f"{root}: holds no table of bars, but {[header.file.name for header in headers][:3]}")
    name = file_layout(chosen, config) if layout == "auto" else layout
    if has_news:
        news += read_headers([folder], config, notes)
    for header in headers:
        if header.file.path in strangers:
            notes.leave_out(header.file.path, f"neither bars nor news, its columns are {shown(header.names)[:200]}")
    bars = FILE_LAYOUTS[name](without_text(chosen), config, notes)
    return name, bars, [*news_files(news, config), *bar_texts(bars, chosen, config)]


def _is_list(header: Header) -> bool:
    """A calendar or a list of symbols: a table with no other column than timestamp or symbol."""
    return len(header.names) == 1
