"""What vendors write: per vendor the names of its columns, how stamps are written, and what is no number of a bar.

A map is named (`vendor: tushare`), or found from the names of the columns: `signature` are those that tell it. What no
map fits is read by common names (`ALIASES`), if these say which column is what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """How a vendor writes tables of bars."""

    about: str
    columns: Mapping[str, Names]
    """Our name -> what the vendor calls the column, the first that a table has; names are compared without case."""
    signature: Names = ()
    """Columns that only this vendor has: a table with all of them is read by this map without being told; none: only
    where it is named."""
    leave_out: Names = ()
    """Columns that are no numbers of a bar: names and codes, other stamps, text."""
    interval: str = ""
    """Column that says how long a bar is; none: no table says it."""
    absent: Names = ()
    """Columns of bars that some tables of the vendor lack: missing in every row."""
    headers: tuple[Names, ...] = ()
    """The names, in order, of tables without a line of names."""
    symbol_pattern: str | None = None
    """What the symbol is in the name of a file, and how long bars are (interval); None: as for any other file."""
    text_files: bool = False
    """Whether .txt and .tsv files are tables."""
    needs: Names = field(default=("timestamp", "open", "high", "low", "close"))


_PLAIN = {name: (name,) for name in ("open", "high", "low", "close", "volume")}
_KLINES: Names = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count", "taker_buy_volume",
    "taker_buy_quote_volume", "ignore",
)  # fmt: skip

VENDORS: dict[str, Vendor] = {
    "yfinance": Vendor(
        about="yf.download(...).to_csv() with three lines of names, one or many tickers; Ticker.history()",
        columns={"timestamp": ("date", "datetime"), "adj_close": ("adj close",), **_PLAIN},
        signature=("date", "dividends", "stock splits"),
    ),
    "akshare": Vendor(
        about="stock_zh_a_hist and its kin: Chinese names, volume in lots of 100 as it is written",
        columns={
            "timestamp": ("日期", "时间"),
            "symbol": ("股票代码", "代码"),
            "open": ("开盘", "开盘价"),
            "high": ("最高", "最高价"),
            "low": ("最低", "最低价"),
            "close": ("收盘", "收盘价"),
            "volume": ("成交量",),
            "amount": ("成交额",),
            "amplitude": ("振幅",),
            "pct_change": ("涨跌幅",),
            "change": ("涨跌额",),
            "turnover": ("换手率",),
            "vwap": ("均价",),
        },
        signature=("开盘", "收盘", "最高", "最低"),
        leave_out=("股票名称", "名称"),
    ),
    "tushare": Vendor(
        about="daily, weekly, stk_mins: newest first, days as yyyymmdd, volume in lots and amount in thousands",
        columns={
            "timestamp": ("trade_date", "trade_time"),
            "symbol": ("ts_code",),
            "volume": ("vol",),
            **{name: (name,) for name in ("open", "high", "low", "close", "amount")},
        },
        signature=("ts_code", "vol"),
    ),
    "baostock": Vendor(
        about="query_history_k_data_plus: days, or minutes as yyyymmddHHMMSSsss in the column time",
        columns={"timestamp": ("time", "date"), "symbol": ("code",), "amount": ("amount",), **_PLAIN},
        signature=("date", "code", "adjustflag"),
        leave_out=("date",),
    ),
    "binance": Vendor(
        about="data.binance.vision: klines with or without names, milliseconds until 2024 and microseconds from 2025",
        columns={"timestamp": ("open_time", "open time"), "amount": ("quote_volume", "quote asset volume"), **_PLAIN},
        signature=("open_time", "close_time", "taker_buy_volume"),
        leave_out=("close_time", "close time", "ignore"),
        headers=(_KLINES,),
        symbol_pattern=r"(?P<symbol>[A-Z0-9_]+)-(?P<interval>\d+(?:s|m|h|d|w|mo))-\d{4}-\d{2}(?:-\d{2})?",
    ),
    "stooq": Vendor(
        about="downloads (aapl_us_d.csv) and bulk files (.txt, <TICKER>, <DATE>, <TIME>); indices have no volume",
        columns={
            "timestamp": ("<date>", "date", "data"),
            "time_of_day": ("<time>", "time", "czas"),
            "symbol": ("<ticker>",),
            "open": ("<open>", "open", "otwarcie"),
            "high": ("<high>", "high", "najwyzszy"),
            "low": ("<low>", "low", "najnizszy"),
            "close": ("<close>", "close", "zamkniecie"),
            "volume": ("<vol>", "volume", "wolumen"),
        },
        signature=("<ticker>", "<date>", "<close>"),
        leave_out=("<per>", "<openint>"),
        interval="<per>",
        absent=("volume",),
        symbol_pattern=r"(?P<symbol>.+?)(?:_(?P<interval>[dwm]))?",
        text_files=True,
    ),
    "kronos": Vendor(
        about="the files of Kronos' examples: timestamps as 2019/11/26 9:35; ticker, volume, amount may be absent",
        columns={"timestamp": ("timestamps",), "amount": ("amount",), **_PLAIN},
        absent=("volume",),
    ),
    "ccxt": Vendor(
        about="fetch_ohlcv rows with the header timestamp,open,...: milliseconds, the pair in the name of the file",
        columns={"timestamp": ("timestamp", "date", "datetime"), **_PLAIN},
        symbol_pattern=r"(?P<symbol>[A-Za-z0-9]+[-_][A-Za-z0-9]+(?:[-_][A-Z]+)?)(?:[-_](?P<interval>\d+(?:s|m|h|d|w|M)))?",
    ),
    "alpaca": Vendor(
        about="bars.df: symbol, timestamp, trade_count, vwap; or raw bars with the names t, o, h, l, c, v, n, vw",
        columns={
            "timestamp": ("timestamp", "t"),
            "symbol": ("symbol", "s"),
            "open": ("open", "o"),
            "high": ("high", "h"),
            "low": ("low", "l"),
            "close": ("close", "c"),
            "volume": ("volume", "v"),
            "trade_count": ("trade_count", "n"),
            "vwap": ("vwap", "vw"),
        },
        signature=("t", "o", "h", "l", "c", "v"),
    ),
}

# our name -> common names of tables that no map fits, in lower case with _ for blanks
ALIASES: dict[str, Names] = {
    "timestamp": ("timestamp", "timestamps", "datetime", "date", "time", "trade_date", "trade_time", "day", "open_time",
                  "", "unnamed:_0", "__index_level_0__"),
    "symbol": ("symbol", "ticker", "tic", "instrument", "ts_code", "code", "stock_code", "secid", "permno", "pair",
               "asset", "__index_level_1__"),
    "open": ("open", "open_price", "open_"),
    "high": ("high", "high_price", "high_"),
    "low": ("low", "low_price", "low_"),
    "close": ("close", "close_price", "close_", "last"),
    "volume": ("volume", "vol", "volume_"),
    "adj_close": ("adj_close", "adjusted_close", "adjclose"),
    "amount": ("amount", "turnover_value", "quote_volume"),
}  # fmt: skip


def plain_name(name: str) -> str:
    """The name of a column in lower case with _ for blanks: "Adj Close" is adj_close."""
    return "_".join(name.lower().split())


def vendor_of(names: list[str]) -> str | None:
    """The vendor whose signature these columns are, None where there is none."""
    have = {name.lower().strip() for name in names}
    for name, vendor in VENDORS.items():
        if vendor.signature and have.issuperset(vendor.signature):
            return name
    return None
