"""Whatever lies in a folder is read, refused, or named with its reason: no file and no symbol vanishes."""

from __future__ import annotations

import gzip
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from factor_data import Panel, ReadConfig, import_data, read_bars, read_news
from factor_data.cli import main
from layout_samples import WRITERS, long_frame, write_csmd, write_days, write_kronos, write_qlib, write_vendor


def dangling(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def looping(path: Path) -> None:
    path.symlink_to(path.name)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def empty_folder(path: Path) -> None:
    path.mkdir()


STRANGE = [dangling, looping, pipe, empty_folder]


@pytest.mark.parametrize("put", STRANGE)
@pytest.mark.parametrize("name", ["AAA.csv", "AAA.CSV", "AAA.csv.gz", "AAA.parquet", "AAA.pq"])
def test_what_has_the_ending_of_a_table_and_is_no_file_is_refused_at_once(
    put: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    """A pipe would be waited on for ever, deaf to Ctrl-C; a link to nothing is a disk that is not mounted."""
    write_vendor(tmp_path)
    put(tmp_path / name)
    started = time.monotonic()
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(ValueError, match=name):
            read_bars(path)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("put", STRANGE)
@pytest.mark.parametrize(
    ("write", "path"),
    [
        (write_days, "20200107.parquet"),
        (write_kronos, "CC.csv"),
        (write_csmd, "price/CC.csv"),
        (write_csmd, "news/AA/2020-01-06.csv"),
        (write_qlib, "features/aa/factor.day.bin"),
        (WRITERS["acl18"], "bars.parquet"),
        (WRITERS["dataset"], "bars/more.parquet"),
    ],
)
def test_no_part_of_any_layout_may_be_a_link_to_nothing_a_pipe_or_a_folder(
    put: Callable[[Path], None], write: Callable[[Path], None], path: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write(source)
    (source / path).unlink(missing_ok=True)
    put(source / path)
    with pytest.raises(ValueError, match=Path(path).name):
        import_data(source, tmp_path / "data")


def test_names_that_are_no_utf8_are_refused_or_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error of a library named no file, and what was left out could not be printed."""
    source = tmp_path / "source"
    source.mkdir()
    write_vendor(source)
    (source / os.fsdecode(b"notes\xff.txt")).write_text("x")
    assert main(["import", str(source), str(tmp_path / "data")]) == 0
    assert "left out notes" in capsys.readouterr().out
    (source / os.fsdecode(b"AA\xff.csv")).write_text("Date,Open,High,Low,Close,Volume\n2024-01-02,1,1,1,1,1\n")
    with pytest.raises(ValueError, match=r"AA.*csv: cannot be read: has a name that is no UTF-8"):
        read_bars(source)


def test_what_is_not_read_is_named_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_vendor(source)
    names = ["AAA", "BBB.txt", "CCC.xlsx", "DDD.json"]
    for name in names:
        (source / name).write_text("Date,Open\n")
    (source / "README.md").write_text("about\n")
    (source / "lost").symlink_to("/nowhere")
    (source / "old").mkdir()
    assert main(["import", str(source), str(tmp_path / "data")]) == 0
    said = capsys.readouterr().out
    for name in (*names, "lost", "old"):
        assert f"left out {name}: " in said
    assert "left out BBB.txt: ending '.txt' is not read" in said
    assert "left out lost: is a link to nothing" in said
    assert "README" not in said
    with pytest.warns(UserWarning, match=r"not read: .*AAA \(ending '' is not read"):
        read_bars(source)


def test_many_entries_that_are_not_read_are_all_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_vendor(source)
    for number in range(30):
        (source / f"{number}.xls").write_text("x")
    assert main(["import", str(source), str(tmp_path / "data")]) == 0
    said = capsys.readouterr().out
    assert all(f"{number}.xls" in said for number in range(30))


def test_a_table_with_some_columns_of_bars_is_refused_beside_good_ones(tmp_path: Path) -> None:
    """A header cut short, or of other case, is a symbol that would be lost."""
    write_vendor(tmp_path)
    (tmp_path / "NASDAQ_CC_30Y.csv").write_text("Date,Open,High,Lo\n2020-01-02,1,2,1\n")
    with pytest.raises(ValueError, match=r"NASDAQ_CC_30Y.csv: column 'low' is missing.*columns: \{low: Lo"):
        import_data(tmp_path, tmp_path.parent / f"{tmp_path.name}.imported")


def test_sub_folders_and_hive_partitions_are_read(tmp_path: Path) -> None:
    write_vendor(tmp_path)
    (tmp_path / "more" / "deep").mkdir(parents=True)
    (tmp_path / "NASDAQ_BB_30Y.csv").rename(tmp_path / "more" / "deep" / "NASDAQ_BB_30Y.csv")
    assert read_bars(tmp_path).symbols.tolist() == ["AA", "BB"]
    (tmp_path / "more" / "circle").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="lead back to themselves"):
        read_bars(tmp_path)
    hive = tmp_path / "hive"
    for symbol, frame in long_frame().groupby("symbol"):
        folder = hive / f"symbol={symbol}" / "year=2020"
        folder.mkdir(parents=True)
        frame.drop(columns="symbol").to_parquet(folder / "part-0.parquet", index=False)
    pd.testing.assert_frame_equal(read_bars(hive).to_pandas(), Panel.from_frame(long_frame()).to_pandas())


def test_days_of_news_in_other_endings_are_read_and_other_files_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_csmd(source)
    path = source / "news" / "AA" / "2020-01-03.csv"
    (path.parent / "2020-01-03.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    (source / "news" / "BB" / "notes.txt").write_text("x")
    (source / "news" / "all.json").write_text("{}")
    assert read_bars(source).num_rows == 5
    with pytest.warns(UserWarning, match=r"notes.txt.*all.json|all.json.*notes.txt"):
        assert len(read_news(source)) == 2
    summary = import_data(source, tmp_path / "data")
    assert {Path(one.path).name for one in summary.left_out} == {"notes.txt", "all.json"}


def test_folders_of_symbols_that_qlib_does_not_list_are_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_qlib(source)
    (source / "features" / "cc").mkdir()
    left_out = import_data(source, tmp_path / "data").left_out
    assert [(Path(one.path).name, one.reason) for one in left_out] == [("cc", "no symbol of instruments/")]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTC_USDT_1D", "BTC_USDT_1D"),
        ("ETH_BTC_15M", "ETH_BTC_15M"),
        ("BTC_USDT_5Y", "BTC_USDT_5Y"),
        ("NYSE_BF_B_5D", "BF_B"),
        ("NASDAQ_AA_1Y", "AA"),
    ],
)
def test_a_pair_of_currencies_keeps_its_base(name: str, symbol: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.csv").write_text("Date,Open,High,Low,Close,Volume\n2024-01-02,1,1,1,1,1\n")
    assert read_bars(tmp_path).symbols.tolist() == [symbol]


def test_the_symbol_that_was_guessed_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("BTC_USDT_1D", "ETH_BTC_1D"):
        (source / f"{name}.csv").write_text("Date,Open,High,Low,Close,Volume\n2024-01-02,1,1,1,1,1\n")
    assert main(["import", str(source), str(tmp_path / "data")]) == 0
    assert (
        "guessed symbol from the name of the file: 'BTC_USDT_1D' from BTC_USDT_1D.csv (and 1 more)"
        in capsys.readouterr().out
    )
    pattern = r"(?P<symbol>.+)_1D"
    assert read_bars(source, config=ReadConfig(symbol_pattern=pattern)).symbols.tolist() == ["BTC_USDT", "ETH_BTC"]


def test_a_symbol_may_have_several_files_where_a_pattern_says_so(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for folder, day in (("2024", "2024-01-02"), ("2023", "2023-01-02")):
        (source / folder).mkdir(parents=True)
        (source / folder / f"AA-{folder}.csv").write_text(f"Date,Open,High,Low,Close,Volume\n{day},1,1,1,1,1\n")
        (source / folder / f"BB-{folder}.csv").write_text(f"Date,Open,High,Low,Close,Volume\n{day},1,1,1,1,1\n")
    config = ReadConfig(symbol_pattern=r"(?P<symbol>\w+)-\d+")
    summary = import_data(source, tmp_path / "data", config=config)
    assert (summary.num_symbols, summary.num_bars) == (2, 4)
    pd.testing.assert_frame_equal(
        read_bars(tmp_path / "data").to_pandas(), read_bars(source, config=config).to_pandas()
    )
    (source / "2024" / "AA-2025.csv").write_text("Date,Open,High,Low,Close,Volume\n2023-01-02,1,1,1,1,1\n")
    with pytest.raises(ValueError, match=r"1 duplicate .*AA at 2023-01-02"):
        import_data(source, tmp_path / "more", config=config)


def test_data_of_the_project_itself_can_be_imported_again(tmp_path: Path) -> None:
    """The simulated market has the truth beside its bars: a table with stamps that holds no bars."""
    source = tmp_path / "source"
    source.mkdir()
    WRITERS["dataset"](source)
    truth = pd.DataFrame({"timestamp": pd.to_datetime(["2020-01-02"]), "horizon": [1], "attainable_rank_ic": [0.1]})
    truth.to_parquet(source / "truth.parquet", index=False)
    truth[["timestamp", "horizon"]].assign(AA=0.1, BB=-0.1).to_parquet(source / "expected.parquet", index=False)
    left_out = import_data(source, tmp_path / "data").left_out
    assert [Path(one.path).name for one in left_out] == ["expected.parquet", "truth.parquet"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_header_of_very_many_columns_is_refused_in_no_time(suffix: str, tmp_path: Path) -> None:
    names = ["timestamp", "symbol", *(f"c{number}" for number in range(30_000))]
    path = tmp_path / f"bars{suffix}"
    if suffix == ".csv":
        path.write_text(",".join(names) + "\n")
    else:
        pd.DataFrame([[0.0] * len(names)], columns=names).to_parquet(path)
    started = time.process_time()
    with pytest.raises(ValueError, match=r"has 30,002 columns, at most 5,000 are read"):
        read_bars(path)
    assert time.process_time() - started < 5
    path = tmp_path / "long.csv"
    path.write_text(",".join(names * 20) + "\n")
    with pytest.raises(ValueError, match=r"long.csv: cannot be read as CSV \(the line of names is longer"):
        read_bars(path)


@pytest.mark.parametrize("put", [dangling, looping, pipe])
@pytest.mark.parametrize("layout", ["symbol", "csmd", "dataset"])
def test_news_that_are_no_folder_are_named(layout: str, put: Callable[[Path], None], tmp_path: Path) -> None:
    """A disk of news that is not mounted is no market without news."""
    source = tmp_path / "source"
    source.mkdir()
    WRITERS[layout](source)
    if (source / "news").exists():
        shutil.rmtree(source / "news")
    put(source / "news")
    assert "news" in {Path(one.path).name for one in import_data(source, tmp_path / "data").left_out}


@pytest.mark.parametrize("put", STRANGE)
@pytest.mark.parametrize("name", ["import.yaml", "dataset.yaml"])
def test_settings_that_cannot_be_read_are_refused(name: str, put: Callable[[Path], None], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_vendor(source)
    put(source / name)
    with pytest.raises(ValueError, match=f"{name}: cannot be read"):
        import_data(source, tmp_path / "data")
