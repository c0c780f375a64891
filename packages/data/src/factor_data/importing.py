"""Import: bars and news of any layout, streamed into a folder of the project's own layout."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from factor_data.atomic import new_folder
from factor_data.description import MOST_BYTES, UNKNOWN, UNKNOWN_UNIVERSE, parse_description
from factor_data.parquet import VERIFIED
from factor_data.reading.bar_texts import BarTexts
from factor_data.reading.bars import tables_of
from factor_data.reading.config import DEFAULT_CONFIG, ReadConfig
from factor_data.reading.coverage import Coverage
from factor_data.reading.discover import Found, find_all
from factor_data.reading.documents import NewsFile
from factor_data.reading.news import news_tables_of
from factor_data.reading.notes import LeftOut
from factor_data.reading.parts import ROW_GROUP_ROWS, Parts
from factor_data.reading.settings import IMPORT, settings_for
from factor_data.reading.sources import File, PathLike, locate
from factor_data.reading.table import Table
from factor_data.reading.tabular import BarSource
from factor_data.sums import write_sums
from factor_data.whole_file import write_bytes

LONG_LAYOUTS = ("long", "acl18", "dataset", "wide")  # written file by file: joined, a symbol might step back in time
BATCH_VALUES = 10_000_000  # numbers in memory at a time: rows x columns
MIN_FREE_BYTES = 64 * 2**20
Progress = Callable[[int, int], None]  # bytes read so far, bytes in all


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """Summary of an import: what it read and wrote."""

    layout: str
    num_bars: int
    num_symbols: int
    num_dates: int
    first: np.datetime64
    last: np.datetime64
    zone: str | None
    null_counts: dict[str, int]
    """Column -> missing values."""
    missing_dates: dict[str, int]
    """Symbol -> dates without a bar between its first and last, most first."""
    lost_share: float = 0.0
    """Share of the bars, about, that have no label if all symbols count the same dates: entry or exit has no bar."""
    first_missing: dict[str, tuple[np.datetime64, ...]] = field(default_factory=dict)
    """The first three such dates of the three symbols with most."""
    empty_files: tuple[str, ...] = ()
    """Files with a header and no row."""
    left_out: tuple[LeftOut, ...] = ()
    """Entries and columns that were not read, each with the reason."""
    guesses: tuple[str, ...] = ()
    """What was found out rather than told, each with one example."""
    num_documents: int = 0
    news_zone: str | None = None


def import_data(
    source: PathLike,
    target: str | Path,
    layout: str = "auto",
    config: ReadConfig = DEFAULT_CONFIG,
    progress: Progress | None = None,
    map_file: PathLike | None = None,
) -> ImportSummary:
    """Write the bars and news of `source` to the new folder `target`: bars/*.parquet, news/*.parquet and dataset.yaml.

    Parameters
    ----------
    source : path or fsspec URL of any layout; it is not changed. What is neither bars nor news is named in the summary
    target : local folder that must not exist; it appears whole or not at all
    layout, config : as for `read_bars`; dataset.yaml remembers them under `import`
    progress : called with the bytes read so far and in all
    map_file : YAML file with a layout and keys of `config`, which goes before it; None: `import.yaml` of the source, if
        there is one. A dataset.yaml that an import has written will do

    Bars are as strictly checked as by `read_bars`. One batch is in memory at a time. One file per symbol, and
    qlib's folders, come out sorted by (symbol, time); one file per day by day; long files each as it is.
    sums.json has the digests of what was written, but for dataset.yaml, which is there to be edited.

    Raises
    ------
    ValueError for bad input, a target that exists or lies in the source, a disk without room
    """
    target = Path(target)
    root = locate(source)
    _check_target(root, target)
    layout, config = settings_for(root, map_file, layout, config)
    found = find_all(source, layout, config)
    total = sum(bars.size() for bars in found.bars) + sum(news.size() for news in found.news)
    with new_folder(target, 2 * total + MIN_FREE_BYTES) as folder:
        meter = _Meter(progress, total)
        description = _own_description(root)
        coverage = _import_bars(found.bars, folder / "bars", found, meter)
        num_documents, news_zone = _import_news(found.news, folder / "news", meter)
        write_sums(folder)
        zone = config.time_zone or coverage.zone
        told = {"layout": found.layout, **config.changed_fields()}
        _write_description(folder / "dataset.yaml", description or _described(root, coverage, zone), told)
        missing = coverage.missing_dates()
        first_missing = _first_missing(folder / "bars", coverage, list(missing)[:3])
    return ImportSummary(
        layout=found.layout,
        num_bars=coverage.num_bars,
        num_symbols=len(coverage.codes),
        num_dates=len(coverage.dates),
        first=coverage.dates[0].astype("datetime64[ns]"),
        last=coverage.dates[-1].astype("datetime64[ns]"),
        zone=zone,
        null_counts=coverage.null_counts,
        missing_dates=missing,
        lost_share=coverage.lost_share(),
        first_missing=first_missing,
        empty_files=tuple(source.path for source in found.bars if source.path not in coverage.paths),
        left_out=found.notes.all_left_out(),
        guesses=found.notes.guesses_said(),
        num_documents=num_documents,
        news_zone=news_zone,
    )


def _import_bars(sources: Sequence[BarSource], folder: Path, found: Found, meter: _Meter) -> Coverage:
    batch_rows = max(BATCH_VALUES // (len(sources[0].columns) + 2), 1)
    coverage = Coverage(batch_rows)
    by_path = {source.path: source for source in sources}
    turned: set[str] = set()
    fields = [("timestamp", pa.timestamp("ns")), ("symbol", pa.string())]
    schema = pa.schema([*fields, *((name, pa.float64()) for name in sources[0].columns)])
    with Parts(folder, schema) as parts, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # files without rows are in the summary
        for table in tables_of(sources, batch_rows):
            source = by_path[table.path]
            goes_on = coverage.add(table, source)
            parts.add(table, may_join=goes_on and found.layout not in LONG_LAYOUTS)
            meter.show(table, source.size())
            if table.was_sorted and source.path not in turned:
                turned.add(source.path)
                found.notes.guess("rows put in order of time", source.path)
    coverage.check_overlaps(sources)
    return coverage


def _import_news(sources: Sequence[NewsFile | BarTexts], folder: Path, meter: _Meter) -> tuple[int, str | None]:
    if not sources:
        return 0, None
    sizes = {source.path: source.size() for source in sources}
    schema = pa.schema([("timestamp", pa.timestamp("ns")), ("symbol", pa.string()), ("text", pa.string())])
    num_documents, zone = 0, None
    with Parts(folder, schema) as parts:
        for table in news_tables_of(sources, ROW_GROUP_ROWS):
            num_documents, zone = num_documents + len(table.frame), table.zone
            parts.add(table, may_join=True)
            meter.show(table, sizes[table.path])
    return num_documents, zone


class _Meter:
    """Counts the bytes that have been read of all sources."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total = progress, total
        self.before = 0  # bytes of the files that are done
        self.path, self.size = "", 0

    def show(self, table: Table, size: int) -> None:
        if table.path != self.path:
            self.before += self.size
            self.path, self.size = table.path, size
        if self.progress is not None:
            self.progress(min(self.before + int(self.size * table.share), self.total), self.total)


def _check_target(root: File, target: Path) -> None:
    if target.exists():
        raise ValueError(f"{target}: exists already; name a new folder")
    if not root.is_local:
        return
    source, inside = Path(root.location).resolve(), target.absolute().parent.resolve() / target.name
    if inside.is_relative_to(source):
        raise ValueError(f"{target}: lies in the source {root}, which must stay as it is")


def _own_description(root: File) -> bytes:
    """dataset.yaml of the source, checked before anything is read; nothing where there is none."""
    own = root.child("dataset.yaml")
    if not root.is_folder() or "dataset.yaml" not in {entry.name for entry in root.children()}:
        return b""
    with own.open() as opened:
        text = bytes(opened.read(MOST_BYTES + 1))
    parse_description(text, own.path)
    return text


def _described(root: File, coverage: Coverage, zone: str | None) -> bytes:
    """What is known of data that nobody describes; JSON text is YAML too."""
    document = {
        "name": root.stem or root.name or "data",
        "frequency": _frequency(coverage),
        "time_zone": zone or UNKNOWN,
        "adjustment": UNKNOWN,
        "universe": UNKNOWN_UNIVERSE,
    }
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in document.items()).encode()


def _write_description(path: Path, text: bytes, told: dict[str, Any]) -> None:
    """Write the description, and below it how the data were read unless it says so already."""
    known = parse_description(text, str(path))
    if IMPORT not in known:
        lines = [f"  {key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in told.items()]
        text = text.rstrip(b"\n") + b"\n" + f"{IMPORT}: # how these bars were read\n{''.join(lines)}".encode()
    parse_description(text, str(path))
    write_bytes(path, text)


def _frequency(coverage: Coverage) -> str:
    if len(coverage.dates) < 2:
        return "unknown"
    minutes = float(np.median(np.diff(coverage.dates))) / 60e9
    return "day" if minutes >= 20 * 60 else f"{minutes:g}min"


def _first_missing(folder: Path, coverage: Coverage, symbols: Sequence[str]) -> dict[str, tuple[np.datetime64, ...]]:
    """The first three dates without a bar of some symbols, looked up in what was written."""
    found = {}
    for symbol in symbols:
        bars = pq.read_table(folder, columns=["timestamp"], filters=[("symbol", "=", symbol)], **VERIFIED)
        has = bars["timestamp"].to_numpy().astype(np.int64)
        span = coverage.dates[(coverage.dates >= has.min()) & (coverage.dates <= has.max())]
        missing = np.setdiff1d(span, has)[:3].astype("datetime64[ns]")
        found[symbol] = tuple(missing)
    return found
