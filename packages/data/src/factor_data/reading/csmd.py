"""Layout "csmd": `price/<stock>.csv` and `news/<stock>/<YYYY-MM-DD>.csv`, as in the CSMD sets of LightQuant.

Prices have seven columns, Date, Open, High, Low, Close, Adj Close, Volume; news have code_name, ticker, created_at and
text. The symbol is the name of the price file and of the folder of news.
"""

from __future__ import annotations

from factor_data.reading.config import ReadConfig
from factor_data.reading.documents import NewsFile
from factor_data.reading.per_day import day_of
from factor_data.reading.per_symbol import SymbolFile, symbol_bars
from factor_data.reading.raw import column_names
from factor_data.reading.sources import File
from factor_data.reading.tabular import Header

PRICE_COLUMNS = ("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")


def csmd_bars(root: File, config: ReadConfig) -> list[SymbolFile]:
    """The price files, sorted by stock."""
    folder = root.child("price")
    headers = [Header(file, column_names(file)) for file in folder.files((".csv",))]
    if not headers:
        raise ValueError(f"{folder}: folder has no file ending in .csv")
    for header in headers:
        header.require(*PRICE_COLUMNS)
    return symbol_bars(headers, config)


def csmd_news(root: File) -> list[NewsFile]:
    """The news files, sorted by stock and day; none where there is no folder of news."""
    folder = root.child("news")
    if not folder.is_folder():
        return []
    found = []
    for stock in (child for child in folder.children() if child.is_folder()):
        for file in stock.files((".csv",)):
            day = day_of(file)
            if day is None:
                raise ValueError(f"{file}: the file name must be a day, YYYY-MM-DD, got {file.stem!r}")
            Header(file, column_names(file)).require("created_at", "text")
            found.append(NewsFile(file=file, time_column="created_at", symbol=stock.name, day=day))
    return found
