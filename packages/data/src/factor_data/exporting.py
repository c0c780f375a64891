"""Export: bars of any layout written in one that others read; the sorted bars lie on disk, a part is in memory.

The layouts of Kronos and of CSMD have fixed columns: what the bars have besides stays behind.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from factor_data.atomic import new_folder
from factor_data.chunks.sorting import SortedBars, sort_bars
from factor_data.chunks.workers import Workers
from factor_data.panel.panel import Panel
from factor_data.parquet import CHECKSUMS
from factor_data.reading.bars import iter_bar_tables
from factor_data.reading.config import DEFAULT_CONFIG, ReadConfig
from factor_data.reading.csmd import PRICE_COLUMNS
from factor_data.reading.discover import find_all
from factor_data.reading.news import news_tables_of
from factor_data.reading.qlib import RESERVED
from factor_data.reading.sources import PathLike

BUDGET = Workers(max_bytes=2**28)
MIN_FREE_BYTES = 64 * 2**20
BATCH_ROWS = 100_000  # documents at a time
PRICES = ("open", "high", "low", "close")
UNSAFE = set('/\\:*?"<>|')  # signs that a file name does not have everywhere


class ExportSummary(NamedTuple):
    """What an export wrote."""

    layout: str
    num_bars: int
    num_symbols: int
    num_files: int


def export_bars(
    source: PathLike, target: str | Path, layout: str, config: ReadConfig = DEFAULT_CONFIG
) -> ExportSummary:
    """Write the bars of `source` into the new folder `target`.

    Parameters
    ----------
    source : bars of any layout that is found by itself, as the project's own data/
    target : local folder that must not exist; it appears whole or not at all
    layout : "long": bars.parquet, rows sorted by (symbol, timestamp), every column;
        "symbol": a CSV file per symbol, named by it, with timestamp and every column;
        "qlib": calendars/, instruments/ and features/ in qlib's binary format. Its float32 rounds to seven digits;
        "kronos": kline.csv, the columns of Kronos' examples and `ticker`, stamps as 2019/11/26 9:35. It has no
        adjusted close, so prices and volume are adjusted where the bars have one;
        "csmd": price/<stock>.csv of whole days and, where the source has news, news/<stock>/<day>.csv
    config : how the source is read

    Raises
    ------
    ValueError for bars that the readers refuse, an unknown layout, a target that exists, symbols that cannot be the
    name of a file, or that differ by case alone, where names have to tell them apart; for bars without a column or
    with stamps that the layout cannot hold
    """
    if layout not in EXPORT_LAYOUTS:
        raise ValueError(f"layout must be one of {list(EXPORT_LAYOUTS)}, got {layout!r}")
    target = Path(target)
    if target.exists():
        raise ValueError(f"{target}: exists already; name a new folder")
    with new_folder(target, MIN_FREE_BYTES) as folder:
        with TemporaryDirectory(prefix=".sorting-", dir=folder) as scratch:
            bars = sort_bars(iter_bar_tables(source, config=config), Path(scratch), BUDGET)
            EXPORT_LAYOUTS[layout](bars, folder)
        if layout == "csmd":
            _export_news(source, config, folder / "news")
        num_files = sum(path.is_file() for path in folder.rglob("*"))
    return ExportSummary(layout, bars.num_rows, len(bars.symbols), num_files)


def _export_long(bars: SortedBars, folder: Path) -> None:
    fields = [("timestamp", pa.timestamp("ns")), ("symbol", pa.string())]
    schema = pa.schema([*fields, *((name, pa.float64()) for name in bars.column_names)])
    with pq.ParquetWriter(folder / "bars.parquet", schema, compression="zstd", **CHECKSUMS) as writer:
        for part in _parts(bars):
            writer.write_table(pa.Table.from_pandas(part.to_pandas(), schema=schema, preserve_index=False))


def _export_symbol(bars: SortedBars, folder: Path) -> None:
    _check_names(bars)
    for part in _parts(bars):
        for symbol, rows in part.to_pandas().groupby("symbol", sort=False):
            path = folder / f"{symbol}.csv"
            rows.drop(columns="symbol").to_csv(path, index=False, quoting=csv.QUOTE_MINIMAL)  # floats to the last bit


def _export_qlib(bars: SortedBars, folder: Path) -> None:
    _check_names(bars)
    frequency = _frequency(bars)
    for name in ("calendars", "instruments", "features"):
        (folder / name).mkdir()
    whole_days = not (bars.dates != bars.dates.astype("datetime64[D]")).any()
    written = pd.DatetimeIndex(bars.dates).strftime("%Y-%m-%d" if whole_days else "%Y-%m-%d %H:%M:%S")
    (folder / "calendars" / f"{frequency}.txt").write_text("\n".join(written) + "\n", encoding="utf-8")
    lines = []
    for part in _parts(bars):
        for code in np.unique(part.symbol_code):
            rows = part.symbol_code == code
            symbol, dates = str(part.symbols[code]), part.date_code[rows]
            lines.append(f"{symbol.upper()}\t{written[dates[0]]}\t{written[dates[-1]]}\n")
            stem = symbol.lower()
            own = folder / "features" / (f"_qlib_{stem}" if RESERVED.fullmatch(stem) else stem)
            own.mkdir()
            for name, values in part.columns.items():
                field = np.full(dates[-1] - dates[0] + 2, np.nan, dtype="<f4")
                field[0] = dates[0]
                field[1 + dates - dates[0]] = values[rows]
                field.tofile(own / f"{name.lower()}.{frequency}.bin")
    (folder / "instruments" / "all.txt").write_text("".join(sorted(lines)), encoding="utf-8")


def _export_kronos(bars: SortedBars, folder: Path) -> None:
    _check_columns(bars, "kronos", PRICES)
    if (bars.dates != bars.dates.astype("datetime64[m]")).any():
        raise ValueError("the layout 'kronos' writes minutes, the bars have stamps between them; use 'long'")
    stamps = pd.DatetimeIndex(bars.dates)
    written = np.array([f"{s.year}/{s.month}/{s.day} {s.hour}:{s.minute:02}" for s in stamps], dtype=object)
    names = [name for name in (*PRICES, "volume", "amount") if name in bars.column_names]
    with (folder / "kline.csv").open("w", encoding="utf-8", newline="") as file:
        for number, part in enumerate(_parts(bars)):
            columns = {name: part.columns[name] if name == "amount" else part.adjusted(name) for name in names}
            frame = pd.DataFrame({"timestamps": written[part.date_code], "ticker": part.symbol, **columns})
            frame.to_csv(file, index=False, header=number == 0)


def _export_csmd(bars: SortedBars, folder: Path) -> None:
    _check_columns(bars, "csmd", (*PRICES, "volume"))
    _check_names(bars)
    if (bars.dates != bars.dates.astype("datetime64[D]")).any():
        raise ValueError("the layout 'csmd' writes days, the bars have times of day; use 'long'")
    (folder / "price").mkdir()
    for part in _parts(bars):
        frame = part.to_pandas().assign(timestamp=part.timestamp.astype("datetime64[D]").astype(str))
        frame["adj_close"] = part.adjusted("close")
        frame = frame[["symbol", "timestamp", *PRICES, "adj_close", "volume"]]
        for symbol, rows in frame.groupby("symbol", sort=False):
            own = rows.drop(columns="symbol").set_axis(list(PRICE_COLUMNS), axis=1)
            own.to_csv(folder / "price" / f"{symbol}.csv", index=False, encoding="utf-8-sig")


def _export_news(source: PathLike, config: ReadConfig, folder: Path) -> None:
    """Write the documents of a source, a file per stock and day; no folder where it has none."""
    for table in news_tables_of(find_all(source, "auto", config).news, BATCH_ROWS):
        news = table.frame
        days = news["timestamp"].dt.strftime("%Y-%m-%d").to_numpy()
        for (symbol, day), rows in news.groupby([news["symbol"].to_numpy(), days], sort=True):
            path = folder / str(symbol) / f"{day}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            named = {"code_name": symbol, "ticker": symbol, "created_at": rows["timestamp"], "text": rows["text"]}
            is_new = not path.exists()
            pd.DataFrame(named).to_csv(
                path, mode="a", index=False, header=is_new, encoding="utf-8-sig" if is_new else "utf-8"
            )


def _check_columns(bars: SortedBars, layout: str, needed: tuple[str, ...]) -> None:
    if missing := [name for name in needed if name not in bars.column_names]:
        raise ValueError(f"the layout {layout!r} needs the column {missing[0]!r}, the bars have {bars.column_names}")


EXPORT_LAYOUTS: dict[str, Callable[[SortedBars, Path], None]] = {
    "long": _export_long,
    "symbol": _export_symbol,
    "qlib": _export_qlib,
    "kronos": _export_kronos,
    "csmd": _export_csmd,
}


def _parts(bars: SortedBars) -> Iterator[Panel]:
    return (bars.read(symbols) for symbols in bars.parts(BUDGET.rows(bars.row_bytes)))


def _check_names(bars: SortedBars) -> None:
    """Refuse symbols that cannot be the name of a file or folder, or would be the same one."""
    seen: dict[str, str] = {}
    for symbol in map(str, bars.symbols):
        if UNSAFE & set(symbol) or symbol.startswith(".") or len(symbol.encode()) > 200:
            raise ValueError(f"symbol {symbol!r} cannot be the name of a file; export it with the layout 'long'")
        key = symbol.lower()
        if key in seen:
            raise ValueError(
                f"symbols {seen[key]!r} and {symbol!r} differ by case alone; export with the layout 'long'"
            )
        seen[key] = symbol


def _frequency(bars: SortedBars) -> str:
    """Qlib's name of the usual step between dates: day, or so many minutes."""
    if len(bars.dates) < 2:
        return "day"
    minutes = float(np.median(np.diff(bars.dates).astype(np.int64))) / 60e9
    return "day" if minutes >= 20 * 60 else f"{max(round(minutes), 1)}min"
