"""Layouts: the same bars come out of each, found out from the files or named."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

from factor_data import LAYOUTS, ReadConfig, read_bars, read_news
from factor_data.cli import main
from layout_samples import (
    BARS,
    DAYS,
    NUMBERS,
    WRITERS,
    long_frame,
    write_csmd,
    write_kronos,
    write_long_csv,
    write_long_parquet,
    write_qlib,
    write_vendor,
)


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("is_named", [False, True])
def test_every_layout_gives_the_bars_that_were_written(layout: str, is_named: bool, tmp_path: Path) -> None:
    WRITERS[layout](tmp_path)
    panel = read_bars(tmp_path, layout.removesuffix(" csv") if is_named else "auto")
    assert panel.symbols.tolist() == sorted(BARS)
    for row in panel.to_pandas().to_dict("records"):
        expected = BARS[row["symbol"]][f"{row['timestamp']:%Y-%m-%d}"]
        assert tuple(row[name] for name in NUMBERS) == expected
    assert panel.num_rows == sum(map(len, BARS.values()))


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_is_read_through_a_file_system_that_is_not_local(layout: str, tmp_path: Path) -> None:
    WRITERS[layout](tmp_path)
    memory = fsspec.filesystem("memory")
    try:
        memory.put(f"{tmp_path}/", "/market/", recursive=True)
        there, here = read_bars("memory://market"), read_bars(tmp_path)
    finally:
        memory.rm("/market", recursive=True)
    pd.testing.assert_frame_equal(there.to_pandas(), here.to_pandas())


@pytest.mark.parametrize("columns", ["volume", ""])
def test_kronos_files_may_lack_the_amount_or_volume_and_amount(columns: str, tmp_path: Path) -> None:
    """What is absent is missing, also in what an import makes of it."""
    source, target = tmp_path / "source", tmp_path / "imported"
    source.mkdir()
    write_kronos(source)
    expected = read_bars(source).to_pandas()
    for file in source.glob("*.csv"):
        frame = pd.read_csv(file, dtype=str)
        frame[["timestamps", "open", "high", "low", "close", *columns.split()]].to_csv(file, index=False)
    assert main(["import", str(source), str(target)]) == 0
    for read in (read_bars(source).to_pandas(), read_bars(target).to_pandas()):
        prices = ["timestamp", "symbol", "open", "high", "low", "close"]
        pd.testing.assert_frame_equal(read[prices], expected[prices])
        assert "amount" not in read
        assert read["volume"].equals(expected["volume"] if columns else expected["volume"] * np.nan)


def test_a_file_url_is_the_file(tmp_path: Path) -> None:
    write_long_parquet(tmp_path)
    path = tmp_path / "bars.parquet"
    pd.testing.assert_frame_equal(read_bars(path.as_uri()).to_pandas(), read_bars(path).to_pandas())


@pytest.mark.parametrize("url", ["nosuch://bucket/bars", "memory://nowhere", "a\0b"])
def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"nosuch|nowhere|NUL"):
        read_bars(url)


def both(first: Callable[[Path], None], second: Callable[[Path], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        first(folder)
        second(folder)

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (both(write_long_csv, write_vendor), r"ambiguous: .*csv looks like 'symbol', .*bars.csv like 'long'"),
        (both(write_vendor, write_kronos), r"ambiguous: .*AA.csv looks like 'kronos', .*like 'symbol'"),
        (both(write_csmd, write_qlib), r"ambiguous, fits \['qlib', 'csmd'\]"),
        (
            both(write_csmd, write_long_csv),
            r"ambiguous: the folder is 'csmd', bars.csv in it looks like 'long'",
        ),
        (
            lambda f: (f / "a.csv").write_text("x,y\n1,2\n"),
            r"a.csv: fits no layout of bars.*found \['x', 'y'\]",
        ),
    ],
)
def test_layouts_that_cannot_be_told_are_refused(write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_bars(tmp_path)


def test_an_unknown_layout_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"layout must be one of \['auto', 'long', .*got 'broad'"):
        read_bars(tmp_path, "broad")
    for layout in sorted(set(LAYOUTS) - {"long", "symbol", "kronos", "day", "wide"}):
        with pytest.raises(ValueError, match=f"is no folder of layout '{layout}'"):
            read_bars(tmp_path, layout)


def test_folders_of_different_layouts_are_not_read_together(tmp_path: Path) -> None:
    for name, write in (("a", write_csmd), ("b", write_qlib)):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    with pytest.raises(ValueError, match=r"layouts differ: .*a has csmd, .*b has qlib"):
        read_bars([tmp_path / "a", tmp_path / "b"])


def vendor_file(folder: Path, *lines: str, name: str = "NASDAQ_AA_30Y.csv", header: str = "") -> Path:
    path = folder / name
    path.write_text("\n".join([header or ",Open,High,Low,Close,Volume", *lines, ""]))
    return path


def test_offsets_may_follow_the_daylight_saving_of_one_exchange(tmp_path: Path) -> None:
    winter, summer = "2020-03-06 16:00:00-05:00,1,1,1,1,1", "2020-03-09 16:00:00-04:00,1,1,1,1,1"
    panel = read_bars(vendor_file(tmp_path, winter, summer))
    assert panel.dates.astype("datetime64[m]").astype(str).tolist() == [
        "2020-03-06T16:00",
        "2020-03-09T16:00",
    ]
    with pytest.raises(ValueError, match=r"time zones differ between rows: row 1 is .*row 2 is"):
        read_bars(vendor_file(tmp_path, winter, summer.replace("03-09", "03-07")))


def test_offsets_of_files_read_together_must_be_of_one_exchange(tmp_path: Path) -> None:
    vendor_file(tmp_path, "2020-01-06 16:00:00-05:00,1,1,1,1,1")
    vendor_file(tmp_path, "2020-07-06 16:00:00-04:00,1,1,1,1,1", name="NASDAQ_BB_30Y.csv")
    assert read_bars(tmp_path).num_rows == 2
    vendor_file(tmp_path, "2020-07-06 16:00:00+01:00,1,1,1,1,1", name="NASDAQ_CC_30Y.csv")
    with pytest.raises(ValueError, match=r"between files: .*NASDAQ_BB_30Y.csv has -04:00, .*CC_30Y.csv has \+01:00"):
        read_bars(tmp_path)


@pytest.mark.parametrize(
    ("name", "pattern", "symbol"),
    [
        ("NYSE_BRK.A_30Y", None, "BRK.A"),
        ("NYSE_BF_B_5D", None, "BF_B"),
        ("sh600000", None, "sh600000"),
        ("NYSE_BRK.A", None, "NYSE_BRK.A"),
        ("day-600000-x", r"day-(?P<symbol>\d+)-.*", "600000"),
    ],
)
def test_the_symbol_is_a_part_of_the_file_name(name: str, pattern: str | None, symbol: str, tmp_path: Path) -> None:
    path = vendor_file(tmp_path, "2020-01-06,1,1,1,1,1", name=f"{name}.csv")
    assert read_bars(path, config=ReadConfig(symbol_pattern=pattern)).symbols.tolist() == [symbol]


def test_file_names_that_give_no_symbol_or_one_twice_are_refused(tmp_path: Path) -> None:
    vendor_file(tmp_path, "2020-01-06,1,1,1,1,1")
    with pytest.raises(ValueError, match=r"NASDAQ_AA_30Y' does not match symbol_pattern"):
        read_bars(tmp_path, config=ReadConfig(symbol_pattern=r"(?P<symbol>\d+)"))
    vendor_file(tmp_path, "2020-01-06,1,1,1,1,1", name="NYSE_AA_30Y.csv")
    with pytest.raises(ValueError, match=r"NYSE_AA_30Y.csv and .*NASDAQ_AA_30Y.csv both hold the symbol 'AA'"):
        read_bars(tmp_path)


@pytest.mark.parametrize("pattern", ["(", "no group"])
def test_a_pattern_without_a_symbol_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="symbol_pattern"):
        ReadConfig(symbol_pattern=pattern)


def test_symbols_without_bars_are_warned_of_and_all_of_them_refused(tmp_path: Path) -> None:
    vendor_file(tmp_path, name="NYSE_BB_30Y.csv")
    with pytest.raises(ValueError, match=r"NYSE_BB_30Y.csv: holds no row"):
        read_bars(tmp_path)
    vendor_file(tmp_path, "2020-01-06,1,1,1,1,1")
    with pytest.warns(UserWarning, match=r"1 of 2 files have a header and no row.*NYSE_BB_30Y.csv"):
        assert read_bars(tmp_path).symbols.tolist() == ["AA"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Date,Open,High,Low,Close", "column 'volume' is missing"),
        ("Date,Open,High,Low,Close,Volume,close", "columns repeat when case and blanks are ignored"),
        ("Date,Time,Open,High,Low,Close,Volume", r"needs one time column .*found \['Date', 'Time'\]"),
    ],
)
def test_a_vendor_header_that_is_doubtful_is_refused(header: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_bars(vendor_file(tmp_path, header=header), "symbol")


def test_a_table_of_many_symbols_that_does_not_name_them_is_not_taken_for_one_symbol(tmp_path: Path) -> None:
    frame = long_frame().drop(columns="symbol")
    frame.to_csv(tmp_path / "bars.csv", index=False)
    with pytest.raises(ValueError, match=r"2 duplicate \(symbol, timestamp\): bars at 2020-01-02"):
        read_bars(tmp_path)
    with pytest.raises(ValueError, match="column 'symbol' is missing"):
        read_bars(tmp_path, "long")


def test_csmd_prices_need_their_seven_columns(tmp_path: Path) -> None:
    write_csmd(tmp_path)
    assert list(read_bars(tmp_path).columns) == ["open", "high", "low", "close", "adj_close", "volume"]
    path = tmp_path / "price" / "BB.csv"
    path.write_text(path.read_text(encoding="utf-8-sig").replace("Adj Close", "Adjusted"))
    with pytest.raises(ValueError, match=r"BB.csv: column 'Adj Close' is missing"):
        read_bars(tmp_path)


def test_csmd_news_belong_to_the_stock_and_day_of_their_path(tmp_path: Path) -> None:
    """Defects 2e.1, 2e.5: whether news are read followed a flag that was always true, and paths were swapped."""
    write_csmd(tmp_path)
    news = read_news(tmp_path)
    assert news["symbol"].tolist() == ["AA", "BB"]
    assert news["text"].tolist() == ["AA rises", "BB rises"]
    path = tmp_path / "news" / "BB" / "2020-01-03.csv"
    path.write_text(path.read_text(encoding="utf-8-sig").replace("2020-01-03", "2020-01-04"))
    with pytest.raises(ValueError, match=r"created_at must be on 2020-01-03.*first 1 \('2020-01-04'\)"):
        read_news(tmp_path)
    path.rename(path.with_name("3 January.csv"))
    with pytest.raises(ValueError, match=r"file name must be a day"):
        read_news(tmp_path)


def test_news_lie_beside_bars_in_acl18(tmp_path: Path) -> None:
    WRITERS["acl18"](tmp_path)
    assert read_news(tmp_path, calendar=read_bars(tmp_path).dates)["text"].tolist() == ["up", "down"]
    (tmp_path / "news.parquet").unlink()
    with pytest.raises(ValueError, match="column 'text' is missing"):
        read_news(tmp_path / "bars.parquet")


def test_a_layout_without_news_is_refused(tmp_path: Path) -> None:
    write_qlib(tmp_path)
    with pytest.raises(ValueError, match="holds no news"):
        read_news(tmp_path)
    with pytest.raises(ValueError, match="layout 'day' has no news"):
        read_news(tmp_path, layout="day")


def qlib_field(folder: Path, *values: float, name: str = "close") -> None:
    (folder / "features" / "bb" / f"{name}.day.bin").write_bytes(struct.pack(f"<{len(values)}f", *values))


def test_a_qlib_field_may_begin_anywhere_in_the_calendar(tmp_path: Path) -> None:
    write_qlib(tmp_path)
    qlib_field(tmp_path, 2.0, 7.0)
    qlib_field(tmp_path, 2.0, 1.5, name="factor")
    for symbol in ("aa",):
        content = struct.pack("<4f", 0.0, 1.0, 1.0, 1.0)
        (tmp_path / "features" / symbol / "factor.day.bin").write_bytes(content)
    panel = read_bars(tmp_path)
    table = panel.to_pandas().set_index(["symbol", "timestamp"]).loc["BB"]
    np.testing.assert_array_equal(table["close"], [np.nan, 7.0])
    np.testing.assert_array_equal(table["factor"], [np.nan, 1.5])


def test_qlib_bars_outside_the_listing_do_not_count(tmp_path: Path) -> None:
    write_qlib(tmp_path)
    path = tmp_path / "instruments" / "all.txt"
    path.write_text(f"AA\t{DAYS[0]}\t{DAYS[0]}\nAA\t{DAYS[2]}\t2199-12-31\nBB\t{DAYS[0]}\t{DAYS[2]}\n")
    table = read_bars(tmp_path).to_pandas()
    assert table.loc[table["symbol"] == "AA", "timestamp"].dt.strftime("%Y-%m-%d").tolist() == [
        DAYS[0],
        DAYS[2],
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.5, 1.0), r"close.day.bin: starts at position 0.5"),
        ((-1.0, 1.0), "starts at position -1"),
        ((2.0, 1.0, 1.0), "starts at position 2 with 2 values, the calendar has 3 stamps"),
        ((np.nan, 1.0), "starts at position nan"),
        ((0.0, np.inf, 1.0), r"close.day.bin: is infinite in 1 row, first 1"),
    ],
)
def test_a_qlib_field_that_does_not_fit_its_calendar_is_refused(
    values: tuple[float, ...], message: str, tmp_path: Path
) -> None:
    write_qlib(tmp_path)
    qlib_field(tmp_path, *values)
    with pytest.raises(ValueError, match=message):
        read_bars(tmp_path)


def test_a_qlib_folder_with_parts_missing_is_refused(tmp_path: Path) -> None:
    write_qlib(tmp_path)
    (tmp_path / "calendars" / "5min.txt").write_text("2020-01-02 09:35:00\n")
    with pytest.raises(ValueError, match=r"say which frequency to read, found \['5min', 'day'\]"):
        read_bars(tmp_path)
    assert read_bars(tmp_path, config=ReadConfig(frequency="day")).num_rows == 5
    (tmp_path / "features" / "bb" / "volume.day.bin").unlink()
    with pytest.raises(ValueError, match=r"bb: field 'volume' is missing"):
        read_bars(tmp_path, config=ReadConfig(frequency="day"))
    (tmp_path / "instruments" / "all.txt").write_text(f"CC\t{DAYS[0]}\t{DAYS[2]}\n")
    with pytest.raises(ValueError, match=r"features/cc: no such folder, instruments/ lists 'CC'"):
        read_bars(tmp_path, config=ReadConfig(frequency="day"))
    (tmp_path / "calendars" / "day.txt").write_text(f"{DAYS[1]}\n{DAYS[0]}\n")
    with pytest.raises(ValueError, match=r"day.txt: stamps must be sorted and unique.*first 2"):
        read_bars(tmp_path, config=ReadConfig(frequency="day"))
