"""What is exported is read back as it was, by us and by the format's own rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.conftest import random_frame
from factor_data import Panel, Workers, export_bars, exporting, read_bars
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
        (("x" * 300,), "cannot be the name of a file"),
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
    with pytest.raises(ValueError, match=r"layout must be one of \['long', 'symbol', 'qlib'\], got 'day'"):
        export_bars(source, tmp_path / "out", "day")
    with pytest.raises(ValueError, match="exists already"):
        export_bars(source, tmp_path, "long")
