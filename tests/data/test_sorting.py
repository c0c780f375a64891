"""Sorting on disk: files in any order become the panel that reading them whole gives, and the same is refused."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.conftest import random_frame
from equality import assert_same_files, assert_same_panel
from factor_data import (
    CleanRules,
    Panel,
    Table,
    Workers,
    clean_bars,
    clean_to_folder,
    iter_bar_tables,
    read_bars,
    sort_bars,
)

RULES = CleanRules(min_history=5)
BUDGETS = [1, 2_000, 20_000, 10**9]  # a symbol at a time, a few, many, all


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    """Four months, every row of which is a table and a run of its own under the smallest budget."""
    return random_frame(num_dates=80)


def write_files(bars: pd.DataFrame, folder: Path, by: str) -> Path:
    """The bars as one file per symbol, per month, or as one file, rows sorted by time within a file."""
    folder.mkdir()
    key = {"symbol": bars["symbol"], "month": bars["timestamp"].dt.strftime("%Y%m"), "one": "all"}[by]
    for name, part in bars.sort_values(["timestamp", "symbol"]).assign(key=key).groupby("key"):
        part.drop(columns="key").to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def merged(panels: list[Panel]) -> Panel:
    return Panel(
        symbols=panels[0].symbols,
        dates=panels[0].dates,
        symbol_code=np.concatenate([panel.symbol_code for panel in panels]),
        date_code=np.concatenate([panel.date_code for panel in panels]),
        columns={name: np.concatenate([p.columns[name] for p in panels]) for name in panels[0].columns},
    )


@pytest.mark.parametrize("by", ["symbol", "month", "one"])
@pytest.mark.parametrize("max_bytes", BUDGETS)
def test_parts_of_sorted_bars_are_the_panel_that_is_read_whole(
    by: str, max_bytes: int, bars: pd.DataFrame, tmp_path: Path
) -> None:
    source = write_files(bars, tmp_path / "bars", by)
    (tmp_path / "scratch").mkdir()
    workers = Workers(max_bytes=max_bytes)
    tables = iter_bar_tables(source, batch_rows=workers.rows(100))
    sorted_bars = sort_bars(tables, tmp_path / "scratch", workers)
    parts = sorted_bars.parts(workers.rows(sorted_bars.row_bytes))
    assert len(parts) == {1: 5, 10**9: 1}.get(max_bytes, len(parts))
    assert_same_panel(merged([sorted_bars.read(part) for part in parts]), read_bars(source))


@pytest.mark.parametrize("by", ["symbol", "month"])
@pytest.mark.parametrize("max_bytes", BUDGETS)
def test_the_clean_panel_has_the_bytes_of_the_one_cleaned_whole(
    by: str, max_bytes: int, bars: pd.DataFrame, tmp_path: Path
) -> None:
    dirty = bars.copy()
    dirty.loc[dirty["symbol"] == "S2", "close"] = np.nan  # the symbol goes
    dirty.loc[dirty["timestamp"] == dirty["timestamp"].iloc[40], "close"] = 0.0  # and so does the date
    source = write_files(dirty, tmp_path / "bars", by)
    expected, expected_report = clean_bars(read_bars(source), RULES)
    expected.save(tmp_path / "expected")
    (tmp_path / "scratch").mkdir()
    workers = Workers(max_bytes=max_bytes)
    sorted_bars = sort_bars(iter_bar_tables(source), tmp_path / "scratch", workers)
    report = clean_to_folder(sorted_bars, tmp_path / "panel", RULES, workers)
    assert expected.num_symbols == 4
    assert_same_files(tmp_path / "panel", tmp_path / "expected")
    assert report.to_dict() == expected_report.to_dict()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_cut_of_the_rows_into_tables_gives_the_same_panel(data: st.DataObject) -> None:
    num_rows = data.draw(st.integers(1, 40))
    order = data.draw(st.permutations(range(num_rows)))
    cuts = sorted(data.draw(st.sets(st.integers(1, num_rows), max_size=6)) | {num_rows})
    max_bytes = data.draw(st.integers(1, 20_000))
    rows = pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(num_rows) // 3, unit="D"),
            "symbol": [f"S{row % 3}" for row in range(num_rows)],
            **{name: np.arange(num_rows) + 1.0 for name in ("open", "high", "low", "close", "volume")},
        }
    ).iloc[order]
    tables = [
        Table(f"file {first}", rows.iloc[first:last].sort_values("timestamp"), None)
        for first, last in zip([0, *cuts], cuts, strict=False)
    ]
    with TemporaryDirectory() as scratch:
        workers = Workers(max_bytes=max_bytes)
        bars = sort_bars(tables, Path(scratch), workers)
        parts = [bars.read(part) for part in bars.parts(workers.rows(bars.row_bytes))]
    assert_same_panel(merged(parts), Panel.from_frame(rows))


def refusal(source: Path, scratch: Path, max_bytes: int) -> str:
    scratch.mkdir()
    workers = Workers(max_bytes=max_bytes)
    bars = sort_bars(iter_bar_tables(source, batch_rows=7), scratch, workers)
    with pytest.raises(ValueError, match=r"duplicate|unsorted") as error:
        clean_to_folder(bars, scratch.parent / "panel", RULES, workers)
    return str(error.value)


def test_duplicates_across_files_are_refused_with_both_rows_whatever_the_parts(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    source = write_files(bars, tmp_path / "bars", "month")
    second, fourth = sorted(source.iterdir())[1:4:2]
    twice = pd.read_parquet(second).iloc[[3, 8, 11, 20]]
    pd.concat([twice, pd.read_parquet(fourth)]).to_parquet(fourth, index=False)
    texts = [refusal(source, tmp_path / f"scratch {n}", n) for n in BUDGETS]
    assert len(set(texts)) == 1
    assert texts[0].startswith("4 duplicate (symbol, timestamp): ")
    with pytest.raises(ValueError, match="duplicate") as whole:
        read_bars(source)
    assert texts[0] == str(whole.value)
    assert f"{second} row 4 and {fourth} row 1" in texts[0]
    assert texts[0].count(" and ") == 3


def test_bars_that_go_back_in_time_within_a_file_are_refused_whatever_the_parts(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    source = write_files(bars, tmp_path / "bars", "symbol")
    path = sorted(source.iterdir())[2]
    frame = pd.read_parquet(path)
    order = np.arange(len(frame))
    order[[10, 30]] = order[[30, 10]]
    frame.iloc[order].to_parquet(path, index=False)
    texts = [refusal(source, tmp_path / f"scratch {n}", n) for n in BUDGETS]
    assert len(set(texts)) == 1
    with pytest.raises(ValueError, match="unsorted: 2 bars are earlier") as whole:
        read_bars(source)
    assert texts[0] == str(whole.value)
    assert f"{path} row 11 and {path} row 12" in texts[0]


def test_files_of_one_symbol_may_come_in_any_order_of_time(bars: pd.DataFrame, tmp_path: Path) -> None:
    source = write_files(bars, tmp_path / "bars", "month")
    files = sorted(source.iterdir(), reverse=True)
    (tmp_path / "scratch").mkdir()
    workers = Workers(max_bytes=3_000)
    bars_of_late_first = sort_bars(iter_bar_tables(files), tmp_path / "scratch", workers)
    parts = bars_of_late_first.parts(300)
    assert_same_panel(merged([bars_of_late_first.read(part) for part in parts]), read_bars(source))


def test_a_symbol_larger_than_the_budget_is_a_part_alone(bars: pd.DataFrame, tmp_path: Path) -> None:
    huge = bars[bars["symbol"] == "S1"]
    small = bars[bars["timestamp"] < bars["timestamp"].sort_values().iloc[30]]
    source = write_files(pd.concat([small[small["symbol"] != "S1"], huge]), tmp_path / "bars", "month")
    (tmp_path / "scratch").mkdir()
    sorted_bars = sort_bars(iter_bar_tables(source), tmp_path / "scratch", Workers(max_bytes=1_000))
    sizes = [sorted_bars.read(part).num_rows for part in sorted_bars.parts(60)]
    assert max(sizes) == len(huge) > 60
    assert sum(size <= 60 for size in sizes) == len(sizes) - 1


def test_nothing_is_left_when_cleaning_fails(bars: pd.DataFrame, tmp_path: Path) -> None:
    source = write_files(bars.assign(close=np.nan), tmp_path / "bars", "one")
    (tmp_path / "scratch").mkdir()
    workers = Workers(max_bytes=3_000)
    sorted_bars = sort_bars(iter_bar_tables(source), tmp_path / "scratch", workers)
    with pytest.raises(ValueError, match=r"none of .* bars is left"):
        clean_to_folder(sorted_bars, tmp_path / "panel", RULES, workers)
    assert list((tmp_path / "panel").iterdir()) == []


def test_no_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no table of bars"):
        sort_bars([], tmp_path, Workers(max_bytes=1))
