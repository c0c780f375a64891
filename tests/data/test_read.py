"""Reading: what is good is read exactly, what is doubtful is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import read_bars, read_news


def good() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "timestamp": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-01"]),
            "symbol": ["A", "A", "NA"],
            "open": [1.0, 2.0, 3.0],
            "high": [1.5, 2.5, 3.5],
            "low": [0.5, 1.5, 2.5],
            "close": [1.25, 0.1 + 0.2, np.nan],
            "volume": [10, 20, 30],
        }
    )


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["bars.parquet", "bars.csv"])
def test_parquet_and_csv_give_the_same_panel_to_the_bit(tmp_path: Path, name: str) -> None:
    panel = read_bars(write(good(), tmp_path / name))
    assert panel.symbols.tolist() == ["A", "NA"]
    np.testing.assert_array_equal(panel.columns["close"], [1.25, 0.1 + 0.2, np.nan])
    assert panel.columns["volume"].tolist() == [10.0, 20.0, 30.0]


def test_a_folder_is_the_union_of_its_files(tmp_path: Path) -> None:
    write(good().iloc[:1], tmp_path / "a.parquet")
    write(good().iloc[1:], tmp_path / "b.csv")
    (tmp_path / "notes.txt").write_text("not bars")
    assert read_bars(tmp_path).num_rows == 3
    assert read_bars([tmp_path / "a.parquet", str(tmp_path / "b.csv")]).num_rows == 3


def test_one_time_zone_keeps_its_wall_clock(tmp_path: Path) -> None:
    frame = good()
    naive = read_bars(write(frame, tmp_path / "naive.parquet"))
    frame["timestamp"] = frame["timestamp"].dt.tz_localize("America/New_York")
    aware = read_bars(write(frame, tmp_path / "aware.parquet"))
    assert (aware.dates == naive.dates).all()
    text = good().assign(
        timestamp=["2020-01-01T09:30:00-05:00", "2020-01-02T09:30:00-05:00", "2020-01-01T09:30:00-05:00"]
    )
    stamps = read_bars(write(text, tmp_path / "text.csv")).dates
    assert stamps.astype("datetime64[m]").astype(str).tolist() == ["2020-01-01T09:30", "2020-01-02T09:30"]


def change(column: str, row: int, value: object) -> pd.DataFrame:
    frame = good().astype({column: object})
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (good().drop(columns="volume"), "column 'volume' is missing"),
        (change("high", 1, "abc"), r"column 'high' must be numeric, is not in 1 row, first 2 \('abc'\)"),
        (change("close", 1, np.inf), "column 'close' is infinite in 1 row, first 2"),
        (change("symbol", 2, None), "symbol is missing in 1 row, first 3"),
        (change("timestamp", 1, None), "timestamp is missing in 1 row, first 2"),
        (change("timestamp", 1, "02/01/2020"), "timestamp is not ISO 8601.*first"),
        (good().iloc[[1, 0, 2]], "unsorted: 1 bars.*A at 2020-01-01"),
        (good().iloc[[0, 1, 1]], "1 duplicate.*row 2 and .*row 3"),
        (good().iloc[:0], "holds no row"),
        (
            good().assign(timestamp=["2020-01-01T09:30Z", "2020-01-02T09:30", "2020-01-01T09:30Z"]),
            "time zones differ between rows: row 1 .* row 2",
        ),
        (
            good().assign(timestamp=["2020-01-01T09:30Z", "2020-01-02T09:30+01:00", "2020-01-01T09:30Z"]),
            "time zones differ between rows",
        ),
    ],
)
def test_bad_csv_is_refused_by_file_row_column_and_rule(tmp_path: Path, frame: pd.DataFrame, message: str) -> None:
    path = write(frame, tmp_path / "bad.csv")
    with pytest.raises(ValueError, match=message) as error:
        read_bars(path)
    assert "bad.csv" in str(error.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (good().astype({"volume": str}), "column 'volume' must be numeric"),
        (good().assign(symbol=[1, 1, 2]), "it must be text"),
        (
            good().assign(timestamp=[1, 2, 1]),
            "timestamp is a number, as 1, and its digits do not say what it counts: say time_unit",
        ),
        (good().assign(close=[True, False, True]), "must be numeric"),
        (
            good().assign(timestamp=pd.to_datetime(["2020-01-01", None, "2020-01-01"])),
            "timestamp is missing in 1 row",
        ),
    ],
)
def test_bad_parquet_is_refused(tmp_path: Path, frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_bars(write(frame, tmp_path / "bad.parquet"))


def test_truncated_parquet_missing_paths_and_empty_folders_are_refused(tmp_path: Path) -> None:
    path = write(good(), tmp_path / "cut.parquet")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cut\.parquet: cannot be read as Parquet"):
        read_bars(path)
    with pytest.raises(ValueError, match="no such file or folder"):
        read_bars(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="folder has no file"):
        read_bars(tmp_path / "empty")
    (tmp_path / "bars.txt").write_text("")
    with pytest.raises(ValueError, match="must end in"):
        read_bars(tmp_path / "bars.txt")


def test_trouble_across_files_names_both(tmp_path: Path) -> None:
    first = write(good(), tmp_path / "one.parquet")
    again = write(good().iloc[:1], tmp_path / "two.parquet")
    with pytest.raises(ValueError, match=r"A at 2020-01-01.*one.parquet row 1 and .*two.parquet row 1"):
        read_bars([first, again])
    aware = good().assign(timestamp=good()["timestamp"].dt.tz_localize("UTC"), symbol="B").iloc[:1]
    with pytest.raises(
        ValueError, match=r"time zones differ between files: .*one.parquet has none, .*zoned.parquet has UTC"
    ):
        read_bars([first, write(aware, tmp_path / "zoned.parquet")])
    with pytest.raises(ValueError, match=r"same columns: \['amount'\]"):
        read_bars([first, write(good().assign(amount=1.0, symbol="B").iloc[:1], tmp_path / "more.parquet")])


def test_news_is_sorted_and_may_repeat(tmp_path: Path) -> None:
    news = pd.DataFrame(
        {
            "timestamp": ["2020-01-02T10:00", "2020-01-01T10:00", "2020-01-01T10:00"],
            "symbol": ["A", "A", "A"],
            "text": ["later", "first", "second"],
            "author": ["x", "y", "z"],
        }
    )
    read = read_news(write(news, tmp_path / "news.csv"))
    assert read.columns.tolist() == ["timestamp", "symbol", "text"]
    assert read["text"].tolist() == ["first", "second", "later"]
    with pytest.raises(ValueError, match="none of 3 documents lies in"):
        read_news(tmp_path / "news.csv", calendar=np.array(["1999-01-01"], dtype="datetime64[ns]"))
    news.loc[1, "text"] = None
    with pytest.raises(ValueError, match="text is missing in 1 row, first 2"):
        read_news(write(news, tmp_path / "holes.csv"))
