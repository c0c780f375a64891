"""Streaming: batches are the file cut in pieces, as strict as the whole, and only one of them is in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_data import Panel, iter_bar_tables, iter_news_tables, read_bars, read_news
from factor_data.reading import raw
from layout_samples import long_frame


def bars(num_symbols: int, num_days: int, seed: int = 0) -> pd.DataFrame:
    days = pd.date_range("2020-01-01", periods=num_days)
    index = pd.MultiIndex.from_product([days, [f"S{i:03d}" for i in range(num_symbols)]])
    values = np.random.default_rng(seed).uniform(1, 2, (len(index), 5))
    values[::7, 1] = np.nan
    frame = pd.DataFrame(values, columns=["open", "high", "low", "close", "volume"])
    return frame.assign(timestamp=index.get_level_values(0), symbol=index.get_level_values(1))


def write(frame: pd.DataFrame, path: Path, **options: int) -> Path:
    frame.to_parquet(path, **options) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("batch_rows", [1, 13, 40, 1000])
def test_batches_joined_are_the_file(suffix: str, batch_rows: int, tmp_path: Path) -> None:
    frame = bars(4, 10)
    path = write(frame, tmp_path / f"bars{suffix}")
    tables = list(iter_bar_tables(path, batch_rows=batch_rows))
    assert [len(table.frame) for table in tables[:-1]] == [batch_rows] * (len(tables) - 1)
    assert [table.first_row for table in tables] == [1 + i * batch_rows for i in range(len(tables))]
    joined = pd.concat([table.frame for table in tables], ignore_index=True)
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(joined[name], frame[name])
    assert joined["symbol"].tolist() == frame["symbol"].tolist()
    assert joined["timestamp"].tolist() == frame["timestamp"].tolist()
    assert joined["timestamp"].dtype == "datetime64[ns]"
    assert tables[-1].share == 1.0


def test_csv_blocks_smaller_than_a_batch_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(bars(5, 60), tmp_path / "bars.csv")
    whole = read_bars(path).to_pandas()
    monkeypatch.setattr(raw, "CSV_BLOCK_BYTES", 512)
    pd.testing.assert_frame_equal(read_bars(path).to_pandas(), whole)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_rows_in_messages_are_rows_of_the_file_in_any_batch(suffix: str, tmp_path: Path) -> None:
    path = write(bars(2, 30).assign(close=lambda f: f["close"].where(f.index != 46, np.inf)), tmp_path / f"b{suffix}")
    with pytest.raises(ValueError, match="column 'close' is infinite in 1 row, first 47"):
        list(iter_bar_tables(path, batch_rows=10))


def test_a_file_that_changes_its_zone_half_way_is_refused_by_row(tmp_path: Path) -> None:
    frame = bars(1, 20).assign(timestamp=lambda f: f["timestamp"].dt.strftime("%Y-%m-%dT09:30Z"))
    frame.loc[13, "timestamp"] = "2020-01-14T09:30"
    tables = iter_bar_tables(write(frame, tmp_path / "bars.csv"), batch_rows=5)
    assert [next(tables).zone, next(tables).zone] == ["Z", "Z"]
    with pytest.raises(ValueError, match=r"row 1 is '2020-01-01T09:30Z', row 14 is '2020-01-14T09:30'"):
        next(tables)


def test_duplicates_and_disorder_across_batches_are_refused_by_file_and_row(tmp_path: Path) -> None:
    frame = bars(2, 30)
    doubled = pd.concat([frame, frame.iloc[[3]]], ignore_index=True)
    with pytest.raises(ValueError, match=r"1 duplicate .*S001 at 2020-01-02.*row 4 and .*b.parquet row 61"):
        read_bars(write(doubled, tmp_path / "b.parquet"))
    swapped = frame.iloc[[*range(40), 42, 41, 40, *range(43, 60)]]
    with pytest.raises(ValueError, match=r"unsorted: 1 bars .*S000 at 2020-01-21 .*row 41 and .*row 43"):
        read_bars(write(swapped, tmp_path / "b.parquet"))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), num_files=st.integers(1, 4), by=st.sampled_from(["day", "symbol", "row"]))
def test_a_panel_does_not_depend_on_how_rows_are_spread_over_files(
    tmp_path_factory: pytest.TempPathFactory, seed: int, num_files: int, by: str
) -> None:
    frame = bars(5, 12, seed)
    random = np.random.default_rng(seed)
    count = {"day": 12, "symbol": 5, "row": len(frame)}[by]
    group = {"day": frame.index // 5, "symbol": frame.index % 5, "row": frame.index}[by]
    file = random.integers(0, num_files, count)[group]
    folder = tmp_path_factory.mktemp("spread")
    paths = [write(frame[file == i], folder / f"{i}.parquet") for i in range(num_files) if (file == i).any()]
    random.shuffle(paths)
    pd.testing.assert_frame_equal(read_bars(paths).to_pandas(), Panel.from_frame(frame).to_pandas())


def test_only_the_needed_columns_of_news_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    news = pd.DataFrame({"timestamp": ["2020-01-01"], "symbol": ["A"], "text": ["x"], "body": ["y" * 100]})
    path = write(news, tmp_path / "news.parquet")
    asked = []
    iter_batches = pq.ParquetFile.iter_batches

    def spy(self: pq.ParquetFile, **options: object) -> object:
        asked.append(options["columns"])
        return iter_batches(self, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    read_news(path)
    assert asked == [["timestamp", "text", "symbol"]]


def test_news_stream_in_batches(tmp_path: Path) -> None:
    stamps = pd.date_range("2020-01-01", periods=7).astype(str)
    news = pd.DataFrame({"timestamp": stamps, "symbol": "A", "text": [f"text {i}" for i in range(7)]})
    tables = list(iter_news_tables(write(news, tmp_path / "news.csv"), batch_rows=3))
    assert [table.first_row for table in tables] == [1, 4, 7]
    assert [text for table in tables for text in table.frame["text"]] == news["text"].tolist()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_memory_does_not_grow_with_the_file(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a Parquet file is one row group: the batches, not the file, decide."""
    monkeypatch.setattr(raw, "CSV_BLOCK_BYTES", 2**16)
    monkeypatch.setattr(raw, "PARQUET_BUFFER_BYTES", 2**14)
    small = {
        "row_group_size": 10**6,
        "data_page_size": 2**14,
        "use_dictionary": False,
        "write_batch_size": 500,
    }
    highest = []
    for num_days in (600, 1800):
        path = write(bars(50, num_days), tmp_path / f"bars{suffix}", **small if suffix == ".parquet" else {})
        before = pa.total_allocated_bytes()
        tables = iter_bar_tables(path, batch_rows=2500)
        highest.append(max(pa.total_allocated_bytes() - before for _ in tables))
    assert highest[1] < 1.3 * highest[0]


def test_no_rows_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_rows must be at least 1, got 0"):
        next(iter_bar_tables(tmp_path, batch_rows=0))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("volume", [2**53 + 1, 1, 2, 3, 4], r"float64 holds exactly .*1 row, first 1 \(9007199254740993\)"),
        (
            "timestamp",
            pd.to_datetime(["1500-01-01", *["2020-01-01"] * 4]),
            "not in the years 1678 to 2261 in 1 row",
        ),
        ("symbol", ["A\0", "B", "C", "D", "E"], r"printable text without blanks around it.*1 row, first 1"),
        ("symbol", ["A ", "B", "C", "D", "E"], r"printable text without blanks around it.*1 row, first 1"),
    ],
)
def test_what_the_arrays_of_a_panel_cannot_hold_is_refused(
    column: str, values: object, message: str, tmp_path: Path
) -> None:
    """Rounded volumes, wrapped years and symbols that numpy cuts at a NUL would be silent changes."""
    with pytest.raises(ValueError, match=message):
        read_bars(write(long_frame().assign(**{column: values}), tmp_path / "bars.parquet"))


def test_a_csv_row_cut_short_or_a_column_twice_is_refused(tmp_path: Path) -> None:
    """A short row must not be filled with missing values, a second column not be renamed."""
    path = write(bars(1, 3), tmp_path / "bars.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2].rsplit(",", 2)[0], lines[3], ""]))
    with pytest.raises(ValueError, match=r"bars.csv: cannot be read as CSV .*Expected 7 columns, got 5"):
        read_bars(path)
    path.write_text("\n".join([f"{lines[0]},close", *(f"{line},1" for line in lines[1:]), ""]))
    with pytest.raises(ValueError, match=r"bars.csv: columns repeat: \['close'\]"):
        read_bars(path)
