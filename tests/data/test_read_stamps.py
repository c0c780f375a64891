"""One rule for stamps at every edge: numbers say what they count, zones are one, an hour is not two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factor_data import FoldConfig, Panel, ReadConfig, import_data, make_folds, read_bars, read_news
from factor_data.news.join import NewsClock, document_rows
from factor_metrics import to_matrix

NUMBERS = ("open", "high", "low", "close", "volume")


def bars(stamps: object, symbol: str = "A") -> pd.DataFrame:
    frame = pd.DataFrame({"timestamp": stamps, "symbol": symbol})
    return frame.assign(**dict.fromkeys(NUMBERS, 1.0))


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path, index=False) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def dates_of(path: Path, config: ReadConfig | None = None) -> list[str]:
    dates = read_bars(path, config=config or ReadConfig()).dates
    return [str(date)[:19].removesuffix("T00:00:00") for date in dates]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([20240102, 20240103], ["2024-01-02", "2024-01-03"]),
        ([1704153600, 1704240000], ["2024-01-02", "2024-01-03"]),
        ([1704153600000, 1704157200000], ["2024-01-02", "2024-01-02T01:00:00"]),
        ([1704153600000000, 1704157200000000], ["2024-01-02", "2024-01-02T01:00:00"]),
        ([1704153600000000000, 1704157200000000000], ["2024-01-02", "2024-01-02T01:00:00"]),
        ([202401020930, 202401020935], ["2024-01-02T09:30:00", "2024-01-02T09:35:00"]),
        ([20240102093000, 20240102093500], ["2024-01-02T09:30:00", "2024-01-02T09:35:00"]),
    ],
)
def test_whole_numbers_are_the_dates_that_their_digits_say(
    numbers: list[int], expected: list[str], suffix: str, tmp_path: Path
) -> None:
    assert dates_of(write(bars(numbers), tmp_path / f"bars{suffix}")) == expected


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1, 2], r"timestamp is a number, as 1, .*say time_unit \(s, ms, us or ns since 1970\) or time_format"),
        ([45293, 45294], "is a number, as 45293"),  # days of a spreadsheet
        ([1704153600, 1704153600000], "is a number, as 1704153600, "),  # two units in one file
        ([2024010209, 2024010210], "may be seconds or yyyymmddHH"),
        ([20241302, 20240103], r"not written as time_format '%Y%m%d' in 1 row, first 1|is not ISO 8601.*first 1"),
        ([0, 86400], "is a number"),
    ],
)
def test_whole_numbers_that_do_not_say_what_they_count_are_refused(
    numbers: list[int], message: str, suffix: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        read_bars(write(bars(numbers), tmp_path / f"bars{suffix}"))


def test_the_unit_and_the_form_of_stamps_can_be_said(tmp_path: Path) -> None:
    path = write(bars([0, 86400]), tmp_path / "bars.parquet")
    assert dates_of(path, ReadConfig(time_unit="s")) == ["1970-01-01", "1970-01-02"]
    path = write(bars([2024010209, 2024010210]), tmp_path / "bars.parquet")
    assert dates_of(path, ReadConfig(time_format="%Y%m%d%H")) == ["2024-01-02T09:00:00", "2024-01-02T10:00:00"]
    path = write(bars(["31.01.2024", "01.02.2024"]), tmp_path / "bars.csv")
    with pytest.raises(ValueError, match=r"is not ISO 8601.*'31.01.2024'.*time_format"):
        read_bars(path)
    assert dates_of(path, ReadConfig(time_format="%d.%m.%Y")) == ["2024-01-31", "2024-02-01"]
    with pytest.raises(ValueError, match=r"not written as time_format '%m.%d.%Y' in 1 row, first 1 \('31.01.2024'\)"):
        read_bars(path, config=ReadConfig(time_format="%m.%d.%Y"))
    path = write(bars([1.7e9, 1.8e9]), tmp_path / "bars.parquet")
    with pytest.raises(ValueError, match="timestamp has type double"):
        read_bars(path)
    path = write(bars([2**62, 2**62 + 1]), tmp_path / "bars.parquet")
    with pytest.raises(ValueError, match="in ms is not in the years 1678 to 2261"):
        read_bars(path, config=ReadConfig(time_unit="ms"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019/11/26 9:35", "2019-11-26T09:35:00"),
        ("2019-1-6", "2019-01-06"),
        ("2019/1/16", "2019-01-16"),
        ("2019-11-26T09:35:00.5", "2019-11-26T09:35:00"),
    ],
)
def test_year_month_day_is_read_with_one_digit_or_two(text: str, expected: str, tmp_path: Path) -> None:
    assert dates_of(write(bars([text]), tmp_path / "bars.csv")) == [expected]


@pytest.mark.parametrize("offset", ["+25:00", "+16:00", "+05:75", "-99", "+1260"])
def test_an_offset_that_no_zone_has_is_refused(offset: str, tmp_path: Path) -> None:
    path = write(bars([f"2024-01-02T00:00{offset}"]), tmp_path / "bars.csv")
    with pytest.raises(ValueError, match=r"bars.csv: timestamp is not ISO 8601.*first 1 \('2024-01-02T00:00"):
        read_bars(path)


@pytest.mark.parametrize(("unit", "number"), [("ms", 2**62), ("s", 10**11), ("us", 2**62)])
def test_stamps_of_a_coarse_unit_do_not_wrap_around(unit: str, number: int, tmp_path: Path) -> None:
    """2**62 ms were 1970-01-01: they were compared in microseconds, which they do not fit into."""
    table = pa.Table.from_pandas(bars(["2024-01-02"]), preserve_index=False)
    stamp = pa.array([number], pa.timestamp(unit))
    pq.write_table(table.set_column(0, "timestamp", stamp), tmp_path / "bars.parquet")
    with pytest.raises(ValueError, match=r"bars.parquet: timestamp is not in the years 1678 to 2261 in 1 row, first 1"):
        read_bars(tmp_path / "bars.parquet")


def test_a_zone_that_is_none_is_refused_by_file(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(bars(["2024-01-02"]), preserve_index=False)
    pq.write_table(
        table.set_column(0, "timestamp", pa.array([0], pa.timestamp("us", "Mars/Olympus"))), tmp_path / "bars.parquet"
    )
    with pytest.raises(ValueError, match=r"bars.parquet: timestamp has the time zone 'Mars/Olympus', which is none"):
        read_bars(tmp_path / "bars.parquet")


HOURS = pd.date_range("2024-11-02", "2024-11-05", freq="h", tz="UTC").tz_convert("America/New_York")


def as_text(stamps: pd.DatetimeIndex) -> list[str]:
    return [stamp.isoformat(sep=" ") for stamp in stamps]


@pytest.mark.parametrize("name", ["bars.parquet", "bars.csv"])
def test_the_hour_that_comes_twice_is_refused_by_name_and_read_in_utc(name: str, tmp_path: Path) -> None:
    frame = pd.concat([bars(HOURS, symbol) for symbol in "AB"])
    if name.endswith("csv"):
        frame["timestamp"] = as_text(pd.DatetimeIndex(frame["timestamp"]))
    path = write(frame, tmp_path / name)
    with pytest.raises(ValueError, match=r"hour from 2024-11-03T01:00 comes twice.*America/New_York.*time_zone: UTC"):
        read_bars(path)
    panel = read_bars(path, config=ReadConfig(time_zone="UTC"))
    assert panel.num_dates == len(HOURS)
    assert (panel.dates == HOURS.tz_convert("UTC").tz_localize(None).to_numpy()).all()
    assert import_data(path, tmp_path / "data", config=ReadConfig(time_zone="UTC")).zone == "UTC"


def test_the_hour_is_also_missed_where_each_of_two_symbols_has_one_of_the_two(tmp_path: Path) -> None:
    """On the wall clock they would share a stamp and be an hour apart."""
    early, late = HOURS[HOURS.hour == 1][1], HOURS[HOURS.hour == 1][2]
    assert late - early == pd.Timedelta("1h")
    write(bars([early], "A"), tmp_path / "a.parquet")
    write(bars([late], "B"), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="comes twice"):
        read_bars(tmp_path)
    assert read_bars(tmp_path / "a.parquet").num_rows == 1


def test_days_and_sessions_through_the_end_of_daylight_saving_are_read(tmp_path: Path) -> None:
    days = pd.date_range("2024-10-25 16:00", periods=20, tz="America/New_York")
    assert len(dates_of(write(bars(days), tmp_path / "bars.parquet"))) == 20


def test_stamps_with_and_without_a_zone_are_never_read_together(tmp_path: Path) -> None:
    write(bars(pd.date_range("2024-01-02", periods=2, tz="UTC"), "A"), tmp_path / "a.parquet")
    write(bars(pd.date_range("2024-01-02", periods=2), "B"), tmp_path / "b.parquet")
    for config in (ReadConfig(), ReadConfig(time_zone="UTC"), ReadConfig(time_zone="Asia/Tokyo")):
        with pytest.raises(ValueError, match="time zones differ between files"):
            read_bars(tmp_path, config=config)
    write(bars([1704153600], "A"), tmp_path / "a.parquet")  # numbers since 1970 are in UTC
    with pytest.raises(ValueError, match=r"time zones differ between files: .*has UTC, .*has none"):
        read_bars(tmp_path)


def test_two_named_zones_are_refused_and_read_by_one_clock(tmp_path: Path) -> None:
    day = pd.DatetimeIndex(["2024-01-02 15:00"])
    write(bars(day.tz_localize("Europe/London"), "A"), tmp_path / "a.parquet")
    write(bars(day.tz_localize("America/New_York"), "B"), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="time zones differ between files"):
        read_bars(tmp_path)
    assert dates_of(tmp_path, ReadConfig(time_zone="UTC")) == ["2024-01-02T15:00:00", "2024-01-02T20:00:00"]


def test_a_zone_that_is_said_goes_into_the_summary_and_the_description(tmp_path: Path) -> None:
    path = write(bars(pd.date_range("2024-01-02", periods=2)), tmp_path / "bars.parquet")
    assert import_data(path, tmp_path / "data", config=ReadConfig(time_zone="Asia/Tokyo")).zone == "Asia/Tokyo"
    assert 'time_zone: "Asia/Tokyo"' in (tmp_path / "data" / "dataset.yaml").read_text()


def test_news_follow_the_same_rule(tmp_path: Path) -> None:
    news = pd.DataFrame({"timestamp": [1704153600000], "symbol": "A", "text": "up"})
    assert str(read_news(write(news, tmp_path / "news.csv"))["timestamp"][0]) == "2024-01-02 00:00:00"
    with pytest.raises(ValueError, match="timestamp is a number, as 7"):
        read_news(write(news.assign(timestamp=7), tmp_path / "news.parquet"))


NAIVE = pd.date_range("2024-01-02", periods=3)
PANEL = Panel.from_frame(bars(NAIVE))
BAD = {
    "yyyymmdd": [20240102, 20240103, 20240104],
    "seconds": [1704153600, 1704240000, 1704326400],
    "floats": [1.7e9, 1.8e9, 1.9e9],
    "with and without a zone": [NAIVE[0], NAIVE[1].tz_localize("UTC"), NAIVE[2]],
    "two zones": [NAIVE[0].tz_localize("Asia/Tokyo"), NAIVE[1].tz_localize("UTC"), NAIVE[2].tz_localize("UTC")],
}
EDGES: dict[str, Callable[[object], object]] = {
    "panel": lambda stamps: Panel.from_frame(bars(stamps)),
    "calendar of a panel": lambda stamps: Panel.from_frame(bars(NAIVE), dates=stamps),  # type: ignore[arg-type]
    "folds": lambda stamps: make_folds(stamps, FoldConfig(scheme="ratio", ratios=(0.5, 0.2, 0.3)), reach=2),  # type: ignore[arg-type]
    "news": lambda stamps: document_rows(
        pd.DataFrame({"timestamp": stamps, "symbol": "A", "text": "x"}), PANEL, NewsClock()
    ),
    "matrix of metrics": lambda stamps: to_matrix(stamps, ["A", "A", "A"], [1.0, 2.0, 3.0]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("bad", BAD)
def test_every_edge_refuses_numbers_and_mixed_zones(edge: str, bad: str) -> None:
    with pytest.raises(ValueError, match=r"are numbers, as|of one zone"):
        EDGES[edge](BAD[bad])


def test_stamps_of_one_zone_keep_their_wall_clock_at_every_edge() -> None:
    aware = NAIVE.tz_localize("America/New_York")
    assert (Panel.from_frame(bars(aware)).dates == NAIVE.to_numpy()).all()
    assert (to_matrix(aware, ["A"] * 3, [1.0, 2.0, 3.0])[1] == NAIVE.to_numpy()).all()
    with pytest.raises(ValueError, match="timestamp is missing in row 2"):
        Panel.from_frame(bars([NAIVE[0], pd.NaT, NAIVE[2]]))
    with pytest.raises(ValueError, match="ISO 8601"):
        Panel.from_frame(bars(["02/01/2024", "03/01/2024", "13/01/2024"]))
    assert np.array_equal(Panel.from_frame(bars(["2024-01-02", "2024-01-03", "2024-01-04"])).dates, NAIVE.to_numpy())
