"""The same four bars in every layout, written by hand: what the tests of the readers read, spoil and compare."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pandas as pd

DAYS = ("2020-01-02", "2020-01-03", "2020-01-06")
NUMBERS = ("open", "high", "low", "close", "volume")
# symbol -> day -> open, high, low, close, volume; BB has no bar on the second day
BARS = {
    "AA": {
        "2020-01-02": (10.0, 11.5, 9.5, 10.25, 1000.0),
        "2020-01-03": (10.5, 12.0, 10.0, 11.75, 2000.0),
        "2020-01-06": (11.5, 12.5, 11.0, 12.25, 1500.0),
    },
    "BB": {
        "2020-01-02": (20.0, 21.5, 19.5, 20.25, 300.0),
        "2020-01-06": (21.0, 22.5, 20.5, 22.25, 500.0),
    },
}
ROWS = [(symbol, day, values) for symbol, bars in BARS.items() for day, values in bars.items()]


def long_frame() -> pd.DataFrame:
    rows = [(pd.Timestamp(day), symbol, *values) for symbol, day, values in ROWS]
    return pd.DataFrame(rows, columns=["timestamp", "symbol", *NUMBERS])


def text_of(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def write_long_csv(folder: Path) -> None:
    lines = [f"{day},{symbol},{text_of(values)}" for symbol, day, values in ROWS]
    (folder / "bars.csv").write_text("\n".join(["timestamp,symbol," + ",".join(NUMBERS), *lines, ""]))


def write_long_parquet(folder: Path) -> None:
    long_frame().to_parquet(folder / "bars.parquet")


def write_vendor(folder: Path) -> None:
    for symbol, bars in BARS.items():
        lines = [f"{day} 16:00:00-05:00,{text_of(values)}" for day, values in bars.items()]
        (folder / f"NASDAQ_{symbol}_30Y.csv").write_text("\n".join([",Open,High,Low,Close,Volume", *lines, ""]))


def write_kronos(folder: Path) -> None:
    for symbol, bars in BARS.items():
        lines = [f"{day} 00:00:00,{text_of(values)},1.0" for day, values in bars.items()]
        header = "timestamps,open,high,low,close,volume,amount"
        (folder / f"{symbol}.csv").write_text("\n".join([header, *lines, ""]))


def day_frame(day: str, factors: int = 3) -> pd.DataFrame:
    rows = [
        (symbol, *(float(i) for i in range(factors)), 0.5, 0.25, 0.125, 0, 10.0, *values)
        for symbol, at, values in ROWS
        if at == day
    ]
    names = [str(i) for i in range(factors)]
    columns = ["sid", *names, "intra30m", "nextT1d", "ema1d", "luld", "ADV50", *NUMBERS]
    return pd.DataFrame(rows, columns=columns)


def write_days(folder: Path) -> None:
    for number, day in enumerate(DAYS):
        name = day if number % 2 else day.replace("-", "")
        day_frame(day).to_parquet(folder / f"{name}.parquet")


def write_csmd(folder: Path) -> None:
    (folder / "price").mkdir()
    for symbol, bars in BARS.items():
        lines = [f"{day},{text_of(v[:4])},{v[3]:g},{v[4]:g}" for day, v in bars.items()]
        text = "\n".join(["Date,Open,High,Low,Close,Adj Close,Volume", *lines, ""])
        (folder / "price" / f"{symbol}.csv").write_text(text, encoding="utf-8-sig")
        (folder / "news" / symbol).mkdir(parents=True)
        news = f"code_name,ticker,created_at,text\n{symbol},sh.{symbol},2020-01-03,{symbol} rises\n"
        (folder / "news" / symbol / "2020-01-03.csv").write_text(news, encoding="utf-8-sig")


def write_qlib(folder: Path) -> None:
    for name in ("calendars", "instruments", "features"):
        (folder / name).mkdir()
    (folder / "calendars" / "day.txt").write_text("\n".join(DAYS) + "\n")
    spans = [f"{symbol}\t{min(bars)}\t{max(bars)}" for symbol, bars in BARS.items()]
    (folder / "instruments" / "all.txt").write_text("\n".join(spans) + "\n")
    for symbol, bars in BARS.items():
        target = folder / "features" / symbol.lower()
        target.mkdir()
        missing = (float("nan"),) * len(NUMBERS)
        for position, name in enumerate(NUMBERS):
            values = [bars.get(day, missing)[position] for day in DAYS]
            content = struct.pack(f"<{len(values) + 1}f", 0.0, *values)
            (target / f"{name}.day.bin").write_bytes(content)


def write_acl18(folder: Path) -> None:
    write_long_parquet(folder)
    stamp = pd.to_datetime(["2020-01-02 12:00", "2020-01-03 12:00"]).tz_localize("UTC")
    news = pd.DataFrame({"timestamp": stamp, "symbol": ["AA", "BB"], "text": ["up", "down"], "author": ["x", "y"]})
    news.to_parquet(folder / "news.parquet")
    (folder / "dates.csv").write_text("2020-01-02\n2020-01-03\n")


def write_dataset(folder: Path) -> None:
    (folder / "bars").mkdir()
    write_long_parquet(folder / "bars")


WRITERS: dict[str, Callable[[Path], None]] = {
    "long csv": write_long_csv,
    "long": write_long_parquet,
    "symbol": write_vendor,
    "kronos": write_kronos,
    "day": write_days,
    "csmd": write_csmd,
    "qlib": write_qlib,
    "acl18": write_acl18,
    "dataset": write_dataset,
}
