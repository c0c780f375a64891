"""One file per day: names, schema, order, symbols, times; the defects of per-day loaders that are not here."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import Panel, ReadConfig, iter_bar_tables, read_bars
from layout_samples import DAYS, day_frame, write_days

TARGETS = ("intra30m", "nextT1d", "ema1d")


def day(sid: list, **columns: object) -> pd.DataFrame:
    """Factors 0 and 1 and the targets, without prices."""
    count = len(sid)
    base = {"0": np.arange(count, dtype=float), "1": 1.0, "intra30m": 0.1, "nextT1d": 0.2, "ema1d": 0.3}
    return pd.DataFrame({"sid": sid, **base, **columns})


def test_both_forms_of_name_are_read_in_the_order_of_their_days(tmp_path: Path) -> None:
    write_days(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["2020-01-03.parquet", "20200102.parquet", "20200106.parquet"]
    order = [Path(table.path).name for table in iter_bar_tables(tmp_path)]
    assert order == ["20200102.parquet", "2020-01-03.parquet", "20200106.parquet"]
    assert read_bars(tmp_path).dates.astype("datetime64[D]").astype(str).tolist() == list(DAYS)


@pytest.mark.parametrize("name", ["20200132", "2020-1-3", "2020-0103", "20200103x", "3-1-2020", "２０２００１０３"])
def test_a_name_that_is_no_day_is_refused(name: str, tmp_path: Path) -> None:
    write_days(tmp_path)
    day(["1"]).to_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(ValueError, match=rf"{name}.parquet: the file name must be a day, YYYYMMDD or YYYY-MM-DD"):
        read_bars(tmp_path)


def test_a_day_in_two_files_is_refused(tmp_path: Path) -> None:
    day(["1"]).to_parquet(tmp_path / "20200102.parquet")
    day(["2"]).to_parquet(tmp_path / "2020-01-02.parquet")
    with pytest.raises(ValueError, match=r"20200102.parquet and .*2020-01-02.parquet are both the day 2020-01-02"):
        read_bars(tmp_path)


@pytest.mark.parametrize("missing", ["sid", "1", "nextT1d"])
def test_a_missing_column_is_named_before_any_row_is_read(missing: str, tmp_path: Path) -> None:
    day(["1"]).to_parquet(tmp_path / "20200102.parquet")
    day(["1"]).drop(columns=missing).to_parquet(tmp_path / "20200103.parquet")
    tables = iter_bar_tables(tmp_path, "day", config=ReadConfig(factors=("0", "1")))
    with pytest.raises(ValueError, match=rf"20200103.parquet: column '{missing}' is missing"):
        next(tables)


@pytest.mark.parametrize("num_factors", [1, 7, 100])
def test_any_number_of_factors_is_found_in_the_order_of_their_numbers(num_factors: int, tmp_path: Path) -> None:
    day_frame(DAYS[0], num_factors).sample(frac=1, axis=1, random_state=0).to_parquet(tmp_path / "20200102.parquet")
    names = list(read_bars(tmp_path).columns)
    assert names[:num_factors] == [str(i) for i in range(num_factors)]
    assert names[num_factors : num_factors + 3] == list(TARGETS)


def test_the_configured_factors_and_targets_come_in_the_configured_order(tmp_path: Path) -> None:
    day(["1"], alpha=5.0).to_parquet(tmp_path / "20200102.parquet")
    config = ReadConfig(factors=("alpha", "1"), targets=("ema1d", "intra30m"))
    panel = read_bars(tmp_path, config=config)
    assert list(panel.columns)[:4] == ["alpha", "1", "ema1d", "intra30m"]
    assert panel.columns["ema1d"].tolist() == [0.3]
    assert "0" not in panel.columns


def test_a_config_that_names_a_column_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="targets names a column twice"):
        ReadConfig(targets=("ema1d", "ema1d"))


def test_flag_weight_and_targets_pass_through_untouched(tmp_path: Path) -> None:
    """Defect 1i.11: targets were taken from the next row of the batch. A target belongs to the row it is in."""
    for name, shift in (("20200102", 0.0), ("20200103", 1.0)):
        frame = day(["7", "8"], nextT1d=[shift, shift + 0.5], luld=[0, 1], ADV50=[10.0, np.nan])
        frame.to_parquet(tmp_path / f"{name}.parquet")
    table = read_bars(tmp_path).to_pandas()
    assert table["nextT1d"].tolist() == [0.0, 1.0, 0.5, 1.5]
    assert table["luld"].tolist() == [0.0, 0.0, 1.0, 1.0]
    np.testing.assert_array_equal(table["ADV50"], [10.0, 10.0, np.nan, np.nan])


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 1000])
def test_batches_do_not_change_a_row(batch_rows: int, tmp_path: Path) -> None:
    """Defect 1i.11: pairs were lost or shifted at the edges of batches."""
    write_days(tmp_path)
    tables = list(iter_bar_tables(tmp_path, batch_rows=batch_rows))
    assert max(len(table.frame) for table in tables) <= batch_rows
    whole = pd.concat([table.frame for table in iter_bar_tables(tmp_path)], ignore_index=True)
    pd.testing.assert_frame_equal(pd.concat([t.frame for t in tables], ignore_index=True), whole)


def test_prices_the_files_lack_are_missing_not_invented(tmp_path: Path) -> None:
    day(["1"], close=9.0).to_parquet(tmp_path / "20200102.parquet")
    panel = read_bars(tmp_path)
    assert panel.columns["close"].tolist() == [9.0]
    for name in ("open", "high", "low", "volume"):
        assert np.isnan(panel.columns[name]).all()


@pytest.mark.parametrize(
    "times",
    [
        ["09:31:00", "09:30:00.5"],
        [time(9, 31), time(9, 30, 0, 500_000)],
        pd.to_datetime(["2020-01-02 09:31:00.0", "2020-01-02 09:30:00.5"]),
    ],
)
def test_rows_of_a_day_keep_their_time(times: object, tmp_path: Path) -> None:
    """Defect 1i.10: time was never read and rows were sorted by sid alone."""
    frame = day(["7", "8"], time=times, close=[1.0, 2.0])
    frame.to_parquet(tmp_path / "20200102.parquet")
    table = read_bars(tmp_path).to_pandas()
    assert table["timestamp"].tolist() == [
        pd.Timestamp("2020-01-02 09:31"),
        pd.Timestamp("2020-01-02 09:30:00.5"),
    ]
    assert table["close"].tolist() == [1.0, 2.0]


def test_whole_numbers_are_times_too(tmp_path: Path) -> None:
    day(["7", "7"], time=[93000, 145959]).to_parquet(tmp_path / "20200102.parquet")
    assert read_bars(tmp_path).dates.astype("datetime64[s]").astype(str).tolist() == [
        "2020-01-02T09:30:00",
        "2020-01-02T14:59:59",
    ]


def test_a_day_out_of_time_order_is_refused_and_so_are_two_rows_of_one_time(tmp_path: Path) -> None:
    """Defect 1i.10: an unstable sort hid both."""
    path = tmp_path / "20200102.parquet"
    day(["7", "8", "7"], time=["09:31", "09:31", "09:30"]).to_parquet(path)
    with pytest.raises(ValueError, match=r"unsorted: 1 bars.*7 at 2020-01-02 09:30:00 .*row 1 and .*row 3"):
        read_bars(tmp_path)
    day(["7", "8", "7"]).to_parquet(path)
    with pytest.raises(ValueError, match=r"1 duplicate .*7 at 2020-01-02 00:00:00 .*row 1 and .*row 3"):
        read_bars(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"time": ["09:30", "25:00"]}, r"time is not HH:MM:SS .* 1 row, first 2 \('25:00'\)"),
        ({"time": [93000, 93060]}, r"time is not HH:MM:SS .* first 2 \('93060'\)"),
        ({"time": ["09:30", None]}, "time is missing in 1 row, first 2"),
        ({"time": [0.5, 0.6]}, "time has type double"),
        (
            {"time": pd.to_datetime(["2020-01-02", "2020-01-03"])},
            "time must be on 2020-01-02, the day in the file",
        ),
        ({"date": ["2020-01-02", "2020-01-03"]}, r"date must be on 2020-01-02.*1 row, first 2"),
        ({"date": [20200102, 20200103]}, r"date must be on 2020-01-02.*1 row, first 2"),
        ({"sid": [1.0, 2.0]}, "column 'sid' has type double"),
        ({"sid": ["1", None]}, "sid is missing in 1 row, first 2"),
        ({"nextT1d": [0.0, np.inf]}, "column 'nextT1d' is infinite in 1 row, first 2"),
        ({"1": ["a", "b"]}, "column '1' must be numeric"),
    ],
)
def test_a_doubtful_day_is_refused_by_file_row_and_column(
    columns: dict[str, object], message: str, tmp_path: Path
) -> None:
    day(["1", "2"]).assign(**columns).to_parquet(tmp_path / "20200102.parquet")
    with pytest.raises(ValueError, match=f"20200102.parquet: {message}"):
        read_bars(tmp_path)


def test_a_date_column_that_agrees_is_accepted(tmp_path: Path) -> None:
    day(["1"], date=20200102).to_parquet(tmp_path / "20200102.parquet")
    day(["1"], date=pd.Timestamp("2020-01-03")).to_parquet(tmp_path / "20200103.parquet")
    assert read_bars(tmp_path).num_rows == 2


def test_whole_numbers_and_text_are_the_same_symbols(tmp_path: Path) -> None:
    day([600000, 7]).to_parquet(tmp_path / "20200102.parquet")
    day(["600000", "7"]).to_parquet(tmp_path / "20200103.parquet")
    assert read_bars(tmp_path).symbols.tolist() == ["600000", "7"]


def test_symbol_codes_are_the_same_in_every_process(tmp_path: Path) -> None:
    """Defect 1i.13: the stock id was Python's hash of its name, another one in each process."""
    day(["zz", "aa", "mm"]).to_parquet(tmp_path / "20200102.parquet")
    script = "import sys, factor_data as d; p = d.read_bars(sys.argv[1]); print(p.symbols, p.symbol_code)"
    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    panel = read_bars(tmp_path)
    assert said == f"{panel.symbols} {panel.symbol_code}\n" == "['aa' 'mm' 'zz'] [0 1 2]\n"


def test_every_file_is_read_once_and_a_failing_one_stops_the_reading(tmp_path: Path) -> None:
    """Defects 1i.14, 1i.15: a failing file was skipped with a log line, or replaced by random numbers."""
    write_days(tmp_path)
    (tmp_path / "20200106.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match=r"20200106.parquet: cannot be read as Parquet"):
        read_bars(tmp_path)


def test_a_panel_of_days_survives_saving(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    write_days(tmp_path / "days")
    panel = read_bars(tmp_path / "days")
    panel.save(tmp_path / "panel")
    pd.testing.assert_frame_equal(Panel.load(tmp_path / "panel").to_pandas(), panel.to_pandas())
