"""Zones of stamps that are served: the importer's rule, at every door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import Panel
from factor_serve import Bundle, Forecaster, forecast
from factor_serve.stamps import wall_clock, with_zones, without_zone
from serve.bundle_samples import news_between


@pytest.mark.parametrize(
    ("stamps", "zones"),
    [
        (["2024-01-02", "2024-01-03T09:30"], ["", ""]),
        (["2024-01-02T09:30-05:00", "2024-07-02T09:30-04:00"], ["-05:00", "-04:00"]),
        (pd.to_datetime(["2024-01-02T09:30+02:00"]), ["+02:00"]),
        (pd.Series([pd.Timestamp("2024-01-02T09:30", tz="UTC")], dtype=object), ["UTC"]),
        (pd.Series(pd.to_datetime(["2024-01-02T09:30"])).dt.tz_localize("Asia/Tokyo"), ["Asia/Tokyo"]),
    ],
)
def test_the_wall_clock_is_kept_and_its_zone_is_known(stamps: object, zones: list[str]) -> None:
    wall, found = wall_clock(stamps, "bars")
    assert found.tolist() == zones
    assert wall[0] in (np.datetime64("2024-01-02T09:30"), np.datetime64("2024-01-02"))


@pytest.mark.parametrize(
    "stamps",
    [
        ["2024-01-02T09:30-05:00", "2024-01-03T09:30"],
        ["2024-01-02T09:30-05:00", "2024-01-03T09:30-04:00"],  # no exchange has both in January
    ],
)
def test_two_zones_are_refused_at_once_and_one_after_the_other(stamps: list[str]) -> None:
    with pytest.raises(ValueError, match=r"bars: time zones differ between rows"):
        wall_clock(stamps, "bars")
    first = with_zones({}, *wall_clock(stamps[:1], "bars"), "bars")
    assert with_zones(first, *wall_clock(["2024-07-02T09:30-05:00"], "bars"), "bars") == first
    with pytest.raises(ValueError, match=r"bars: time zones differ between rows: .*row 1 is '2024-01-02T09:30-05:00'"):
        with_zones(first, *wall_clock(stamps[1:], "bars"), "bars")


def test_summer_and_winter_of_one_exchange_follow_each_other() -> None:
    zones: dict[str, str] = {}
    for stamp in ("2024-01-02T09:30-05:00", "2024-07-02T09:30-04:00", "2024-12-02T09:30-05:00"):
        zones = with_zones(zones, *wall_clock([stamp], "bars"), "bars")
    with pytest.raises(ValueError, match="time zones differ"):  # of Chicago, whose winter is another
        with_zones(zones, *wall_clock(["2025-07-02T09:30-05:00"], "bars"), "bars")


def test_a_date_that_is_asked_for_has_no_zone() -> None:
    assert without_zone("2024-01-31", "--at") == np.datetime64("2024-01-31")
    with pytest.raises(ValueError, match=r"--at '2024-01-31T00:00Z': has a zone: a date is by the clock of the bars"):
        without_zone("2024-01-31T00:00Z", "--at")


@pytest.mark.end_to_end
def test_a_forecaster_refuses_another_zone_also_after_a_restart(
    bundle: Bundle, panel: Panel, news: pd.DataFrame, tmp_path: Path
) -> None:
    frame, (first, second) = panel.to_pandas(), panel.dates[-2:]
    in_tokyo = frame.assign(timestamp=frame["timestamp"].dt.tz_localize("Asia/Tokyo"))
    forecaster = Forecaster(bundle)
    forecaster.update(in_tokyo[frame["timestamp"] <= first], news_between(news, None, first))
    forecaster.save(tmp_path / "state")
    forecaster = Forecaster.restore(bundle, tmp_path / "state")
    new, documents = in_tokyo[frame["timestamp"] == second], news_between(news, first, second)
    assert documents is not None
    elsewhere = documents.assign(timestamp=documents["timestamp"].dt.tz_localize("UTC"))
    for bars, more, rule in (
        (new.assign(timestamp=new["timestamp"].dt.tz_convert("UTC") + pd.Timedelta("9h")), documents, "bars: time zo"),
        (frame[frame["timestamp"] == second], documents, "bars: time zones differ"),
        (new, elsewhere, "bars and news: time zones differ"),
    ):
        with pytest.raises(ValueError, match=rule):
            forecaster.update(bars, more)
    said = forecaster.update(new, documents)
    twice = forecast(bundle, Panel.from_frame(frame), news, np.array([second, first, second]))
    assert sorted(twice["timestamp"].unique()) == [first, second]
    pd.testing.assert_frame_equal(twice[twice["timestamp"] == second].reset_index(drop=True), said, check_exact=True)
