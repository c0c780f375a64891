"""The publishers' own files, where they lie beside the checkout: vendor CSVs, Kronos, ACL18, NASDAQ."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import import_data, read_bars, read_news

REAL = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason=f"real market data not found at {REAL}"),
]


def test_vendor_files_are_read_to_the_last_digit() -> None:
    with pytest.warns(UserWarning, match="18 of 24 files have a header and no row"):
        panel = read_bars(REAL / "us_eod_vendor_csv")
    assert panel.symbols.tolist() == ["ALN", "AXU", "BRG", "CRVP", "LNG", "RVP"]
    table = panel.to_pandas().set_index(["symbol", "timestamp"])
    for symbol in panel.symbols:
        with (REAL / "us_eod_vendor_csv" / f"NYSEAMERICAN_{symbol}_30Y.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        stamps = pd.to_datetime([row[""][:19] for row in rows])
        own = table.loc[symbol]
        assert (own.index == stamps).all()
        for name in ("Open", "High", "Low", "Close", "Volume"):
            np.testing.assert_array_equal(own[name.lower()], [float(row[name]) for row in rows])


def test_kronos_bars_are_read_to_the_last_digit() -> None:
    panel = read_bars(REAL / "kline_5min")
    raw = pd.read_csv(REAL / "kline_5min" / "cn_5min.csv", parse_dates=["timestamps"], float_precision="round_trip")
    assert panel.symbols.tolist() == ["cn_5min"]
    assert (panel.dates == raw["timestamps"].to_numpy()).all()
    for name in ("open", "high", "low", "close", "volume", "amount"):
        np.testing.assert_array_equal(panel.columns[name], raw[name])


def test_the_folder_of_acl18_holds_bars_and_news() -> None:
    panel = read_bars(REAL / "acl18")
    assert (panel.num_symbols, panel.num_rows) == (88, 108_592)
    assert {name: int(np.isnan(values).sum()) for name, values in panel.columns.items()} == dict.fromkeys(
        ["open", "high", "low", "close", "adj_close", "volume"], 3
    )
    assert len(read_news(REAL / "acl18", calendar=panel.dates)) == 106_338


def test_an_import_of_nasdaq_equals_what_pandas_reads(tmp_path: Path) -> None:
    summary = import_data(REAL / "us_eod", tmp_path / "data")
    assert (summary.num_bars, summary.num_symbols, summary.num_dates) == (2_406_934, 1_026, 2_504)
    assert [Path(one.path).name for one in summary.left_out] == [
        "rsr_nasdaq_symbols.csv",
        "rsr_nasdaq_trading_dates.csv",
    ]
    raw = pd.read_parquet(REAL / "us_eod" / "nasdaq.parquet").sort_values(["symbol", "timestamp"], ignore_index=True)
    panel = read_bars(tmp_path / "data")
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(panel.columns[name], raw[name].to_numpy(np.float64))
    assert (panel.timestamp == raw["timestamp"].to_numpy()).all()
    span = raw.groupby("symbol")["timestamp"].agg(["min", "max", "size"])
    calendar = np.unique(raw["timestamp"].to_numpy())
    expected = np.searchsorted(calendar, span["max"]) - np.searchsorted(calendar, span["min"]) + 1 - span["size"]
    assert sum(summary.missing_dates.values()) == expected.sum()
