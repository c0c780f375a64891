"""Which layout a path has, and the files that layout finds there.

Folders are known by what lies in them, single files by the names of their columns. What fits no layout, or files of
different layouts together, are refused with what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from factor_data.bar_columns import REQUIRED_COLUMNS
from factor_data.reading.columns import KEY, find_columns, proposal
from factor_data.reading.config import ReadConfig
from factor_data.reading.csmd import csmd_bars, csmd_news
from factor_data.reading.documents import NEWS_COLUMNS, NewsFile, news_files
from factor_data.reading.header import Header, read_header, shown
from factor_data.reading.listing import Listed, list_tables
from factor_data.reading.long import long_bars
from factor_data.reading.notes import Notes
from factor_data.reading.per_day import day_bars, day_of
from factor_data.reading.per_symbol import kronos_bars, symbol_bars
from factor_data.reading.qlib import qlib_bars
from factor_data.reading.sources import SUFFIXES, TEXT_ENDINGS, File, Paths, locate
from factor_data.reading.tabular import BarSource
from factor_data.reading.told import check_told
from factor_data.reading.vendors import VENDORS
from factor_data.reading.wide import wide_bars

OF_TEXT = " or ".join(name for name, vendor in VENDORS.items() if vendor.text_files)
TEXT_HINT = f"; those ending in {' or '.join(TEXT_ENDINGS)} are read with vendor={OF_TEXT}"

FILE_LAYOUTS: dict[str, Callable[[Sequence[Header], ReadConfig, Notes], Sequence[BarSource]]] = {
    "long": long_bars,
    "symbol": symbol_bars,
    "kronos": kronos_bars,
    "day": day_bars,
    "wide": wide_bars,
}


def _dataset_bars(root: File, config: ReadConfig, notes: Notes) -> Sequence[BarSource]:
    return long_bars(read_headers([root.child("bars")], config, notes), config, notes)


def _dataset_news(root: File, config: ReadConfig, notes: Notes) -> list[NewsFile]:
    folder = root.child("news")
    return news_files(read_headers([folder], config, notes), config) if folder.is_folder() else []


def _acl18_bars(root: File, config: ReadConfig, notes: Notes) -> Sequence[BarSource]:
    return long_bars(read_headers([root.child("bars.parquet")], config, notes), config, notes)


def _acl18_news(root: File, config: ReadConfig, notes: Notes) -> list[NewsFile]:
    return news_files(read_headers([root.child("news.parquet")], config, notes), config)


@dataclass(frozen=True)
class FolderLayout:
    """A layout that is a tree: what must lie in its root, how bars and news are found from there."""

    holds: frozenset[str]
    bars: Callable[[File, ReadConfig, Notes], Sequence[BarSource]]
    news: Callable[[File, ReadConfig, Notes], list[NewsFile]]
    maybe: frozenset[str] = frozenset()
    """What else may lie there that it reads."""


FOLDER_LAYOUTS = {
    "qlib": FolderLayout(
        frozenset({"calendars", "features", "instruments"}), qlib_bars, lambda root, config, notes: []
    ),
    "csmd": FolderLayout(frozenset({"price"}), csmd_bars, csmd_news, frozenset({"news"})),
    "acl18": FolderLayout(frozenset({"bars.parquet", "news.parquet"}), _acl18_bars, _acl18_news),
    "dataset": FolderLayout(frozenset({"bars"}), _dataset_bars, _dataset_news, frozenset({"news"})),
}
LAYOUTS = (*FILE_LAYOUTS, *FOLDER_LAYOUTS)


def find_bars(path_or_paths: Paths, layout: str, config: ReadConfig, notes: Notes) -> tuple[str, Sequence[BarSource]]:
    """Return the name of the layout and the sources of bars, in the order in which they are read.

    All headers are checked: every source has the same number columns. What is not read is in the notes.
    """
    roots = locate_all(path_or_paths)
    name = folder_layout(roots, layout)
    sources: Sequence[BarSource]
    if name is not None:
        sources = [source for root in roots for source in FOLDER_LAYOUTS[name].bars(root, config, notes)]
        for root in roots:
            note_others(root, name, config, notes, refuse_bars=layout == "auto")
    else:
        headers = read_headers(roots, config, notes)
        name = file_layout(headers, config) if layout == "auto" else layout
        sources = FILE_LAYOUTS[name](without_text(headers), config, notes)
    check_same_columns(sources)
    check_told(roots[0], name, config, sources, notes)
    return name, sources


def find_news(path_or_paths: Paths, layout: str, config: ReadConfig, notes: Notes) -> list[NewsFile]:
    """Return the sources of news: those of a folder's layout, else files with the columns of news."""
    roots = locate_all(path_or_paths)
    name = folder_layout(roots, layout)
    if name is not None:
        return [source for root in roots for source in FOLDER_LAYOUTS[name].news(root, config, notes)]
    if layout not in ("auto", "long"):
        raise ValueError(f"layout {layout!r} has no news")
    return news_files(read_headers(roots, config, notes), config)


def locate_all(path_or_paths: Paths) -> list[File]:
    """Return the files and folders of paths; each must exist."""
    paths = [path_or_paths] if isinstance(path_or_paths, str | Path) else list(path_or_paths)
    if not paths:
        raise ValueError("no path given")
    roots = [locate(path) for path in paths]
    for root in roots:
        if not (root.is_folder() or root.is_file()):
            trouble = root.trouble()
            known = trouble in (None, "does not exist", "is neither a file nor a folder")
            raise ValueError(f"{root}: no such file or folder" if known else f"{root}: cannot be read: {trouble}")
    return roots


def folder_layout(roots: Sequence[File], layout: str) -> str | None:
    """The layout of the roots where it is one of folders, None where it is one of files."""
    if layout not in ("auto", *LAYOUTS):
        raise ValueError(f"layout must be one of {['auto', *LAYOUTS]}, got {layout!r}")
    found = {root.path: _folder_layouts(root) for root in roots}
    if layout in FOLDER_LAYOUTS:
        wrong = [path for path, names in found.items() if layout not in names]
        if wrong:
            raise ValueError(
                f"{wrong[0]}: is no folder of layout {layout!r}, which has {sorted(FOLDER_LAYOUTS[layout].holds)}"
            )
        return layout
    if layout in FILE_LAYOUTS:
        return None
    for path, names in found.items():
        if len(names) > 1:
            raise ValueError(f"{path}: layout is ambiguous, fits {names}: say which with layout=")
    different = {names[0] if names else None: path for path, names in found.items()}
    if len(different) > 1:
        (one, path), (other, other_path) = list(different.items())[:2]
        raise ValueError(
            f"layouts differ: {path} has {one or 'files'}, {other_path} has {other or 'files'}: read them apart"
        )
    return next(iter(different))


def _folder_layouts(root: File) -> list[str]:
    if not root.is_folder():
        return []
    names = {child.name for child in root.children()}
    return [name for name, layout in FOLDER_LAYOUTS.items() if layout.holds <= names]


def note_others(root: File, layout: str, config: ReadConfig, notes: Notes, *, refuse_bars: bool) -> None:
    """Name what else lies in a folder of a layout, and refuse tables of bars there that it would pass over."""
    own = FOLDER_LAYOUTS[layout]
    read = own.holds | {name for name in own.maybe if root.child(name).is_folder()}
    for listed in list_tables(root, notes, skip=read):
        header = read_header(listed, config, notes)
        kind = kind_of(header, config) if len(header.names) > 1 else None
        if refuse_bars and kind in FILE_LAYOUTS:
            raise ValueError(
                f"{root}: layout is ambiguous: the folder is {layout!r}, {listed.file.name} in it looks like "
                f"{kind!r}: say which with layout="
            )
        notes.leave_out(listed.file.path, f"no part of a folder of layout {layout!r}")


def read_headers(
    roots: Sequence[File], config: ReadConfig, notes: Notes, skip: frozenset[str] = frozenset()
) -> list[Header]:
    """Return the headers of files, and of the tables of folders and their sub-folders sorted by path.

    `skip` are names in the folders themselves that another reader takes care of.
    """
    text = bool(config.vendor and VENDORS[config.vendor].text_files)
    endings = (*SUFFIXES, *(TEXT_ENDINGS if text else ()))
    files: list[Listed] = []
    for root in roots:
        if root.is_folder():
            found = list_tables(root, notes, text=text, skip=skip)
            if not found:
                hint = "" if text or not list_tables(root, notes, text=True, skip=skip) else TEXT_HINT
                raise ValueError(f"{root}: folder has no file ending in {' or '.join(endings)}{hint}")
            files += found
        elif root.suffix not in endings:
            raise ValueError(f"{root}: file must end in {' or '.join(endings)}")
        else:
            files.append(Listed(root))
    return [read_header(file, config, notes) for file in files]


def without_text(headers: Sequence[Header]) -> list[Header]:
    """Leave a column that is text in one file out of all: a file where it is empty does not say what it is."""
    text = {name: why for header in headers for name, why in header.unfit.items()}
    return [replace(header, unfit={n: text[n] for n in header.names if n in text}) for header in headers]


def file_layout(headers: Sequence[Header], config: ReadConfig) -> str:
    """The one layout all files have."""
    found: dict[str, File] = {}
    for header in headers:
        kind = kind_of(header, config)
        if kind not in FILE_LAYOUTS:
            columns = find_columns(header, config)
            missing = [name for name in ("timestamp", *REQUIRED_COLUMNS) if name not in columns.roles]
            raise ValueError(
                f"{header.file}: fits no layout of bars: column 'timestamp' is missing for one table (needed are "
                f"{[*KEY, *REQUIRED_COLUMNS]}), 'sid' for one file per day, Date and Open, High, Low, Close for one "
                f"file per symbol; found {shown(header.names)}; {proposal(header, columns, missing or ['symbol'])}"
            )
        found.setdefault(kind, header.file)
    if len(found) > 1:
        (one, file), (other, other_file) = list(found.items())[:2]
        raise ValueError(
            f"layout is ambiguous: {file} looks like {one!r}, {other_file} like {other!r}: read them apart, or say "
            "which with layout="
        )
    return next(iter(found))


def kind_of(header: Header, config: ReadConfig) -> str | None:
    """Classify one file: a layout of files, "news", or None.

    A table with two columns of bars or more is one of bars, whatever else it lacks: it is refused, not left out.
    """
    names = set(header.names)
    if header.pairs:
        return "wide"
    if "sid" in names or (day_of(header.file) is not None and not names.intersection(KEY)):
        return "day"
    if names.issuperset(NEWS_COLUMNS) and not names.intersection(REQUIRED_COLUMNS):
        return "news"
    columns = find_columns(header, config)
    if "timestamps" in names and not columns.has_symbol:
        return "kronos"
    if columns.has_symbol and ("timestamp" in columns.roles or columns.num_bar_columns):
        return "long"
    if columns.has_prices or columns.num_bar_columns > 1:
        return "symbol"
    return None


def check_same_columns(sources: Sequence[BarSource]) -> None:
    """Refuse sources that do not all have the number columns of the first."""
    expected = set(sources[0].columns)
    for source in sources[1:]:
        different = sorted(expected.symmetric_difference(source.columns))
        if different:
            raise ValueError(
                f"{source.path} and {sources[0].path} do not have the same columns: {different[:3]} in one only"
            )
