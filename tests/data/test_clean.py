"""Cleaning: each rule on the bar made for it, nothing else touched, nothing filled."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from factor_data import UNIVERSE, CleanRules, Panel, assert_no_lookahead, clean_bars

RULES = CleanRules(min_history=3, stale_bars=4)
FLAGGED = {"volume_zero", "large_move", "split_suspected", "calendar_gap", "stale_price", "short_history"}


def quiet_frame(num_bars: int = 12) -> pd.DataFrame:
    close = 10.0 + np.arange(num_bars) % 3
    return pd.DataFrame(
        {
            "timestamp": pd.bdate_range("2020-01-01", periods=num_bars),
            "symbol": "A",
            "open": close,
            "high": close + 0.5,
            "low": close - 0.5,
            "close": close,
            "adj_close": close,
            "volume": 1000.0,
        }
    )


def cleaned(**changes: object) -> tuple[Panel, Panel, dict[str, int]]:
    """Change values of bar 5 and clean: panels before and after, and the counts that are not 0."""
    frame = quiet_frame()
    for column, value in changes.items():
        frame.loc[5, column] = value
    before = Panel.from_frame(frame)
    after, report = clean_bars(before, RULES)
    return before, after, {rule.name: rule.count for rule in report.rules if rule.count}


def test_good_bars_pass_untouched() -> None:
    before, after, counts = cleaned()
    assert counts == {"short_history": 2}
    for name, values in before.columns.items():
        np.testing.assert_array_equal(after.columns[name], values)


@pytest.mark.parametrize(
    ("changes", "rule", "blanked"),
    [
        ({"open": 0.0}, "open_unusable", {"open"}),
        ({"high": np.nan}, "high_unusable", {"high"}),
        ({"low": -1.0}, "low_unusable", {"low"}),
        ({"adj_close": 0.0}, "adj_close_unusable", {"adj_close"}),
        ({"high": 9.0, "low": 15.0}, "range_crossed", {"high", "low"}),
        ({"close": 12.6, "adj_close": 12.6}, "close_outside_range", {"high", "low"}),
        ({"open": 14.0}, "open_outside_range", {"open"}),
        ({"volume": -5.0}, "volume_negative", {"volume"}),
    ],
)
def test_an_impossible_value_becomes_missing_and_its_neighbours_stay(
    changes: dict, rule: str, blanked: set[str]
) -> None:
    before, after, counts = cleaned(**changes)
    assert counts == {rule: 1, "short_history": 2}
    for name, values in before.columns.items():
        expected = values.copy()
        if name in blanked:
            expected[5] = np.nan
        np.testing.assert_array_equal(after.columns[name], expected, err_msg=name)


@pytest.mark.parametrize("close", [0.0, -3.0, np.nan])
def test_a_bar_without_a_close_is_dropped(close: float) -> None:
    before, after, counts = cleaned(close=close)
    assert after.num_rows == before.num_rows - 1
    assert after.num_dates == before.num_dates - 1  # no other symbol has a bar on that date
    assert counts == {"close_unusable": 1, "short_history": 2}


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"volume": 0.0}, {"volume_zero": 1}),
        (
            {"open": 20.0, "high": 20.0, "low": 20.0, "close": 20.0, "adj_close": 20.0},
            {"large_move": 1, "split_suspected": 1},  # 11 to 20, then 20 to 10
        ),
        ({"close": 24.0, "open": 24.0, "high": 24.0, "low": 24.0}, {}),
    ],
)
def test_suspects_are_flagged_and_kept(changes: dict, rules: dict[str, int]) -> None:
    before, after, counts = cleaned(**changes)
    assert counts == {**rules, "short_history": 2}
    np.testing.assert_array_equal(after.columns["close"], before.columns["close"])


def test_gaps_and_stale_prices_are_counted() -> None:
    calendar = quiet_frame(12).assign(symbol="B")
    gappy = quiet_frame(12).drop(index=[4, 5, 8])
    still = quiet_frame(12).assign(symbol="C", close=10.0, adj_close=10.0, open=10.0, high=10.5, low=9.5)
    _, report = clean_bars(Panel.from_frame(pd.concat([calendar, gappy, still])), RULES)
    assert report.count("calendar_gap") == 3
    assert report.count("stale_price") == 1
    with pytest.raises(ValueError, match="no rule 'gaps'"):
        report.count("gaps")


def test_universe_counts_past_bars_only() -> None:
    panel = Panel.from_frame(quiet_frame())
    after, _ = clean_bars(panel, RULES)
    assert after.columns[UNIVERSE].tolist() == [0.0, 0.0] + [1.0] * 10
    assert_no_lookahead(lambda p: clean_bars(p, RULES)[0].columns[UNIVERSE], panel, panel.dates[3])


def test_report_is_json_without_nan_and_a_page_with_escaped_text() -> None:
    frame = quiet_frame().assign(symbol="<script>")
    frame.loc[3, "open"] = np.nan
    _, report = clean_bars(Panel.from_frame(frame), RULES)
    json.dumps(report.to_dict(), allow_nan=False)
    page = report.to_html()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "http" not in page
    assert report.summary["bars_out"] == 12


def test_nothing_left_and_bad_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="none of 12 bars has a positive close"):
        clean_bars(Panel.from_frame(quiet_frame().assign(close=0.0)))
    with pytest.raises(ValueError, match="min_history must be at least 1, got 0"):
        CleanRules(min_history=0)
    with pytest.raises(ValueError, match="max_abs_return must be positive, got -1"):
        CleanRules(max_abs_return=-1)
