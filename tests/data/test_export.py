"""What is exported is read back as it was, by us and by the format's own rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.conftest import random_frame
from factor_data import Panel, Workers, export_bars, exporting, read_bars, read_news
from factor_data.cli import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    frame = random_frame(num_symbols=4, num_dates=30).sort_values(["timestamp", "symbol"])
    frame.to_parquet(folder / "bars.parquet", index=False)
    return folder


@pytest.mark.parametrize("layout", ["long", "symbol", "qlib"])
@pytest.mark.parametrize("max_bytes", [2**28, 2**12])
def test_every_layout_is_read_back_by_itself(
    layout: str, max_bytes: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BUDGET", Workers(max_bytes=max_bytes))
    assert main(["export", str(source), str(tmp_path / "out"), "--layout", layout]) == 0
    there, here = read_bars(tmp_path / "out").to_pandas(), read_bars(source).to_pandas()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]
    if layout == "qlib":
        assert np.allclose(there[list(here.columns[2:])], here[here.columns[2:]], rtol=1e-6, equal_nan=True)
        here = here.astype(dict.fromkeys(here.columns[2:], np.float32)).astype(dict.fromkeys(here.columns[2:], float))
    pd.testing.assert_frame_equal(there[here.columns], here)


def test_qlib_has_a_calendar_spans_and_fields_from_the_first_bar_of_a_symbol(source: Path, tmp_path: Path) -> None:
    export_bars(source, tmp_path / "out", "qlib")
    calendar = (tmp_path / "out" / "calendars" / "day.txt").read_text().split()
    panel = read_bars(source)
    assert calendar == [str(date)[:10] for date in panel.dates]
    line = (tmp_path / "out" / "instruments" / "all.txt").read_text().splitlines()[3]
    rows = panel.to_pandas().query("symbol == 'S3'")
    assert line == f"S3\t{rows['timestamp'].iloc[0]:%Y-%m-%d}\t{rows['timestamp'].iloc[-1]:%Y-%m-%d}"
    field = np.fromfile(tmp_path / "out" / "features" / "s3" / "close.day.bin", dtype="<f4")
    assert field[0] == calendar.index(f"{rows['timestamp'].iloc[0]:%Y-%m-%d}")
    assert field[1] == np.float32(rows["close"].iloc[0])


def test_minutes_of_qlib_have_their_time(tmp_path: Path) -> None:
    stamps = pd.date_range("2024-01-02 09:35", periods=6, freq="5min")
    frame = pd.DataFrame({"timestamp": stamps, "symbol": "con", **dict.fromkeys(["open", "high", "low", "close"], 1.5)})
    (tmp_path / "source").mkdir()
    frame.assign(volume=7.0).to_csv(tmp_path / "source" / "bars.csv", index=False)
    export_bars(tmp_path / "source", tmp_path / "out", "qlib")
    assert (tmp_path / "out" / "calendars" / "5min.txt").read_text().startswith("2024-01-02 09:35:00\n")
    assert (tmp_path / "out" / "features" / "_qlib_con" / "close.5min.bin").exists()
    assert read_bars(tmp_path / "out").num_rows == 6


def write_symbols(folder: Path, *symbols: str) -> Path:
    folder.mkdir()
    frame = pd.concat([random_frame(1, 5, missing=0.0).assign(symbol=symbol) for symbol in symbols])
    frame.to_parquet(folder / "bars.parquet", index=False)
    assert isinstance(read_bars(folder), Panel)
    return folder


@pytest.mark.parametrize("layout", ["symbol", "qlib"])
@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (("../x",), "symbol '../x' cannot be the name of a file"),
        (("A/B",), "cannot be the name of a file"),
        ((".x",), "cannot be the name of a file"),
        (("é" * 200,), "cannot be the name of a file"),  # 400 bytes
        (("ab", "AB"), "symbols 'AB' and 'ab' differ by case alone"),
    ],
)
def test_symbols_that_are_no_names_are_refused_and_nothing_is_written(
    symbols: tuple[str, ...], message: str, layout: str, tmp_path: Path
) -> None:
    source = write_symbols(tmp_path / "source", *symbols)
    with pytest.raises(ValueError, match=message):
        export_bars(source, tmp_path / "out", layout)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    export_bars(source, tmp_path / "out", "long")
    assert read_bars(tmp_path / "out").symbols.tolist() == sorted(symbols)


def test_an_unknown_layout_and_a_target_that_exists_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"layout must be one of \['long', .*'csmd'\], got 'day'"):
        export_bars(source, tmp_path / "out", "day")
    with pytest.raises(ValueError, match="exists already"):
        export_bars(source, tmp_path, "long")


def test_one_csv_of_kronos_holds_adjusted_prices_of_all_symbols_and_is_read_back(tmp_path: Path) -> None:
    """By hand: S1 was split two for one on the second bar."""
    stamps = pd.to_datetime(["2019-11-26 09:35", "2019-11-26 09:40"])
    rows = [("S1", [20.0, 10.0], [10.0, 10.0], [100.0, 200.0]), ("S2", [5.0, 6.0], [5.0, 6.0], [7.0, 8.0])]
    frames = [
        pd.DataFrame(
            {"timestamp": stamps, "symbol": symbol, **dict.fromkeys(["open", "high", "low", "close"], close)}
        ).assign(adj_close=adjusted, volume=volume, note=1.0)
        for symbol, close, adjusted, volume in rows
    ]
    (tmp_path / "source").mkdir()
    pd.concat(frames).to_parquet(tmp_path / "source" / "bars.parquet", index=False)
    assert main(["export", str(tmp_path / "source"), str(tmp_path / "out"), "--layout", "kronos"]) == 0
    assert (tmp_path / "out" / "kline.csv").read_text().splitlines() == [
        "timestamps,ticker,open,high,low,close,volume",
        "2019/11/26 9:35,S1,10.0,10.0,10.0,10.0,200.0",
        "2019/11/26 9:40,S1,10.0,10.0,10.0,10.0,200.0",
        "2019/11/26 9:35,S2,5.0,5.0,5.0,5.0,7.0",
        "2019/11/26 9:40,S2,6.0,6.0,6.0,6.0,8.0",
    ]
    back = read_bars(tmp_path / "out").to_pandas()
    assert back["symbol"].tolist() == ["S1", "S1", "S2", "S2"]
    assert back["timestamp"].tolist() == [*stamps, *stamps]
    prices = pd.read_csv(tmp_path / "out" / "kline.csv").drop(columns="volume")
    prices.to_csv(tmp_path / "out" / "kline.csv", index=False)
    assert read_bars(tmp_path / "out").to_pandas()["volume"].isna().all(), "volume may be absent, as in a file a symbol"


def test_csmd_has_a_file_per_stock_and_per_stock_and_day_of_news(tmp_path: Path) -> None:
    frame = random_frame(num_symbols=2, num_dates=15, missing=0.0)
    stamps = ["2020-01-03 09:30", "2020-01-03 15:00", "2020-01-04 10:00"]
    news = pd.DataFrame({"timestamp": pd.to_datetime(stamps), "symbol": ["S1", "S1", "S0"], "text": ["a, b", "c", "d"]})
    for name, table in (("bars", frame), ("news", news)):
        (tmp_path / "source" / name).mkdir(parents=True)
        table.to_parquet(tmp_path / "source" / name / "all.parquet", index=False)
    export_bars(tmp_path / "source", tmp_path / "out", "csmd")
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.csv"))
    assert files == ["news/S0/2020-01-04.csv", "news/S1/2020-01-03.csv", "price/S0.csv", "price/S1.csv"]
    for path in files:
        assert (tmp_path / "out" / path).read_bytes().startswith(b"\xef\xbb\xbf"), "a BOM, once, as in CSMD"
    assert (tmp_path / "out" / "news" / "S1" / "2020-01-03.csv").read_text(encoding="utf-8-sig").splitlines() == [
        "code_name,ticker,created_at,text",
        'S1,S1,2020-01-03 09:30:00,"a, b"',
        "S1,S1,2020-01-03 15:00:00,c",
    ]
    pd.testing.assert_frame_equal(read_news(tmp_path / "out"), read_news(tmp_path / "source"))
    there, here = read_bars(tmp_path / "out").to_pandas(), read_bars(tmp_path / "source").to_pandas()
    columns = ["timestamp", "symbol", "open", "high", "low", "close", "volume"]
    pd.testing.assert_frame_equal(there[columns], here[columns])


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        ("kronos", {"timestamp": pd.Timestamp("2020-01-02 09:30:15")}, "'kronos' writes minutes"),
        ("csmd", {"timestamp": pd.Timestamp("2020-01-02 09:30")}, "'csmd' writes days"),
        ("csmd", {"symbol": "A/B"}, "cannot be the name of a file"),
    ],
)
def test_what_a_fixed_layout_cannot_hold_is_refused(
    layout: str, change: dict[str, object], message: str, tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    random_frame(1, 1, missing=0.0).assign(**change).to_parquet(tmp_path / "source" / "bars.parquet", index=False)
    with pytest.raises(ValueError, match=message):
        export_bars(tmp_path / "source", tmp_path / "out", layout)
    assert not (tmp_path / "out").exists()
