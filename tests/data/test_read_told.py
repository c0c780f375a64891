"""What a user says of a source fits something in it, or is refused; so do names of folders and lengths of bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factor_data import ReadConfig, import_data, read_bars
from factor_data.cli import main
from factor_data.reading.layouts import LAYOUTS
from factor_data.reading.settings import LISTS
from factor_data.reading.told import OF_CSV, READ_BY
from layout_samples import WRITERS, long_frame, write_days, write_qlib


def as_csv(folder: Path) -> None:
    long_frame().assign(note_a=1.0).to_csv(folder / "bars.csv", index=False)


def as_parquet(folder: Path) -> None:
    long_frame().to_parquet(folder / "bars.parquet", index=False)


@pytest.mark.parametrize(
    ("write", "said", "message"),
    [
        (as_csv, "leave_out: [nota_*]", r"leave_out: 'nota_\*' fits no column .*did you mean 'note_a'"),
        (as_csv, "leave_out: [Note_a]", r"leave_out: 'Note_a' fits no column .*did you mean 'note_a'"),
        (as_csv, "leave_out: [note_a, qqq]", r"leave_out: 'qqq' fits no column .*; found \["),
        (as_csv, "leave_out: [symbol]", "leave_out: 'symbol' fits no column besides stamp and symbol"),
        (as_csv, "absent: [volum]", r"import.yaml: absent: 'volum' is no column of bars.*did you mean 'volume'"),
        (as_csv, "absent: [volume]", "absent: every table has a column for 'volume', and it would be read"),
        (as_csv, "vendor: akshare", "vendor: akshare calls no column so; found"),
        (as_csv, "factors: [note_a]", "factors is not read in layout 'long', in day it is"),
        (as_csv, "targets: [note_a]", "targets is not read in layout 'long'"),
        (as_csv, "frequency: day", "frequency is not read in layout 'long', in qlib it is"),
        (as_csv, "symbol_pattern: '(?P<symbol>.)_x'", "symbol_pattern is not read in layout 'long'"),
        (as_parquet, "names: [timestamp, symbol]", "names is said of CSV, and no file here is one"),
        (as_parquet, "decimal: ','", "decimal is said of CSV"),
        (write_days, "leave_out: ['0']", "leave_out is not read in layout 'day'"),
        (write_qlib, "leave_out: [factor]", "leave_out is not read in layout 'qlib'"),
    ],
)
def test_what_fits_nothing_is_refused(write: Callable[[Path], None], said: str, message: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write(source)
    (source / "import.yaml").write_text(said)
    with pytest.raises(ValueError, match=message):
        import_data(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_options_of_the_command_line_are_held_to_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_csv(tmp_path)
    assert main(["import", str(tmp_path), str(tmp_path.parent / "out"), "--leave-out", "not_a"]) == 2
    assert (
        "leave_out: 'not_a' fits no column besides stamp and symbol; did you mean 'note_a'" in capsys.readouterr().err
    )
    with pytest.raises(ValueError, match="did you mean 'note_a'"):
        read_bars(tmp_path, config=ReadConfig(leave_out=("not_a",)))


def test_texts_are_not_passed_over_where_a_layout_has_none(tmp_path: Path) -> None:
    write_qlib(tmp_path)
    with pytest.raises(ValueError, match="texts is not read in layout 'qlib', in long, symbol, kronos, day it is"):
        read_bars(tmp_path, config=ReadConfig(texts=("headline",)))


def test_every_setting_that_names_columns_is_held_against_what_there_is() -> None:
    """A new one has to say which layouts read it; `columns` and `frequency` are held to files where they are used."""
    assert set(LISTS) <= {*READ_BY, *OF_CSV}
    assert {*READ_BY, *OF_CSV} <= {one.name for one in fields(ReadConfig)}
    assert {layout for layouts in READ_BY.values() for layout in layouts} <= set(LAYOUTS)
    assert set(WRITERS) <= {*LAYOUTS, "long csv"}


def test_names_of_folders_are_read_as_programs_write_them(tmp_path: Path) -> None:
    frame = long_frame()
    frame["symbol"] = frame["symbol"].map(dict(zip(frame["symbol"].unique(), ("BRK/B", "A B", "C=D"), strict=False)))
    pq.write_to_dataset(pa.Table.from_pandas(frame, preserve_index=False), tmp_path, partition_cols=["symbol"])
    assert read_bars(tmp_path).symbols.tolist() == sorted(frame["symbol"].unique())


def test_rows_of_a_folder_without_a_symbol_are_refused(tmp_path: Path) -> None:
    frame = long_frame()
    frame.loc[frame["symbol"] == frame["symbol"].iloc[0], "symbol"] = None
    pq.write_to_dataset(pa.Table.from_pandas(frame, preserve_index=False), tmp_path, partition_cols=["symbol"])
    with pytest.raises(ValueError, match=r"symbol=__HIVE_DEFAULT_PARTITION__.*symbol is missing"):
        read_bars(tmp_path)


def test_a_folder_that_names_another_symbol_than_its_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "symbol=ZZ").mkdir()
    long_frame().to_parquet(tmp_path / "symbol=ZZ" / "a.parquet", index=False)
    with pytest.raises(ValueError, match=r"a.parquet: the folder says that the symbol is 'ZZ', its column does not in"):
        read_bars(tmp_path)


def test_values_of_folders_that_are_no_column_are_named(tmp_path: Path) -> None:
    for symbol, frame in long_frame().groupby("symbol"):
        folder = tmp_path / "source" / "sector=10" / "year=2020" / f"symbol={symbol}"
        folder.mkdir(parents=True)
        frame.drop(columns="symbol").to_parquet(folder / "a.parquet", index=False)
    summary = import_data(tmp_path / "source", tmp_path / "data")
    assert [one.path for one in summary.left_out] == ["column 'sector'"]
    assert "sector=10" in summary.left_out[0].reason


def klines(interval: str, hours: int) -> str:
    stamps = pd.date_range("2024-12-01", periods=4, freq=f"{hours}h").astype("datetime64[ms]").astype("int64")
    return "".join(f"{stamp},1,2,0.5,1.5,10,{stamp + 1},5,3,4,5,0\n" for stamp in stamps)


def test_bars_of_different_lengths_do_not_become_one_history(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT-1d-2024-12.csv").write_text(klines("1d", 24))
    assert read_bars(tmp_path).num_rows == 4
    (tmp_path / "BTCUSDT-1h-2024-11.csv").write_text(klines("1h", 1).replace("17330", "17320"))
    with pytest.raises(
        ValueError, match=r"1h-2024-11.csv holds bars of '1h', .*1d-2024-12.csv of '1d': import them apart"
    ):
        read_bars(tmp_path)
    pattern = ReadConfig(symbol_pattern="(?P<symbol>.+)-1[dh]-.*")  # who says the pattern knows
    assert read_bars(tmp_path, config=pattern).num_rows == 8


def test_a_column_that_says_how_long_bars_are_says_one_length(tmp_path: Path) -> None:
    names = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
    days, hours = "A.US,D,20240102,000000,1,2,1,2,5,0\n", "A.US,60,20240102,100000,1,2,1,2,5,0\n"
    (tmp_path / "a.csv").write_text(names + days + hours)
    with pytest.raises(
        ValueError, match=r"column '<PER>' says that bars are of 'D', not so in 1 row, first 2 \('60'\)"
    ):
        read_bars(tmp_path)
    (tmp_path / "a.csv").write_text(names + days)
    assert read_bars(tmp_path).num_rows == 1
    (tmp_path / "b.csv").write_text(names + hours)
    with pytest.raises(ValueError, match=r"holds bars of .*import them apart"):
        read_bars(tmp_path)
