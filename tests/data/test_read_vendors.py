"""What vendors write is read without being told, or by a map; guesses are named, and what is unknown is asked for."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from factor_data import Panel, ReadConfig, import_data, iter_bar_tables, read_bars
from factor_data.cli import main
from vendor_samples import DAYS, FILES


@pytest.mark.parametrize("vendor", FILES)
def test_what_a_vendor_writes_is_read_and_imported_without_being_told(
    vendor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, text in FILES[vendor].items():
        (source / name).write_text(text, encoding="utf-8")
    panel = quietly(source)
    first = panel.symbols[0]
    closes = panel.columns["close"][panel.symbol == first]
    assert closes.tolist() == [10.0, 11.0, 12.0]
    assert first in ("AAPL", "AAPL.US", "aapl", "09988", "BTC-USDT")
    assert panel.dates.min() > np.datetime64("2019-01-01")
    assert main(["import", str(source), str(tmp_path / "data")]) == 0
    assert "guessed layout: " in capsys.readouterr().out
    pd.testing.assert_frame_equal(read_bars(tmp_path / "data").to_pandas(), panel.to_pandas())


@pytest.mark.filterwarnings("ignore:not read")
def quietly(path: Path, config: ReadConfig | None = None) -> Panel:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # columns and entries that are not read
        return read_bars(path, config=config or ReadConfig())


def read(folder: Path, vendor: str) -> Panel:
    for name, text in FILES[vendor].items():
        (folder / name).write_text(text, encoding="utf-8")
    return quietly(folder)


def test_a_ticker_has_no_bar_where_it_has_no_value(tmp_path: Path) -> None:
    table = read(tmp_path, "yfinance, many tickers").to_pandas()
    assert table.groupby("symbol").size().to_dict() == {"AAPL": 3, "MSFT": 2}
    assert list(table.columns) == ["timestamp", "symbol", "close", "high", "low", "open", "volume"]


def test_columns_of_vendors_have_our_names_and_stamps_of_other_things_are_no_numbers(tmp_path: Path) -> None:
    columns = {}
    for number, vendor in enumerate(("akshare", "tushare, newest first", "binance, no names, ms", "alpaca, raw")):
        folder = tmp_path / str(number)
        folder.mkdir()
        columns[vendor] = set(read(folder, vendor).columns) - {"open", "high", "low", "close", "volume"}
    assert columns["akshare"] == {"amount", "amplitude", "pct_change", "change", "turnover"}
    assert columns["tushare, newest first"] == {"amount", "pre_close", "change", "pct_chg"}
    assert columns["binance, no names, ms"] == {"amount", "count", "taker_buy_volume", "taker_buy_quote_volume"}
    assert columns["alpaca, raw"] == {"trade_count", "vwap"}


def test_hours_of_stooq_and_minutes_of_baostock_are_kept(tmp_path: Path) -> None:
    for vendor, expected in (("stooq, bulk", "15:30 15:35 15:40"), ("baostock, minutes", "09:35 09:40 09:45")):
        folder = tmp_path / vendor[:5]
        folder.mkdir()
        assert read(folder, vendor).to_pandas()["timestamp"].dt.strftime("%H:%M").tolist() == expected.split()


def test_maps_that_are_named_read_what_is_not_told_by_names(tmp_path: Path) -> None:
    """An index of stooq has no volume; its name ends in _d. A bulk file ends in .txt."""
    (tmp_path / "spx_d.csv").write_text("Date,Open,High,Low,Close\n2024-01-02,10,11,9,10\n2024-01-03,11,12,10,11\n")
    with pytest.raises(ValueError, match=r"column 'volume' is missing.*or absent: \[volume\] where there is none"):
        read_bars(tmp_path)
    panel = read_bars(tmp_path, config=ReadConfig(vendor="stooq"))
    assert panel.symbols.tolist() == ["spx"]
    assert np.isnan(panel.columns["volume"]).all()
    bulk = tmp_path / "bulk"
    bulk.mkdir()
    (bulk / "aapl.us.txt").write_text(FILES["stooq, bulk"]["aapl.us.csv"])
    with pytest.raises(ValueError, match=r"those ending in \.txt or \.tsv are read with vendor=stooq"):
        read_bars(bulk)
    assert read_bars(bulk, config=ReadConfig(vendor="stooq")).symbols.tolist() == ["AAPL.US"]


def test_a_parquet_with_the_index_of_pandas_inside_is_read(tmp_path: Path) -> None:
    values = {name: [10.0, 11.0, 12.0] for name in ("open", "high", "low", "close", "volume")}
    index = pd.DatetimeIndex(DAYS)
    pd.DataFrame(values, index=index).to_parquet(tmp_path / "AAPL.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "AAPL.parquet").names
    panel = read_bars(tmp_path)
    assert (panel.symbols.tolist(), panel.dates.astype("datetime64[D]").astype(str).tolist()) == (["AAPL"], DAYS)
    both = pd.MultiIndex.from_product([index, ["AAPL", "MSFT"]])
    pd.DataFrame({name: np.arange(6.0) for name in values}, index=both).to_parquet(tmp_path / "AAPL.parquet")
    assert read_bars(tmp_path).symbols.tolist() == ["AAPL", "MSFT"]
    wide = pd.DataFrame(
        np.arange(30.0).reshape(3, 10), index=index.rename("Date"),
        columns=pd.MultiIndex.from_product([["Open", "High", "Low", "Close", "Volume"], ["AAPL", "MSFT"]]),
    )  # fmt: skip
    wide.to_parquet(tmp_path / "AAPL.parquet")
    assert read_bars(tmp_path).to_pandas()["close"].tolist() == [6.0, 16.0, 26.0, 7.0, 17.0, 27.0]


def table(rows: int = 4) -> pd.DataFrame:
    days = pd.date_range("2024-01-02", periods=rows)
    values = {name: 10.0 + np.arange(rows) for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame({"timestamp": days, "symbol": "A", **values})


@pytest.mark.parametrize("name", ["bars.parquet", "bars.csv"])
def test_flags_are_numbers_and_text_is_left_out_by_name(name: str, tmp_path: Path) -> None:
    frame = table().assign(sector="Tech", halted=[True, False, False, True], note=[None, "x", None, "y"])
    frame.to_parquet(tmp_path / name) if name.endswith("parquet") else frame.to_csv(tmp_path / name, index=False)
    with pytest.warns(UserWarning, match=r"column 'sector' \(t.*column 'note' \(t"):
        panel = read_bars(tmp_path)
    assert panel.columns["halted"].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert not {"sector", "note"} & set(panel.columns)


def test_a_column_that_is_text_in_one_file_is_left_out_of_all(tmp_path: Path) -> None:
    table().assign(symbol="A", note=None).to_csv(tmp_path / "a.csv", index=False)
    table().assign(symbol="B", note="late").to_csv(tmp_path / "b.csv", index=False)
    with pytest.warns(UserWarning, match="column 'note'"):
        assert "note" not in read_bars(tmp_path).columns


def test_newest_first_comes_out_oldest_first_in_any_batches(tmp_path: Path) -> None:
    frame = pd.concat([table(), table().assign(symbol="B")]).iloc[::-1]
    frame.to_csv(tmp_path / "bars.csv", index=False)
    expected = Panel.from_frame(frame).to_pandas()
    pd.testing.assert_frame_equal(read_bars(tmp_path).to_pandas(), expected)
    summary = import_data(tmp_path, tmp_path.parent / f"{tmp_path.name}.imported")
    assert any("rows put in order of time" in guess for guess in summary.guesses)
    frame.iloc[[3, 0, 2, 1, 4, 6, 5, 7]].to_csv(tmp_path / "bars.csv", index=False)
    with pytest.raises(ValueError, match=r"unsorted: .*sort: true"):
        read_bars(tmp_path)
    pd.testing.assert_frame_equal(read_bars(tmp_path, config=ReadConfig(sort=True)).to_pandas(), expected)
    late = pd.concat(
        [frame[frame["symbol"] == "A"], table().assign(timestamp=lambda f: f["timestamp"] + np.timedelta64(9, "D"))]
    )
    late.to_csv(tmp_path / "bars.csv", index=False)
    with pytest.raises(ValueError, match=r"unsorted: it begins newest first and does not go on so"):
        list(iter_bar_tables(tmp_path, batch_rows=4))


UNKNOWN = "Handelstag;Kurs;Eröffnung;Hoch;Tief;Stück;Firma\n31.01.2024;1.010,5;1.000,0;1.020,0;990,0;5.000;X AG\n"
SAID = {
    "layout": "symbol",
    "columns": {
        "timestamp": "Handelstag", "open": "Eröffnung", "high": "Hoch", "low": "Tief", "close": "Kurs",
        "volume": "Stück",
    },
    "time_format": "%d.%m.%Y",
    "decimal": ",",
    "thousands": ".",
    "leave_out": ["Firma"],
}  # fmt: skip


def test_a_table_of_unknown_columns_is_read_by_import_yaml_which_dataset_yaml_remembers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "X.csv").write_text(UNKNOWN, encoding="utf-8")
    assert main(["import", str(source), str(tmp_path / "data")]) == 2
    refused = capsys.readouterr().err
    assert "found ['Handelstag', 'Kurs', 'Eröffnung', 'Hoch', 'Tief', 'Stück', 'Firma']" in refused
    assert "columns: {timestamp: ?, open: ?" in refused
    assert "--column timestamp=NAME" in refused
    (source / "import.yaml").write_text(yaml.safe_dump(SAID, allow_unicode=True), encoding="utf-8")
    assert main(["import", str(source), str(tmp_path / "data")]) == 0
    row = read_bars(tmp_path / "data").to_pandas().iloc[0]
    assert (str(row["timestamp"]), row["open"], row["close"], row["volume"]) == (
        "2024-01-31 00:00:00",
        1000.0,
        1010.5,
        5000.0,
    )
    assert yaml.safe_load((tmp_path / "data" / "dataset.yaml").read_text())["import"] == SAID
    (source / "import.yaml").unlink()
    again = ["--map", str(tmp_path / "data" / "dataset.yaml")]
    assert main(["import", str(source), str(tmp_path / "again"), *again]) == 0
    assert (tmp_path / "again" / "dataset.yaml").read_text() == (tmp_path / "data" / "dataset.yaml").read_text()


def test_options_say_what_import_yaml_says(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "X.csv").write_text(UNKNOWN, encoding="utf-8")
    options = [
        "--layout",
        "symbol",
        "--time-format",
        "%d.%m.%Y",
        "--decimal",
        ",",
        "--thousands",
        ".",
        "--leave-out",
        "Firma",
    ]
    columns = [word for ours, theirs in SAID["columns"].items() for word in ("--column", f"{ours}={theirs}")]  # type: ignore[attr-defined]
    assert main(["import", str(source), str(tmp_path / "data"), *options, *columns]) == 0
    assert yaml.safe_load((tmp_path / "data" / "dataset.yaml").read_text())["import"] == SAID


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colums: {open: x}", r"import.yaml: unknown key 'colums'; did you mean 'columns'\?"),
        ("columns: [a]", "import.yaml: columns must be our names and those of the file"),
        ("leave_out: note", "import.yaml: leave_out must be a list of names, got 'note'"),
        ("sort: 1", "import.yaml: sort must be bool, got 1"),
        ("vendor: yahoo", "import.yaml: vendor must be one of .*got 'yahoo'"),
        ("layout: broad", "import.yaml: layout must be one of"),
        ("columns: {open: Nothing}", r"columns.open: there is no column 'Nothing'; found \['timestamp'"),
        ("time_zone: Mars/Olympus", "time_zone 'Mars/Olympus' is no zone"),
        ("time_format: day", "time_format must be as"),
        ("time_format: '%Y-%m-%Y'", "time_format '%Y-%m-%Y' is no format of stamps"),
        ("time_format: '%Q'", "time_format '%Q' is no format of stamps"),
        ("columns: {adj_clsoe: Adj}", "columns.adj_clsoe: did you mean 'adj_close'[?]"),
        ("columns: {Close: C}", "columns.Close: did you mean 'close'[?]"),
        ("columns: {volum: V}", "columns.volum: did you mean 'volume'[?]"),
        ("decimal: ',,'", "decimal must be one sign"),
        ("thousands: '1'", "thousands must be one sign"),
        ("skip_lines: -1", "skip_lines must not be negative"),
        ("separator: ab", "separator must be one sign"),
        ("columns: {open: close, high: close}", "gives a column of the file two names"),
        ("- a", "import.yaml: must be keys and values"),
    ],
)
def test_a_wrong_import_yaml_is_refused_by_key(text: str, message: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    table().to_csv(source / "bars.csv", index=False)
    (source / "import.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        import_data(source, tmp_path / "data")


def test_numbers_with_other_signs_are_refused_with_the_key_that_reads_them(tmp_path: Path) -> None:
    lines = "Date;Open;High;Low;Close;Volume\n2024-01-02;1,5;1,5;1,5;1,5;{}\n"
    (tmp_path / "A.csv").write_text(lines.format("7"))
    with pytest.raises(ValueError, match=r"column 'open' must be numeric.*decimal: ','"):
        read_bars(tmp_path)
    (tmp_path / "A.csv").write_text(lines.format("1 000 000"))
    with pytest.raises(ValueError, match=r"column 'volume' must be numeric.*thousands"):
        read_bars(tmp_path, config=ReadConfig(decimal=","))
    panel = read_bars(tmp_path, config=ReadConfig(decimal=",", thousands=" "))
    assert (panel.columns["open"][0], panel.columns["volume"][0]) == (1.5, 1e6)


@pytest.mark.parametrize(("written", "number"), [("1,234.5", 1234.5), ("-12,34,567", -1234567.0), (" 1,234 ", 1234.0)])
def test_thousands_are_parted_by_the_sign_that_was_said(written: str, number: float, tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text(f'Date;Open;High;Low;Close;Volume\n2024-01-02;1;1;1;1;"{written}"\n')
    assert read_bars(tmp_path, config=ReadConfig(thousands=",")).columns["volume"][0] == number


@pytest.mark.parametrize("written", ["1,5", "1,00,0", "1234,567", ",5", "1.5,000"])
def test_a_sign_of_thousands_that_parts_none_is_refused(written: str, tmp_path: Path) -> None:
    """1,5 with thousands said to be parted by a comma became 15."""
    (tmp_path / "A.csv").write_text(f"Date;Open;High;Low;Close;Volume\n2024-01-02;{written};1;1;1;1\n")
    with pytest.raises(ValueError, match=r"A.csv: column 'open' has ',' where it does not part thousands in 1 row"):
        read_bars(tmp_path, config=ReadConfig(thousands=","))


@pytest.mark.parametrize("header", ["", "Unnamed: 0"])
def test_numbers_of_rows_that_pandas_writes_are_no_column(header: str, tmp_path: Path) -> None:
    """A number that grows with time is the date to a model."""
    source = tmp_path / "source"
    source.mkdir()
    text = f"{header},timestamp,symbol,open,high,low,close,volume\n0,2024-01-02,A,1,1,1,1,5\n1,2024-01-03,A,1,1,1,1,5\n"
    (source / "bars.csv").write_text(text)
    summary = import_data(source, tmp_path / "data")
    assert [one.path for one in summary.left_out] == [f"column {header!r}"]
    assert set(read_bars(tmp_path / "data").columns) == {"open", "high", "low", "close", "volume"}


def test_a_symbol_has_one_form_whichever_way_its_accents_are_written(tmp_path: Path) -> None:
    """Some systems write E and an accent apart: that was another symbol, with a history of its own."""
    line = "{},{},1,1,1,1,5\n"
    head, one, other = "timestamp,symbol,open,high,low,close,volume\n", "\u00c9", "E\u0301"
    path = tmp_path / "bars.csv"
    path.write_text(head + line.format("2024-01-02", one) + line.format("2024-01-03", other))
    assert read_bars(path).symbols.tolist() == [one]
    path.write_text(head + line.format("2024-01-02", one) + line.format("2024-01-02", other))
    with pytest.raises(ValueError, match=r"1 duplicate \(symbol, timestamp\): \u00c9 at .*row 1 .*row 2"):
        read_bars(path)
    path.unlink()
    (tmp_path / f"{other}.csv").write_text("Date,Open,High,Low,Close,Volume\n2024-01-02,1,1,1,1,1\n")
    assert read_bars(tmp_path).symbols.tolist() == [one]


@pytest.mark.parametrize("place", ["column", "file", "folder"])
@pytest.mark.parametrize("symbol", ["A ", "A\u200b", "A" * 256])
def test_what_is_no_symbol_is_refused_wherever_it_stands(place: str, symbol: str, tmp_path: Path) -> None:
    if place != "column" and len(symbol) > 200:
        pytest.skip("file systems have no such name")
    head, values = "timestamp,open,high,low,close,volume", "2024-01-02,1,1,1,1,1"
    folder = tmp_path / f"symbol={symbol}" if place == "folder" else tmp_path
    folder.mkdir(exist_ok=True)
    name = f"{symbol}.csv" if place == "file" else "bars.csv"
    more = ("symbol,", f"{symbol},") if place == "column" else ("", "")
    (folder / name).write_text(f"{more[0]}{head}\n{more[1]}{values}\n")
    with pytest.raises(ValueError, match=r"must be printable text without blanks around it, at most 255 signs"):
        read_bars(tmp_path)


def test_names_and_lines_above_them_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text("https://vendor.example\n2024-01-02,1,2,1,2,7\n2024-01-03,1,2,1,2,7\n")
    config = ReadConfig(skip_lines=1, names=("timestamp", "open", "high", "low", "close", "volume"))
    assert read_bars(tmp_path, config=config).num_rows == 2
    with pytest.raises(ValueError, match=r"first line holds values and no names.*names: \[timestamp"):
        read_bars(tmp_path, config=ReadConfig(skip_lines=1))


def test_packed_files_and_other_endings_are_read(tmp_path: Path) -> None:
    text = FILES["stooq"]["aapl.csv"].encode()
    (tmp_path / "A.CSV").write_bytes(text)
    (tmp_path / "B.csv.gz").write_bytes(gzip.compress(text))
    (tmp_path / "C.csv.zst").write_bytes(pa.Codec("zstd").compress(text, asbytes=True))
    pd.read_csv(tmp_path / "A.CSV", parse_dates=["Date"]).to_parquet(tmp_path / "D.PQ", index=False)
    assert read_bars(tmp_path).to_pandas().groupby("symbol").size().to_dict() == dict.fromkeys("ABCD", 3)
    (tmp_path / "B.csv.gz").write_bytes(gzip.compress(text)[:-9])
    with pytest.raises(ValueError, match=r"B.csv.gz: cannot be read as CSV"):
        read_bars(tmp_path)
