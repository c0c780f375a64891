"""Bars and news from files, in any layout that the importer reads."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from factor_data import Panel, read_bars, read_news
from factor_data.reading.config import DEFAULT_CONFIG
from factor_data.reading.settings import settings_for
from factor_data.reading.sources import locate
from factor_serve.bundle import Bundle

NONE = "none"


def bars_of(path: str, layout: str = "auto", map_file: str | None = None) -> Panel:
    """Return the raw bars of a file or folder; how they are to be read is said as for `factor-data import`."""
    found, config = settings_for(locate(path), map_file, layout, DEFAULT_CONFIG)
    with notes():
        return read_bars(path, found, config)


def news_of(path: str | None, bundle: Bundle, panel: Panel) -> pd.DataFrame | None:
    """Return the documents that a bundle reads besides bars.

    ValueError where it reads news and no path is given, or the other way round; "none" says that there was no news.
    """
    if not bundle.reads_news:
        if path not in (None, NONE):
            raise ValueError(f"--news {path}: the bundle reads no news; leave it out")
        return None
    if path is None:
        raise ValueError("the bundle reads news: name them with --news, or say --news none where there were none")
    if path == NONE:
        return pd.DataFrame({"timestamp": panel.dates[:0], "symbol": [], "text": []})
    with notes():
        return read_news(path, calendar=panel.dates)


@contextmanager
def notes() -> Iterator[None]:
    """Within, what readers warn of becomes a line each on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for one in caught:
        print(f"note: {' '.join(str(one.message).split())}", file=sys.stderr)


def state_of(path: str) -> list[tuple[str, int, int, int]] | None:
    """Return what changes with the files of a path: of each the name, size, time and number; None of no local path.

    Any difference counts, not a later time alone: a file may come with the time that it had elsewhere, and clocks are
    set back.
    """
    place = locate(path)
    if not place.is_local:
        return None
    root, found = Path(place.location), []
    for one in (root, *sorted(root.rglob("*"))):
        with suppress(FileNotFoundError):  # deleted meanwhile, or a link to nothing
            found.append((str(one), (said := one.stat()).st_size, said.st_mtime_ns, said.st_ino))
    return found
