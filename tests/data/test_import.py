"""Importing: any layout into the project's own, whole or not at all, with an honest summary."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import fsspec
import numpy as np
import pandas as pd
import pytest
import yaml

from factor_data import ImportSummary, ReadConfig, import_data, importing, read_bars, read_news
from factor_data.cli import COMMANDS, ProgressBar, main
from factor_data.reading import coverage, parts
from layout_samples import DAYS, WRITERS, long_frame, write_csmd, write_days, write_long_csv, write_vendor


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("layout", WRITERS)
def test_what_is_imported_reads_the_same_and_the_source_stays(layout: str, source: Path, tmp_path: Path) -> None:
    WRITERS[layout](source)
    before = snapshot(source)
    summary = import_data(source, tmp_path / "data")
    assert snapshot(source) == before
    pd.testing.assert_frame_equal(read_bars(tmp_path / "data").to_pandas(), read_bars(source).to_pandas())
    assert summary.layout == layout.removesuffix(" csv")
    assert (summary.num_bars, summary.num_symbols, summary.num_dates) == (5, 2, 3)
    assert [str(stamp)[:10] for stamp in (summary.first, summary.last)] == [DAYS[0], DAYS[-1]]
    assert summary.missing_dates == {"BB": 1}
    assert [str(day)[:10] for day in summary.first_missing["BB"]] == [DAYS[1]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "source"]
    if layout in ("csmd", "acl18"):
        assert summary.num_documents == 2
        pd.testing.assert_frame_equal(read_news(tmp_path / "data"), read_news(source))
    else:
        assert not (tmp_path / "data" / "news").exists()


@pytest.mark.parametrize("layout", ["long csv", "symbol", "qlib"])
def test_one_file_per_symbol_and_sorted_tables_stay_sorted_by_symbol_and_time(
    layout: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 2)
    monkeypatch.setattr(importing, "BATCH_VALUES", 14)
    WRITERS[layout](source)
    import_data(source, tmp_path / "data")
    rows = pd.concat(pd.read_parquet(path) for path in sorted((tmp_path / "data" / "bars").iterdir()))
    assert rows[["symbol", "timestamp"]].apply(tuple, axis=1).is_monotonic_increasing


def test_long_files_stay_apart_and_small_files_of_symbols_are_joined(source: Path, tmp_path: Path) -> None:
    frame = long_frame()
    frame[frame["symbol"] == "BB"].to_parquet(source / "1.parquet")
    frame[frame["symbol"] == "AA"].to_parquet(source / "2.parquet")
    import_data(source, tmp_path / "long")
    assert len(list((tmp_path / "long" / "bars").iterdir())) == 2
    shutil.rmtree(source)
    source.mkdir()
    write_vendor(source)
    import_data(source, tmp_path / "vendor")
    assert len(list((tmp_path / "vendor" / "bars").iterdir())) == 1


def test_missing_values_are_counted_by_column(source: Path, tmp_path: Path) -> None:
    frame = long_frame()
    frame.loc[[0, 3], "close"] = np.nan
    frame.to_csv(source / "bars.csv", index=False)
    summary = import_data(source, tmp_path / "data")
    assert summary.null_counts == {"open": 0, "high": 0, "low": 0, "close": 2, "volume": 0}


def test_the_summary_names_what_was_left_out_and_what_was_empty(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_vendor(source)
    (source / "NASDAQ_CC_30Y.csv").write_text(",Open,High,Low,Close,Volume\n")
    (source / "readme.csv").write_text("a,b\n1,2\n")
    assert main(["import", str(source), str(tmp_path / "data")]) == 0
    said = capsys.readouterr()
    assert said.err == "", "no progress bar where there is no terminal"
    assert "5 bars of 2 symbols, 2020-01-02T16:00 to 2020-01-06T16:00, 3 dates" in said.out
    assert "layout 'symbol', time zone -05:00" in said.out
    assert "missing values: none" in said.out
    assert "1 in 1 symbols, most: BB 1 (first 2020-01-03T16:00)" in said.out
    assert "1 files without rows:" in said.out
    assert "left out readme.csv: neither bars nor news, its columns are ['a', 'b']" in said.out
    assert "guessed symbol from the name of the file: 'AA' from NASDAQ_AA_30Y.csv (and 2 more)" in said.out


def test_a_table_of_bars_that_lacks_a_column_is_refused_not_left_out(source: Path, tmp_path: Path) -> None:
    write_long_csv(source)
    long_frame().drop(columns="volume").to_parquet(source / "more.parquet")
    with pytest.raises(ValueError, match=r"more.parquet: column 'volume' is missing"):
        import_data(source, tmp_path / "data")


def test_news_files_beside_bars_are_imported_as_news(source: Path, tmp_path: Path) -> None:
    write_long_csv(source)
    (source / "headlines.csv").write_text("timestamp,symbol,text\n2020-01-02T10:00Z,AA,up\n")
    (source / "news").mkdir()
    (source / "news" / "more.csv").write_text("timestamp,symbol,text\n2020-01-03T10:00Z,BB,down\n")
    summary = import_data(source, tmp_path / "data")
    assert (summary.num_documents, summary.news_zone, summary.zone) == (2, "Z", None)


def test_the_description_says_what_is_known_and_an_own_one_is_kept(source: Path, tmp_path: Path) -> None:
    write_vendor(source)
    import_data(source, tmp_path / "data")
    described = yaml.safe_load((tmp_path / "data" / "dataset.yaml").read_text())
    assert described["name"] == "source"
    assert described["frequency"] == "day"
    assert described["time_zone"] == "-05:00"
    assert "survivorship" in described["universe"]
    assert described["import"] == {"layout": "symbol"}
    (source / "dataset.yaml").write_text("name: mine  # as I wrote it\nuniverse: all\n")
    import_data(source, tmp_path / "again")
    written = (tmp_path / "again" / "dataset.yaml").read_text()
    assert written.startswith((source / "dataset.yaml").read_text()), "to the byte"
    assert yaml.safe_load(written)["import"] == {"layout": "symbol"}


class Case(NamedTuple):
    write: Callable[[Path], object]
    message: str


def duplicate_in_another_file(folder: Path) -> None:
    frame = long_frame()
    frame.iloc[:3].to_parquet(folder / "1.parquet")
    frame.iloc[2:].to_parquet(folder / "2.parquet")


def disorder(folder: Path) -> None:
    long_frame().iloc[[0, 2, 1, 3, 4]].to_parquet(folder / "1.parquet")


def infinite_volume(folder: Path) -> None:
    long_frame().assign(volume=np.inf).to_parquet(folder / "1.parquet")


REFUSED = {
    "a duplicate in a file": Case(
        lambda f: pd.concat([long_frame(), long_frame().tail(1)]).to_parquet(f / "1.parquet"),
        r"1 duplicate .*1.parquet row 5 and .*1.parquet row 6",
    ),
    "a duplicate in another file": Case(
        duplicate_in_another_file, r"1 duplicate .*1.parquet row 3 and .*2.parquet row 1"
    ),
    "a step back in time": Case(disorder, r"unsorted: 1 bars .*row 2 and .*row 3"),
    "an infinite number": Case(
        infinite_volume, "column 'volume' is infinite in 2 rows, first 1, 2; numbers must be finite"
    ),
    "nothing": Case(lambda f: None, "folder has no file"),
    "only a list": Case(lambda f: (f / "days.csv").write_text("timestamp\n2020-01-01\n"), "fits no layout of bars"),
    "only a stranger": Case(lambda f: (f / "x.csv").write_text("x,y\n1,2\n"), "fits no layout"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_ends_with_status_2_one_line_and_nothing_written(
    case: str,
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Defect 1i.15 and row G03: what cannot be read is said, and nothing takes its place."""
    monkeypatch.setattr(importing, "BATCH_VALUES", 14)
    REFUSED[case].write(source)
    assert main(["import", str(source), str(tmp_path / "data")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    with pytest.raises(ValueError, match=REFUSED[case].message) as refusal:
        import_data(source, tmp_path / "data")
    assert " ".join(str(refusal.value).split()) in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_files_in_any_order_of_time_are_accepted(source: Path, tmp_path: Path) -> None:
    frame = long_frame()
    frame.iloc[1:].to_parquet(source / "1.parquet")
    frame.iloc[:1].to_parquet(source / "2.parquet")
    assert import_data(source, tmp_path / "data").num_bars == 5


def test_a_target_that_exists_or_lies_in_the_source_is_refused(source: Path, tmp_path: Path) -> None:
    write_long_csv(source)
    (tmp_path / "data").mkdir()
    with pytest.raises(ValueError, match="data: exists already"):
        import_data(source, tmp_path / "data")
    with pytest.raises(ValueError, match="lies in the source"):
        import_data(source, source / "data")


def test_a_disk_without_room_and_a_folder_that_cannot_be_made_are_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_long_csv(source)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written to"):
        import_data(source, tmp_path / "file" / "data")
    monkeypatch.setattr(importing, "MIN_FREE_BYTES", 2**60)
    with pytest.raises(ValueError, match="MiB free, what is written may need"):
        import_data(source, tmp_path / "data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "source"]


def test_a_failure_half_way_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(source)

    def fail(descriptor: int) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        import_data(source, tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_leftovers_of_killed_imports_go_and_those_of_living_ones_stay(source: Path, tmp_path: Path) -> None:
    WRITERS["symbol"](source)
    dead, living = (tmp_path / f".imported.{number}.partial" for number in (4_000_001, 4_000_002))
    dead.mkdir()
    (dead / "half").write_text("half")
    living.mkdir()
    held = os.open(living, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    import_data(source, tmp_path / "imported")
    assert (dead.exists(), living.exists()) == (False, True)
    os.close(held)


def test_ctrl_c_is_a_line_and_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    WRITERS["symbol"](source)

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "_import_news", interrupted)
    assert main(["import", str(source), str(tmp_path / "imported")]) == 130
    assert capsys.readouterr().err.strip() == "factor-data import: stopped (Ctrl-C)"
    assert not list(tmp_path.glob(".*"))


def test_a_remote_source_is_imported(source: Path, tmp_path: Path) -> None:
    write_csmd(source)
    memory = fsspec.filesystem("memory")
    try:
        memory.put(f"{source}/", "/csmd/", recursive=True)
        summary = import_data("memory://csmd", tmp_path / "data")
    finally:
        memory.rm("/csmd", recursive=True)
    assert (summary.num_bars, summary.num_documents) == (5, 2)


def test_options_of_the_command_reach_the_readers(source: Path, tmp_path: Path) -> None:
    write_days(source)
    arguments = ["--layout", "day", "--factors", "2,0", "--targets", "ema1d"]
    assert main(["import", str(source), str(tmp_path / "data"), *arguments]) == 0
    config = ReadConfig(factors=("2", "0"), targets=("ema1d",))
    expected = read_bars(source, "day", config).to_pandas()
    pd.testing.assert_frame_equal(read_bars(tmp_path / "data").to_pandas(), expected)
    assert "1" not in expected.columns


def test_progress_grows_to_the_size_of_the_source(source: Path, tmp_path: Path) -> None:
    write_csmd(source)
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    seen: list[tuple[int, int]] = []
    import_data(source, tmp_path / "data", progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (size, size)


def test_the_bar_is_drawn_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with ProgressBar() as bar:
        bar.show(2**20, 4 * 2**20)
    drawn = capsys.readouterr().err
    assert "25% of 4.0 MiB, ETA 3 s" in drawn
    assert drawn.endswith(" \r")


def test_the_summary_is_plain_data(source: Path, tmp_path: Path) -> None:
    write_vendor(source)
    summary = import_data(source, tmp_path / "data")
    assert isinstance(summary, ImportSummary)
    assert json.dumps(summary.missing_dates) == '{"BB": 1}'


def test_only_symbols_whose_files_overlap_are_read_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = long_frame()
    frame.iloc[[0, 2, 3]].to_parquet(source / "1.parquet")
    frame.iloc[[1, 4]].to_parquet(source / "2.parquet")
    again: list[set[str]] = []
    check = coverage.check_keys
    monkeypatch.setattr(coverage, "check_keys", lambda tables, names: (again.append(names), check(tables, names)))
    import_data(source, tmp_path / "data")
    assert again == [{"AA"}]


def test_every_sub_command_has_help() -> None:
    assert all(command.help for command in COMMANDS.values())
