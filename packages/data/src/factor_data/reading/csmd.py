"""Layout "csmd": `price/<stock>.csv` and `news/<stock>/<YYYY-MM-DD>.csv`, as in the CSMD sets of LightQuant.

Prices have seven columns, Date, Open, High, Low, Close, Adj Close, Volume; news have code_name, ticker, created_at and
text. The symbol is the name of the price file and of the folder of news.
"""

from __future__ import annotations

from factor_data.reading.config import ReadConfig
from factor_data.reading.documents import NewsFile
from factor_data.reading.header import read_header
from factor_data.reading.keyed_file import KeyedFile
from factor_data.reading.listing import Listed, list_tables
from factor_data.reading.notes import Notes
from factor_data.reading.per_day import day_of
from factor_data.reading.per_symbol import symbol_bars
from factor_data.reading.sources import File
from factor_data.reading.table import composed

PRICE_COLUMNS = ("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")


def csmd_bars(root: File, config: ReadConfig, notes: Notes) -> list[KeyedFile]:
    """The price files, sorted by stock."""
    folder = root.child("price")
    headers = [read_header(listed, config, notes) for listed in _csv_files(folder, notes)]
    if not headers:
        raise ValueError(f"{folder}: folder has no file ending in .csv")
    for header in headers:
        header.require(*PRICE_COLUMNS)
    return symbol_bars(headers, config, notes)


def csmd_news(root: File, config: ReadConfig, notes: Notes) -> list[NewsFile]:
    """The news files, sorted by stock and day; none where there is no folder of news."""
    folder = root.child("news")
    if not folder.is_folder():
        return []
    found = []
    for stock in folder.children():
        if not stock.is_folder():
            notes.leave_out(stock.path, "no folder of a stock's news")
            continue
        for listed in _csv_files(stock, notes):
            file, day = listed.file, day_of(listed.file)
            if day is None:
                raise ValueError(f"{file}: the file name must be a day, YYYY-MM-DD, got {file.stem!r}")
            header = read_header(listed, config, notes)
            header.require("created_at", "text")
            found.append(
                NewsFile(
                    file=file, time_column="created_at", symbol=composed(stock.name), day=day, dialect=header.dialect
                )
            )
    return found


def _csv_files(folder: File, notes: Notes) -> list[Listed]:
    """The CSV files of a folder; other tables are named as left out."""
    found = list_tables(folder, notes)
    for listed in found:
        if listed.file.is_parquet:
            notes.leave_out(listed.file.path, "no CSV, as the layout 'csmd' has it")
    return [listed for listed in found if not listed.file.is_parquet]
