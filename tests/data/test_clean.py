"""Cleaning: each rule on the bar made for it, each action, exact thresholds; nothing else touched, nothing filled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    RULES,
    UNIVERSE,
    CleanRules,
    Panel,
    Rule,
    assert_no_lookahead,
    clean_bars,
    clean_symbols,
)
from factor_data.cleaning import Action

RULES_OF_TEST: dict[str, Any] = {"min_history": 3, "stale_bars": 4}
SHORT = {"short_history": 2}
ODD = 5  # the bar that the tests change


def quiet_frame(num_bars: int = 12) -> pd.DataFrame:
    """Bars that no rule but short_history minds: prices and volume change from bar to bar, adj_close is close / 2."""
    close = 10.0 + np.arange(num_bars) % 3
    return pd.DataFrame(
        {
            "timestamp": pd.bdate_range("2020-01-01", periods=num_bars),
            "symbol": "A",
            "open": close,
            "high": close + 0.5,
            "low": close - 0.5,
            "close": close,
            "adj_close": close / 2,
            "volume": 1000.0 + np.arange(num_bars),
            "amount": 9000.0,
            "luld": 0.0,
            "factor_a": 1.0,
            "factor_b": 2.0,
        }
    )


def cleaned(changes: dict[str, float], **rules: Any) -> tuple[Panel, Panel, dict[str, int]]:
    """Change values of one bar and clean: panels before and after, and the counts that are not 0."""
    frame = quiet_frame()
    for column, value in changes.items():
        frame.loc[ODD, column] = value
    before = Panel.from_frame(frame)
    after, report = clean_bars(before, CleanRules(**(RULES_OF_TEST | rules)))
    return before, after, {rule.name: rule.count for rule in report.rules if rule.count}


def test_good_bars_pass_untouched() -> None:
    before, after, counts = cleaned({})
    assert counts == SHORT
    for name, values in before.columns.items():
        np.testing.assert_array_equal(after.columns[name], values)
    assert after.columns[UNIVERSE].tolist() == [0.0, 0.0] + [1.0] * 10


# rule -> (what is changed on the odd bar, settings the rule needs, other rules that must hit too)
PLANTED: dict[str, tuple[dict[str, float], dict[str, Any], dict[str, int]]] = {
    "infinite_value": ({"factor_a": np.inf}, {}, {}),
    "open_unusable": ({"open": 0.0}, {}, {}),
    "high_unusable": ({"high": np.nan}, {}, {}),
    "low_unusable": ({"low": -1.0}, {}, {}),
    "adj_close_unusable": ({"adj_close": 0.0}, {"max_abs_return": 9.0}, {}),
    "range_crossed": ({"high": 9.0, "low": 15.0}, {}, {}),
    "close_outside_range": ({"close": 12.6}, {}, {}),
    "open_outside_range": ({"open": 14.0}, {}, {}),
    "suspended": ({"amount": 0.0}, {}, {}),
    "volume_negative": ({"volume": -5.0}, {}, {"suspended": 1}),
    "volume_zero": ({"volume": 0.0}, {}, {"suspended": 1}),
    "missing_ratio": ({"factor_a": np.nan}, {"factor_columns": ("factor_*",)}, {}),
    "limit_day": ({"luld": 1.0}, {"limit_column": "luld"}, {}),
}
STAYING = {
    "open_unusable": {"open_outside_range": 1},
    "adj_close_unusable": {"large_move": 1},
    "range_crossed": {"close_outside_range": 1, "open_outside_range": 1},
}


@pytest.mark.parametrize("action", ["drop", "mask", "flag"])
@pytest.mark.parametrize("name", PLANTED)
def test_a_rule_drops_masks_or_flags_its_bar_and_nothing_else(name: str, action: Action) -> None:
    changes, settings, also = PLANTED[name]
    rule = next(rule for rule in RULES if rule.name == name)
    if action not in rule.actions:
        with pytest.raises(ValueError, match=f"{name} cannot be '{action}'; it can be"):
            CleanRules(actions={name: action})
        return
    if action == "flag":  # values that stay offend later rules as well
        also = also | STAYING.get(name, {})
    # every other rule that this bar touches only counts
    actions = dict.fromkeys(also, "flag") | {name: action}
    before, after, counts = cleaned(changes, actions=actions, **settings)
    if action == "drop" and name != "limit_day":  # that one is looked at together with the gaps
        also = also | {"calendar_gap": 1}
    assert counts == {name: 1, **also, **SHORT}
    keep = np.arange(before.num_rows) != ODD if action == "drop" else np.ones(before.num_rows, dtype=bool)
    assert after.num_rows == keep.sum()
    masked = action == "mask"
    for column, values in before.columns.items():
        expected = values.copy()
        if masked and (column in rule.blanks or (name == "infinite_value" and np.isinf(values[ODD]))):
            expected[ODD] = np.nan
        np.testing.assert_array_equal(after.columns[column], expected[keep], err_msg=column)
    out = {0, 1} | ({ODD} if masked and not rule.blanks else set())
    assert set(np.flatnonzero(after.columns[UNIVERSE] == 0.0).tolist()) == out


@pytest.mark.parametrize("close", [0.0, -3.0, np.nan, np.inf, -np.inf])
def test_a_bar_without_a_close_is_dropped_and_leaves_a_gap(close: float) -> None:
    before, after, counts = cleaned({"close": close})
    assert after.num_rows == before.num_rows - 1
    assert after.num_dates == before.num_dates - 1  # no other symbol has a bar on that date
    assert counts.pop("infinite_value", 0) == np.isinf(close)
    assert counts == {"close_unusable": 1, "calendar_gap": 1, **SHORT}


def test_no_rule_can_leave_a_close_that_is_no_price() -> None:
    assert {rule.name: rule.actions for rule in RULES}["close_unusable"] == ("drop", "mask")
    assert {rule.name: rule.actions for rule in RULES}["infinite_value"] == ("drop", "mask")


@pytest.mark.parametrize(
    ("action", "out", "rows"), [("flag", {0, 1}, 12), ("mask", {0, 1, 5, 6}, 12), ("drop", {0, 1}, 10)]
)
def test_a_large_move_is_judged_against_the_bar_before_even_if_that_goes(
    action: Action, out: set[int], rows: int
) -> None:
    _, after, counts = cleaned({"adj_close": 8.0}, actions={"large_move": action})
    assert counts == {"large_move": 2, **SHORT}  # 5.5 to 8 is +45 %, 8 to 5 is -37.5 %
    assert after.num_rows == rows
    assert set(np.flatnonzero(after.columns[UNIVERSE] == 0.0).tolist()) == out


def test_a_move_of_exactly_the_limit_is_not_large() -> None:
    frame = quiet_frame(4).assign(open=np.nan, high=np.nan, low=np.nan, adj_close=[1.0, 1.5, 1.5, 0.75])
    panel = Panel.from_frame(frame)
    count = {
        limit: clean_bars(panel, CleanRules(max_abs_return=limit))[1].count("large_move")
        for limit in (0.4999, 0.5, 0.5001)
    }
    assert count == {0.4999: 2, 0.5: 0, 0.5001: 0}
    assert CleanRules().max_abs_return == 0.35


def test_a_split_is_suspected_only_where_the_adjusted_close_jumps_too() -> None:
    halved = dict.fromkeys(("open", "high", "low"), np.nan) | {"close": 22.4}  # near twice the 11 before
    _, _, adjusted = cleaned(halved)
    assert "split_suspected" not in adjusted
    _, _, unadjusted = cleaned(halved | {"adj_close": 11.2})
    assert unadjusted["split_suspected"] == 1


def test_stale_prices_count_from_the_configured_bar_of_the_run_on() -> None:
    still = quiet_frame(12).assign(close=10.0, open=10.0, high=10.5, low=9.5)
    _, report = clean_bars(Panel.from_frame(still), CleanRules(stale_bars=4))
    assert report.count("stale_price") == 12 - 3
    assert report.count("duplicate_bar") == 0  # the volume still changes
    _, report = clean_bars(Panel.from_frame(still.assign(volume=7.0)), CleanRules(stale_bars=13))
    assert (report.count("stale_price"), report.count("duplicate_bar")) == (0, 11)


def test_gaps_count_calendar_dates_and_masking_them_takes_the_bar_after_out() -> None:
    calendar = quiet_frame(12).assign(symbol="B")
    panel = Panel.from_frame(pd.concat([calendar, quiet_frame(12).drop(index=[0, 4, 5, 8])]))
    _, report = clean_bars(panel, CleanRules(min_history=1))
    assert report.count("calendar_gap") == 3  # what comes before the first bar is no gap
    after, _ = clean_bars(panel, CleanRules(min_history=1, actions={"calendar_gap": "mask"}))
    out = after.columns[UNIVERSE] == 0.0
    assert after.timestamp[out].tolist() == panel.dates[[6, 9]].tolist()
    with pytest.raises(ValueError, match="calendar_gap cannot be 'drop'"):
        CleanRules(actions={"calendar_gap": "drop"})


@pytest.mark.parametrize("needed", [1, 60, 251, 252, 253])
def test_the_configured_history_is_honoured_exactly(needed: int) -> None:
    """251 bars are not 252, and a short sample does not lower what is asked."""
    frame = pd.concat([quiet_frame(length).assign(symbol=f"S{length}") for length in (251, 252, 253)])
    panel = Panel.from_frame(frame)
    after, report = clean_bars(panel, CleanRules(min_history=needed, stale_bars=300))
    inside = [int(after.columns[UNIVERSE][after.symbol == f"S{n}"].sum()) for n in (251, 252, 253)]
    assert inside == [max(n - needed + 1, 0) for n in (251, 252, 253)]
    assert report.count("short_history") == panel.num_rows - sum(inside)
    assert after.num_rows == panel.num_rows
    dropped, _ = clean_bars(panel, CleanRules(min_history=needed, actions={"short_history": "drop"}))
    assert dropped.num_rows == sum(inside)


def test_history_counts_the_bars_that_stay() -> None:
    before, after, _ = cleaned({"amount": 0.0}, min_history=7, actions={"suspended": "drop"})
    assert before.num_rows - after.num_rows == 1
    assert after.columns[UNIVERSE].tolist() == [0.0] * 6 + [1.0] * 5


def test_limit_days_come_from_the_flag_and_from_the_move_where_there_is_none() -> None:
    frame = quiet_frame(8).assign(luld=[0.0, 1.0, -1.0, 2.0, 0.0, np.nan, np.nan, 0.0])
    frame["adj_close"] = [1.0, 1.0, 1.0, 1.0, 1.2, 1.32, 1.32, 2.0]  # moves of 20, 10 and 52 %
    panel = Panel.from_frame(frame)

    def days(**rules: Any) -> list[int]:
        after, report = clean_bars(panel, CleanRules(min_history=1, **rules))
        out = np.flatnonzero(after.columns[UNIVERSE] == 0.0).tolist()
        assert report.count("limit_day") == len(out)
        return out

    assert days() == []
    assert days(limit_column="luld") == [1]
    assert days(limit_column="luld", limit_values=(1.0, -1.0)) == [1, 2]
    assert days(limit_move=0.095) == [4, 5, 7]
    assert days(limit_column="luld", limit_move=0.095) == [1, 5]  # bar 5 has no flag; 4 and 7 have one


def test_factors_may_miss_up_to_the_configured_share() -> None:
    frame = quiet_frame(4).drop(columns=["factor_a", "factor_b"])
    values = np.ones((4, 10))
    values[1, :1], values[2, :2], values[3, :] = np.nan, np.nan, np.nan
    panel = Panel.from_frame(frame.assign(**{str(i): values[:, i] for i in range(10)}))
    names = tuple(str(i) for i in range(10))

    def out(share: float, names: tuple[str, ...] = names) -> list[int]:
        rules = CleanRules(min_history=1, factor_columns=names, max_missing=share)
        return np.flatnonzero(clean_bars(panel, rules)[0].columns[UNIVERSE] == 0.0).tolist()

    assert out(0.1) == [2, 3]  # 1 of 10 is not more than 0.1
    assert out(0.0) == [1, 2, 3]
    assert out(0.2) == [3]
    assert out(0.0, ("[2-9]",)) == [3]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"limit_column": "halted"}, r"limit_column: the bars have no column 'halted'; they have \['open'"),
        ({"factor_columns": ("factor_a", "alpha_*")}, r"factor_columns: the bars have no column 'alpha_\*'"),
    ],
)
def test_a_column_that_is_not_there_is_named(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clean_bars(Panel.from_frame(quiet_frame()), CleanRules(**rules))


def test_a_universe_that_the_data_bring_is_kept_to() -> None:
    member = np.array([1.0] * 6 + [0.0, np.nan] + [1.0] * 4)
    after, report = clean_bars(Panel.from_frame(quiet_frame().assign(in_universe=member)), CleanRules(min_history=3))
    assert np.flatnonzero(after.columns[UNIVERSE] == 0.0).tolist() == [0, 1, 6, 7]
    assert report.count("outside_universe") == 2
    again, _ = clean_bars(after, CleanRules(min_history=3))
    np.testing.assert_array_equal(again.columns[UNIVERSE], after.columns[UNIVERSE])


def test_symbols_whose_adjusted_close_is_the_close_throughout_are_counted() -> None:
    same = quiet_frame().assign(symbol="B", adj_close=quiet_frame()["close"])
    almost = same.assign(symbol="C")
    almost.loc[11, "adj_close"] += 0.01
    _, report = clean_bars(Panel.from_frame(pd.concat([quiet_frame(), same, almost])))
    result = next(rule for rule in report.rules if rule.name == "adjusted_equals_close")
    assert (result.count, result.unit, result.share) == (1, "symbols", 1 / 3)
    assert [offender.symbol for offender in result.offenders] == ["B"]


def test_two_bars_of_one_symbol_at_one_time_are_refused_before_cleaning() -> None:
    frame = quiet_frame()
    with pytest.raises(ValueError, match=r"sorted by \(symbol_code, date_code\) and unique"):
        Panel.from_frame(pd.concat([frame, frame.iloc[[3]]]))


@pytest.mark.parametrize("action", ["mask", "drop"])
@pytest.mark.parametrize("cut", [3, 40, 110])
def test_cleaning_does_not_look_ahead_whatever_the_rules_do(panel: Panel, cut: int, action: Action) -> None:
    generator = np.random.default_rng(1)
    columns = {name: np.array(values) for name, values in panel.columns.items()}
    for name, values in columns.items():
        values[generator.random(len(values)) < 0.02] = 0.0 if name != "close" else np.nan
    columns["luld"] = (generator.random(panel.num_rows) < 0.05).astype(float)
    dirty = panel.with_columns(**columns)
    rules = CleanRules(
        actions={rule.name: action for rule in RULES if action in rule.actions},
        min_history=20, max_abs_return=0.05, limit_column="luld", limit_move=0.04, stale_bars=2,
    )  # fmt: skip

    def everything(bars: Panel) -> np.ndarray:
        """What cleaning makes of each bar: its columns and 1, or NaN where it is dropped."""
        after, _ = clean_symbols(bars, rules)
        names = list(after.columns)
        found = after.to_pandas().set_index(["symbol", "timestamp"])[names].assign(kept=1.0)
        return found.reindex(pd.MultiIndex.from_arrays([bars.symbol, bars.timestamp])).to_numpy()

    assert np.isnan(everything(dirty)).any()  # some bars or values do go
    assert_no_lookahead(everything, dirty, dirty.dates[cut])


def test_every_rule_has_an_action_it_does_and_a_text_it_shows() -> None:
    for rule in RULES:
        assert isinstance(rule, Rule)
        assert rule.default in rule.actions
        assert "{" not in rule.text.format(**vars(CleanRules()))
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_wrong_settings_are_refused_by_name_and_value() -> None:
    wrong: dict[str, tuple[Any, str]] = {
        "min_history": (0, "min_history must be at least 1, got 0"),
        "stale_bars": (1, "stale_bars must be at least 2, got 1"),
        "max_abs_return": (-1, "max_abs_return must be positive, got -1"),
        "split_tolerance": (0.2, r"split_tolerance must lie in \[0, 0.2\), got 0.2"),
        "max_missing": (1.0, r"max_missing must lie in \[0, 1\), got 1.0"),
        "limit_move": (0.0, "limit_move must be positive, got 0.0"),
        "limit_values": ((), "limit_values must name at least one"),
        "actions": ({"limit_days": "drop"}, "unknown rule 'limit_days'; did you mean 'limit_day'?"),
    }
    for name, (value, message) in wrong.items():
        with pytest.raises(ValueError, match=message):
            CleanRules(**{name: value})
    with pytest.raises(ValueError, match="close_unusable cannot be 'flag'; it can be drop, mask"):
        CleanRules(actions={"close_unusable": "flag"})


def test_bars_without_any_price_are_kept_and_rules_of_prices_say_that_they_do_not_apply() -> None:
    frame = quiet_frame().assign(open=np.nan, high=np.nan, low=np.nan, close=np.nan, factor_0=1.0, luld=0.0)
    frame.loc[3, ["factor_0", "luld"]] = [np.nan, 1.0]
    rules = CleanRules(min_history=1, limit_column="luld", factor_columns=("factor_*",))
    cleaned, report = clean_bars(Panel.from_frame(frame.drop(columns="adj_close", errors="ignore")), rules)
    assert cleaned.num_rows == len(frame)
    assert np.flatnonzero(~cleaned.in_universe).tolist() == [3]
    effects = {rule.name: rule.effect for rule in report.rules if rule.effect.startswith("not checked")}
    assert effects == {
        "close_unusable": "not checked: no close",
        **{f"{name}_unusable": f"not checked: no {name}" for name in ("open", "high", "low", "adj_close")},
        "range_crossed": "not checked: no high and no low",
        "close_outside_range": "not checked: no close and no high and no low",
        "open_outside_range": "not checked: no open and no high and no low",
        "outside_universe": "not checked: no in_universe",
        **dict.fromkeys(("large_move", "split_suspected", "duplicate_bar", "stale_price"), "not checked: no close"),
        "adjusted_equals_close": "not checked: no adj_close",
    }
    assert {rule.name: rule.count for rule in report.rules if rule.count} == {"limit_day": 1, "missing_ratio": 1}


def test_bars_with_other_prices_and_no_close_are_broken_and_not_bars_without_prices() -> None:
    with pytest.raises(ValueError, match="none of 12 bars is left: close_unusable dropped 12"):
        clean_bars(Panel.from_frame(quiet_frame().assign(close=np.nan)))


def test_a_market_without_volume_is_not_suspended() -> None:
    cleaned, report = clean_bars(
        Panel.from_frame(quiet_frame().assign(volume=np.nan, amount=np.nan)), CleanRules(min_history=1)
    )
    assert cleaned.in_universe.all()
    effects = {rule.name: rule.effect for rule in report.rules}
    assert effects["suspended"] == "not checked: no volume or amount above 0 in any bar"
    assert effects["volume_zero"] == effects["volume_negative"] == "not checked: no volume"


def test_nothing_left_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="none of 12 bars is left: close_unusable dropped 12"):
        clean_bars(Panel.from_frame(quiet_frame().assign(close=0.0)))
