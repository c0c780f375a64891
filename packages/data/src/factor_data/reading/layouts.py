"""Which layout a path has, and the files that layout finds there.

Folders are known by what lies in them, single files by the names of their columns. What fits no layout, or files of
different layouts together, are refused with what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from factor_data.panel.panel import REQUIRED_COLUMNS
from factor_data.reading.config import ReadConfig
from factor_data.reading.csmd import csmd_bars, csmd_news
from factor_data.reading.documents import NewsFile
from factor_data.reading.long import KEY, long_bars
from factor_data.reading.per_day import day_bars, day_of
from factor_data.reading.per_symbol import is_vendor_header, kronos_bars, symbol_bars
from factor_data.reading.qlib import qlib_bars
from factor_data.reading.raw import column_names
from factor_data.reading.sources import SUFFIXES, File, Paths, locate
from factor_data.reading.tabular import BarSource, Header

NEWS_COLUMNS = (*KEY, "text")

FILE_LAYOUTS: dict[str, Callable[[Sequence[Header], ReadConfig], Sequence[BarSource]]] = {
    "long": long_bars,
    "symbol": symbol_bars,
    "kronos": kronos_bars,
    "day": day_bars,
}


def _dataset_bars(root: File, config: ReadConfig) -> Sequence[BarSource]:
    return long_bars(read_headers([root.child("bars")]), config)


def _dataset_news(root: File) -> list[NewsFile]:
    folder = root.child("news")
    return long_news(read_headers([folder])) if folder.is_folder() else []


def _acl18_bars(root: File, config: ReadConfig) -> Sequence[BarSource]:
    return long_bars(read_headers([root.child("bars.parquet")]), config)


def _acl18_news(root: File) -> list[NewsFile]:
    return long_news(read_headers([root.child("news.parquet")]))


@dataclass(frozen=True)
class FolderLayout:
    """A layout that is a tree: what must lie in its root, how bars and news are found from there."""

    holds: frozenset[str]
    bars: Callable[[File, ReadConfig], Sequence[BarSource]]
    news: Callable[[File], list[NewsFile]]


FOLDER_LAYOUTS = {
    "qlib": FolderLayout(frozenset({"calendars", "features", "instruments"}), qlib_bars, lambda root: []),
    "csmd": FolderLayout(frozenset({"price"}), csmd_bars, csmd_news),
    "acl18": FolderLayout(frozenset({"bars.parquet", "news.parquet"}), _acl18_bars, _acl18_news),
    "dataset": FolderLayout(frozenset({"bars"}), _dataset_bars, _dataset_news),
}
TRUTH = "truth.parquet"
"""What lies beside the bars of a simulated market: no bars, though it has dates."""
LAYOUTS = (*FILE_LAYOUTS, *FOLDER_LAYOUTS)


def find_bars(path_or_paths: Paths, layout: str, config: ReadConfig) -> tuple[str, Sequence[BarSource]]:
    """Return the name of the layout and the sources of bars, in the order in which they are read.

    All headers are checked: every source has the same number columns.
    """
    roots = locate_all(path_or_paths)
    name = folder_layout(roots, layout)
    sources: Sequence[BarSource]
    if name is not None:
        sources = [source for root in roots for source in FOLDER_LAYOUTS[name].bars(root, config)]
        if layout == "auto":
            for root in roots:
                refuse_other_bars(root, name)
    else:
        headers = read_headers(roots)
        name = file_layout(headers) if layout == "auto" else layout
        sources = FILE_LAYOUTS[name](headers, config)
    check_same_columns(sources)
    return name, sources


def find_news(path_or_paths: Paths, layout: str) -> list[NewsFile]:
    """Return the sources of news; a layout may have none."""
    roots = locate_all(path_or_paths)
    name = folder_layout(roots, layout)
    if name is not None:
        return [source for root in roots for source in FOLDER_LAYOUTS[name].news(root)]
    if layout not in ("auto", "long"):
        raise ValueError(f"layout {layout!r} has no news")
    return long_news(read_headers(roots))


def long_news(headers: Sequence[Header]) -> list[NewsFile]:
    """The files in the order given; a file that lacks a column is refused."""
    for header in headers:
        header.require(*NEWS_COLUMNS)
    return [NewsFile(file=header.file) for header in headers]


def locate_all(path_or_paths: Paths) -> list[File]:
    """Return the files and folders of paths; each must exist."""
    paths = [path_or_paths] if isinstance(path_or_paths, str | Path) else list(path_or_paths)
    if not paths:
        raise ValueError("no path given")
    roots = [locate(path) for path in paths]
    for root in roots:
        if not (root.is_folder() or root.is_file()):
            raise ValueError(f"{root}: no such file or folder")
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


def refuse_other_bars(root: File, layout: str) -> None:
    """Refuse a folder of a layout that also holds tables of bars which that layout would pass over."""
    known = {*FOLDER_LAYOUTS[layout].holds, TRUTH}
    others = [file for file in root.files() if file.name not in known]
    for header in read_headers(others):
        if len(header.names) > 1 and kind_of(header) in FILE_LAYOUTS:
            raise ValueError(
                f"{root}: layout is ambiguous: the folder is {layout!r}, {header.file.name} in it looks like "
                f"{kind_of(header)!r}: say which with layout="
            )


def read_headers(roots: Sequence[File]) -> list[Header]:
    """Return the headers of files, and of the Parquet and CSV files of folders sorted by name."""
    files: list[File] = []
    for root in roots:
        if root.is_folder():
            found = root.files()
            if not found:
                raise ValueError(f"{root}: folder has no file ending in {' or '.join(SUFFIXES)}")
            files += found
        elif root.suffix not in SUFFIXES:
            raise ValueError(f"{root}: file must end in {' or '.join(SUFFIXES)}")
        else:
            files.append(root)
    return [Header(file, column_names(file)) for file in files]


def file_layout(headers: Sequence[Header]) -> str:
    """The one layout all files have."""
    found: dict[str, File] = {}
    for header in headers:
        kind = kind_of(header)
        if kind not in FILE_LAYOUTS:
            raise ValueError(
                f"{header.file}: fits no layout of bars: column 'timestamp' is missing for one table (needed are "
                f"{[*KEY, *REQUIRED_COLUMNS]}), 'sid' for one file per day, Date and Open, High, Low, Close for one "
                f"file per symbol; found {header.names}"
            )
        found.setdefault(kind, header.file)
    if len(found) > 1:
        (one, file), (other, other_file) = list(found.items())[:2]
        raise ValueError(
            f"layout is ambiguous: {file} looks like {one!r}, {other_file} like {other!r}: read them apart, or say "
            "which with layout="
        )
    return next(iter(found))


def kind_of(header: Header) -> str | None:
    """Classify one file: a layout of files, "news", or None."""
    names = set(header.names)
    if "sid" in names or (day_of(header.file) is not None and not names.intersection(KEY)):
        return "day"
    if "timestamps" in names:
        return "kronos"
    if names.intersection(KEY):
        return "news" if "text" in names and not names.intersection(REQUIRED_COLUMNS) else "long"
    return "symbol" if is_vendor_header(header) else None


def check_same_columns(sources: Sequence[BarSource]) -> None:
    """Refuse sources that do not all have the number columns of the first."""
    expected = set(sources[0].columns)
    for source in sources[1:]:
        different = sorted(expected.symmetric_difference(source.columns))
        if different:
            raise ValueError(
                f"{source.path} and {sources[0].path} do not have the same columns: {different[:3]} in one only"
            )
