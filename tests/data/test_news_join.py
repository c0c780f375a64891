"""News joined point in time: equal to a loop over documents and bars, exact at the cut-off, also when clocks change."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_data import NewsClock, NewsConfig, NewsScorer, NewsVectorConfig, Panel, load_news
from factor_data.news import document_rows, news_coverage

NEW_YORK = NewsClock(cutoff_minutes=960, stamp_zone="UTC", market_zone="America/New_York")


def bars(**dates_of_symbol: list[str]) -> Panel:
    frames = [
        pd.DataFrame({"timestamp": pd.to_datetime(dates), "symbol": symbol})
        for symbol, dates in dates_of_symbol.items()
    ]
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)
    return Panel.from_frame(pd.concat(frames).assign(**prices))


def documents(*rows: tuple[str, str]) -> pd.DataFrame:
    stamps = pd.to_datetime([stamp for stamp, _ in rows], format="ISO8601").astype("datetime64[ns]")
    return pd.DataFrame({"timestamp": stamps, "symbol": [symbol for _, symbol in rows], "text": "news"})


def dates_joined(stamps: list[str], dates: list[str], clock: NewsClock) -> list[str | None]:
    """The bar's date each document of symbol A belongs to."""
    panel = bars(A=dates)
    row, _, kept = document_rows(documents(*((stamp, "A") for stamp in stamps)), panel, clock)
    found: list[str | None] = [None] * len(stamps)
    for position, at in zip(kept, row, strict=True):
        found[position] = str(panel.timestamp[at])[:10]
    return found


DAYS = ["2015-01-05", "2015-01-06", "2015-01-07"]  # winter: New York closes at 21:00 UTC


def test_the_close_of_new_york_decides_in_winter_to_the_nanosecond() -> None:
    stamps = [
        "2015-01-05 20:59:59",
        "2015-01-05 21:00:00",
        "2015-01-05 21:00:00.000000001",
        "2015-01-06 21:00:01",
    ]
    assert dates_joined(stamps, DAYS, NEW_YORK) == ["2015-01-05", "2015-01-05", "2015-01-06", "2015-01-07"]


def test_in_summer_the_same_close_is_an_hour_earlier_in_utc() -> None:
    dates = [
        "2015-03-06",
        "2015-03-09",
        "2015-10-30",
        "2015-11-02",
    ]  # clocks changed on 8 March and 1 November
    stamps = ["2015-03-06 20:30", "2015-03-06 21:00:01", "2015-03-09 20:00:01", "2015-10-30 20:00:00",
              "2015-10-30 20:30", "2015-11-02 20:30", "2015-11-02 21:00:01"]  # fmt: skip
    assert dates_joined(stamps, dates, NEW_YORK) == [
        "2015-03-06", "2015-03-09", "2015-10-30", "2015-10-30", "2015-11-02", "2015-11-02", None
    ]  # fmt: skip


def test_a_fixed_shift_would_have_read_an_hour_of_the_future_or_lost_one() -> None:
    """20:30 UTC is before the close in January and after it in July."""
    days = ["2015-01-05", "2015-01-06", "2015-07-06", "2015-07-07"]
    assert dates_joined(["2015-01-05 20:30", "2015-07-06 20:30"], days, NEW_YORK) == [
        "2015-01-05",
        "2015-07-07",
    ]


def test_an_hour_that_came_twice_is_read_late_for_documents_and_early_for_cut_offs() -> None:
    """1 November 2015, New York: 01:00 .. 02:00 came twice, 5:00 and 6:00 UTC being its starts."""
    clock = NewsClock(cutoff_minutes=90, stamp_zone="America/New_York", market_zone="America/New_York")
    dates = ["2015-11-01", "2015-11-02"]
    assert dates_joined(["2015-11-01 00:59", "2015-11-01 01:15", "2015-11-01 01:45"], dates, clock) == [
        "2015-11-01", "2015-11-02", "2015-11-02"
    ]  # fmt: skip
    utc = NewsClock(cutoff_minutes=90, stamp_zone="UTC", market_zone="America/New_York")
    assert dates_joined(["2015-11-01 05:30", "2015-11-01 05:31"], dates, utc) == ["2015-11-01", "2015-11-02"]


def test_an_hour_that_was_skipped_moves_documents_late_and_cut_offs_early() -> None:
    """8 March 2015, New York: 02:00 .. 03:00 did not exist; 7:00 UTC came between."""
    dates = ["2015-03-08", "2015-03-09"]
    local = NewsClock(cutoff_minutes=180, stamp_zone="America/New_York", market_zone="America/New_York")
    assert dates_joined(["2015-03-08 02:30", "2015-03-08 03:01"], dates, local) == [
        "2015-03-08",
        "2015-03-09",
    ]
    utc = NewsClock(cutoff_minutes=150, stamp_zone="UTC", market_zone="America/New_York")
    assert dates_joined(["2015-03-08 06:59:59", "2015-03-08 07:00:00"], dates, utc) == [
        "2015-03-08",
        "2015-03-09",
    ]


def instant(stamp: np.datetime64, zone: str | None, *, later: bool) -> datetime:
    """The time in UTC by Python's own rules; a skipped time is moved minute by minute until it exists."""
    utc, wall_clock = ZoneInfo("UTC"), pd.Timestamp(stamp).to_pydatetime()
    while True:
        moment = wall_clock.replace(tzinfo=ZoneInfo(zone or "UTC"), fold=int(later)).astimezone(utc)
        if moment.astimezone(ZoneInfo(zone or "UTC")).replace(tzinfo=None) == wall_clock:
            return moment
        wall_clock += timedelta(minutes=1 if later else -1)


@settings(max_examples=120, deadline=None)
@given(
    days=st.dictionaries(st.sampled_from(["A", "B", "C"]), st.sets(st.integers(0, 20), min_size=1), min_size=1),
    minutes=st.lists(st.tuples(st.integers(-2000, 24 * 60 * 21), st.sampled_from(["A", "B", "C", "D"])), max_size=15),
    cutoff=st.sampled_from([0, 60, 90, 150, 960, 1439]),
    start=st.sampled_from(["2015-03-01", "2015-06-01", "2015-10-25"]),
    zones=st.sampled_from([None, ("UTC", "America/New_York"), ("America/New_York", "Asia/Shanghai")]),
)  # fmt: skip
def test_the_join_equals_a_loop_over_documents_and_bars(
    days: dict[str, set[int]], minutes: list[tuple[int, str]], cutoff: int, start: str,
    zones: tuple[str, str] | None,
) -> None:  # fmt: skip
    first = datetime.fromisoformat(start)
    panel = bars(**{s: [str(first + timedelta(days=day)) for day in sorted(numbers)] for s, numbers in days.items()})
    news = documents(*((str(first + timedelta(minutes=minute)), symbol) for minute, symbol in minutes))
    stamp_zone, market_zone = zones or (None, None)
    clock = NewsClock(cutoff_minutes=cutoff, stamp_zone=stamp_zone, market_zone=market_zone)
    row, waited, kept = document_rows(news, panel, clock)

    cutoffs = [instant(date + np.timedelta64(cutoff, "m"), market_zone, later=False) for date in panel.dates]
    expected = []
    for position, (stamp, symbol) in enumerate(zip(news["timestamp"].to_numpy(), news["symbol"], strict=True)):
        known = [date for date in range(panel.num_dates) if cutoffs[date] >= instant(stamp, stamp_zone, later=True)]
        rows = [r for r in range(panel.num_rows) if panel.symbol[r] == symbol and panel.date_code[r] in known]
        if rows:
            expected.append((rows[0], int(panel.date_code[rows[0]]) - known[0], position))
    assert list(zip(row.tolist(), waited.tolist(), kept.tolist(), strict=True)) == expected


def test_documents_that_no_bar_knows_are_counted_by_why() -> None:
    panel = bars(A=["2015-01-05", "2015-01-09"], B=["2015-01-06", "2015-01-07"])
    news = documents(
        ("2015-01-05", "A"),
        ("2015-01-06", "A"),
        ("2015-01-10", "A"),
        ("2015-01-08", "B"),
        ("2015-01-05", "C"),
    )
    counts = {"documents": 5, "unknown_symbol": 1, "after_last_bar": 2}
    assert asdict(news_coverage(news, panel, NewsClock())) == {**counts, "forgotten": 0, "used": 2}
    assert asdict(news_coverage(news, panel, NewsClock(), memory=2)) == {**counts, "forgotten": 1, "used": 1}
    assert asdict(news_coverage(news, panel, NewsClock(), memory=3)) == {**counts, "forgotten": 0, "used": 2}


def test_the_tone_of_news_heeds_the_zones() -> None:
    panel = bars(A=DAYS)
    news = documents(("2015-01-05 20:59", "A"), ("2015-01-05 21:01", "A"))
    config = NewsConfig(cutoff_minutes=960, stamp_zone="UTC", market_zone="America/New_York", half_life=1.0)
    count = NewsScorer(config=config, tones={}).transform(news, panel).column("news_count")
    assert count.tolist() == [1.0, 1.5, 0.75]


def test_bad_clocks_are_refused() -> None:
    with pytest.raises(ValueError, match="market_zone: no time zone 'New York'"):
        NewsClock(stamp_zone="UTC", market_zone="New York")
    with pytest.raises(ValueError, match="go together"):
        NewsConfig(stamp_zone="UTC")
    with pytest.raises(ValueError, match=r"cutoff_minutes must lie in \[0, 1440\), got 1440"):
        NewsVectorConfig(cutoff_minutes=1440)


def test_use_news_false_opens_nothing_and_no_text_passes_for_it(tmp_path: Path) -> None:
    """D30; the defect 2e.1: "--use_news False" was true and the price-only run loaded news."""
    assert load_news(tmp_path / "absent", use_news=False) is None
    documents(("2020-01-02", "A")).to_parquet(tmp_path / "news.parquet")
    loaded = load_news(tmp_path, use_news=True)
    assert loaded is not None
    assert len(loaded) == 1
    with pytest.raises(ValueError, match=r"use_news must be true or false, got 'False' \(str\)"):
        load_news(tmp_path, use_news="False")  # type: ignore[arg-type]
