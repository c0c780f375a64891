"""Cleaning in parts: a map over symbols whose reports add up; the rules against a slow, plain reference."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_data import (
    RULES,
    UNIVERSE,
    CleanRules,
    Panel,
    QualityReport,
    clean_bars,
    clean_symbols,
    rule_hits,
)
from factor_data.cleaning import Action
from factor_data.cleaning.apply import bars_looked_at, clean_newest
from factor_data.cleaning.bars import NO_FACTS

NUM_SYMBOLS, NUM_DATES = 7, 40


def dirty_panel(seed: int, share: float = 0.1) -> Panel:
    """Bars with every kind of defect, gaps, and a symbol without any bar."""
    generator = np.random.default_rng(seed)
    code = np.repeat(np.arange(NUM_SYMBOLS), NUM_DATES)
    close = np.round(20 * np.exp(np.cumsum(generator.normal(0, 0.05, len(code)))), 1)
    columns = {
        "open": close * generator.choice([1.0, 1.01, 0.99], len(code)),
        "high": close * 1.02,
        "low": close * 0.98,
        "close": np.where(generator.random(len(code)) < 0.1, np.roll(close, 1), close),
        "volume": generator.integers(0, 4, len(code)) * 100.0,
        "adj_close": close * np.where(code % 3 == 0, 1.0, 0.5),
        "amount": generator.integers(0, 9, len(code)) * 10.0,
        "luld": generator.choice([0.0, 1.0, np.nan], len(code)),
        "f0": np.ones(len(code)),
        "f1": np.ones(len(code)),
    }
    for name, values in columns.items():
        bad = generator.random(len(code)) < share
        values[bad] = generator.choice([np.nan, 0.0, -1.0, np.inf, -np.inf, 2 * values.mean()], bad.sum())
        columns[name] = values
    panel = Panel(
        symbols=np.array([f"S{i}" for i in range(NUM_SYMBOLS)]),
        dates=pd.bdate_range("2020-01-01", periods=NUM_DATES).to_numpy().astype("datetime64[ns]"),
        symbol_code=code.astype(np.int32),
        date_code=np.tile(np.arange(NUM_DATES), NUM_SYMBOLS).astype(np.int32),
        columns=columns,
    )
    return panel.select((generator.random(len(code)) < 0.9) & (code != 3))


@st.composite
def rule_sets(draw: st.DrawFn) -> CleanRules:
    actions: dict[str, Action] = {
        rule.name: draw(st.sampled_from(rule.actions)) for rule in RULES if draw(st.booleans())
    }
    return CleanRules(
        actions=actions,
        min_history=draw(st.integers(1, 15)),
        max_abs_return=draw(st.sampled_from([0.02, 0.35])),
        stale_bars=draw(st.integers(2, 4)),
        limit_column=draw(st.sampled_from([None, "luld"])),
        limit_move=draw(st.sampled_from([None, 0.08])),
        factor_columns=draw(st.sampled_from([(), ("f*",)])),
        max_missing=draw(st.sampled_from([0.0, 0.5])),
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rules=rule_sets(), group=st.lists(st.integers(0, 3), min_size=7, max_size=7))
def test_cleaning_in_parts_is_cleaning_the_whole(seed: int, rules: CleanRules, group: list[int]) -> None:
    panel = dirty_panel(seed)
    whole, report = clean_symbols(panel, rules)
    panels, reports = [], []
    for number in range(4):  # a part may be empty
        part, part_report = clean_symbols(panel.select(np.array(group)[panel.symbol_code] == number), rules)
        np.testing.assert_array_equal(part.symbols, panel.symbols)
        np.testing.assert_array_equal(part.dates, panel.dates)
        panels.append(part)
        reports.append(part_report)
    merged = QualityReport.merge(reports)
    assert json.dumps(merged.to_dict(), allow_nan=False) == json.dumps(report.to_dict(), allow_nan=False)
    assert merged.to_html() == report.to_html()
    together = pd.concat([part.to_pandas() for part in panels]).sort_values(["symbol", "timestamp"])
    pd.testing.assert_frame_equal(together.reset_index(drop=True), whole.to_pandas(), check_exact=True)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rules=rule_sets())
def test_what_stays_is_what_was_read_or_missing(seed: int, rules: CleanRules) -> None:
    """No value is filled and no bar is made up; what the features rely on holds.

    Not from the past, not backwards, not from another symbol, and not to pad a short history.
    """
    panel = dirty_panel(seed)
    after, report = clean_symbols(panel, rules)
    read = panel.to_pandas().set_index(["symbol", "timestamp"])
    left = after.to_pandas().set_index(["symbol", "timestamp"])
    assert left.index.isin(read.index).all()
    for name in panel.columns:
        known = left[name].notna()
        assert (left[name][known] == read[name].loc[left.index][known]).all()
    close = after.columns["close"]
    may_be_missing = rules.action("close_unusable") == "mask"
    assert ((close > 0) & np.isfinite(close) | (np.isnan(close) & may_be_missing)).all()
    assert set(np.unique(after.columns[UNIVERSE])) <= {0.0, 1.0}
    assert report.summary["bars_out"] == after.num_rows
    dropped = sum(rule.count for rule in report.rules if rule.action == "drop")
    assert dropped >= panel.num_rows - after.num_rows
    assert (dropped == 0) == (panel.num_rows == after.num_rows)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), rules=rule_sets(), date=st.integers(5, NUM_DATES - 1))
def test_the_newest_bars_are_cleaned_beside_a_few_before_them_as_beside_all(
    seed: int, rules: CleanRules, date: int
) -> None:
    """The bars before them are those that are left, and none further back than the rules look."""
    panel = dirty_panel(seed)
    panel = panel.select(panel.date_code <= date)
    whole, _ = clean_symbols(panel, rules)
    looked_at = bars_looked_at(rules)
    is_left = np.isin(panel.row_key, whole.row_key)
    is_new = panel.date_code == date
    near = np.ones(panel.num_rows, dtype=bool)
    if looked_at is not None:
        for code in range(NUM_SYMBOLS):
            mine = panel.symbol_code == code
            before = np.flatnonzero(mine & is_left & ~is_new)
            if len(before) > looked_at:
                near[mine & (np.arange(panel.num_rows) < before[-looked_at])] = False
    earlier = np.bincount(panel.symbol_code[is_left & ~near], minlength=NUM_SYMBOLS)
    found = clean_newest(panel.select(near), rules, NO_FACTS, earlier)
    expected, found = (one.select(one.date_code == date) for one in (whole, found))
    np.testing.assert_array_equal(found.symbol_code, expected.symbol_code)
    for name, values in expected.columns.items():
        np.testing.assert_array_equal(found.columns[name], values, err_msg=name)


def reference_counts(panel: Panel, rules: CleanRules) -> Counter[str]:
    """The default actions, bar by bar and symbol by symbol, in plain Python."""
    counts: Counter[str] = Counter()
    for _, frame in panel.to_pandas().assign(date=panel.date_code).groupby("symbol"):
        bars = [clean_values(bar, counts, rules) for bar in frame.to_dict("records")]
        kept = [bar for bar in bars if bar is not None]
        compare_with_the_past(kept, counts, rules)
        if kept and all(bar["adj_close"] == bar["close"] for bar in kept):
            counts["adjusted_equals_close"] += 1
    return counts


def clean_values(bar: dict, counts: Counter[str], rules: CleanRules) -> dict | None:
    def fired(name: str, hit: bool, *blanks: str) -> None:
        if hit:
            counts[name] += 1
            bar.update(dict.fromkeys(blanks, float("nan")))

    values = [name for name in bar if name not in ("symbol", "timestamp", "date")]
    infinite = [name for name in values if abs(bar[name]) == float("inf")]
    fired("infinite_value", bool(infinite), *infinite)
    if not bar["close"] > 0:
        counts["close_unusable"] += 1
        return None
    for name in ("open", "high", "low", "adj_close"):
        fired(f"{name}_unusable", not bar[name] > 0, name)
    fired("range_crossed", bar["high"] < bar["low"], "high", "low")
    slack = rules.price_tolerance
    for name, blanks in (("close", ("high", "low")), ("open", ("open",))):
        outside = bar[name] > bar["high"] * (1 + slack) or bar[name] < bar["low"] * (1 - slack)
        fired(f"{name}_outside_range", outside, *blanks)
    fired("suspended", bar["volume"] <= 0 or bar["amount"] <= 0)
    fired("volume_negative", bar["volume"] < 0, "volume")
    fired("volume_zero", bar["volume"] == 0)
    fired("missing_ratio", sum(bar[name] != bar[name] for name in ("f0", "f1")) / 2 > rules.max_missing)
    return bar


def compare_with_the_past(kept: list[dict], counts: Counter[str], rules: CleanRules) -> None:
    run = 0
    for number, bar in enumerate(kept):
        before = kept[number - 1] if number else None
        same = before is not None and bar["close"] == before["close"]
        run = run + 1 if same else 1
        counts["stale_price"] += run >= rules.stale_bars
        counts["short_history"] += number + 1 < rules.min_history
        no_flag = bar["luld"] != bar["luld"]
        counts["limit_day"] += bar["luld"] == 1
        if before is None:
            continue
        move, jump = bar["adj_close"] / before["adj_close"] - 1, bar["close"] / before["close"]
        counts["limit_day"] += no_flag and abs(move) > rules.limit_move
        counts["large_move"] += abs(move) > rules.max_abs_return
        times = max(jump, 1 / jump)
        near = any(abs(times / k - 1) < rules.split_tolerance for k in (2, 3, 4, 5, 6, 7, 8, 10, 20))
        counts["split_suspected"] += near and abs((move + 1) / jump - 1) < rules.split_tolerance
        counts["calendar_gap"] += bar["date"] - before["date"] - 1
        prices = ("open", "high", "low", "close", "volume")
        counts["duplicate_bar"] += bar["volume"] > 0 and all(bar[name] == before[name] for name in prices)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_every_count_is_that_of_a_plain_loop_over_bars(seed: int, share: float) -> None:
    panel = dirty_panel(seed, share)
    rules = CleanRules(
        min_history=5, max_abs_return=0.1, stale_bars=2, limit_column="luld", limit_move=0.08,
        factor_columns=("f0", "f1"), max_missing=0.4,
    )  # fmt: skip
    after, report = clean_bars(panel, rules)
    expected = reference_counts(panel, rules)
    assert {rule.name: rule.count for rule in report.rules} == {rule.name: expected[rule.name] for rule in RULES}
    assert after.num_rows == panel.num_rows - expected["close_unusable"]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), rules=rule_sets())
def test_the_hits_of_a_rule_are_the_bars_that_it_acts_on(seed: int, rules: CleanRules) -> None:
    panel = dirty_panel(seed)
    hits = rule_hits(panel, rules)
    after, report = clean_symbols(panel, rules)
    assert list(hits) == [rule.name for rule in report.rules]
    dropped = np.zeros(panel.num_rows, dtype=bool)
    outside = np.zeros(panel.num_rows, dtype=bool)
    for rule, result in zip(RULES, report.rules, strict=True):
        if rule.unit == "bars":
            assert hits[rule.name].sum() == result.count
        dropped |= hits[rule.name] & (result.action == "drop")
        outside |= hits[rule.name] & (result.action == "mask") & (not rule.blanks)
    left = panel.select(~dropped)
    np.testing.assert_array_equal(after.symbol_code, left.symbol_code)
    np.testing.assert_array_equal(after.date_code, left.date_code)
    np.testing.assert_array_equal(after.in_universe, ~outside[~dropped])


def test_offenders_are_the_first_in_time_then_by_symbol() -> None:
    panel = dirty_panel(0, share=0.3)
    _, report = clean_bars(panel)
    result = next(rule for rule in report.rules if rule.name == "infinite_value")
    infinite = panel.to_pandas().set_index(["timestamp", "symbol"]).isin([np.inf, -np.inf]).any(axis=1)
    first = infinite[infinite].sort_index().index[:5]
    assert [(o.timestamp, o.symbol) for o in result.offenders] == [(s.isoformat(), name) for s, name in first]
    assert all(offender.value is None for offender in result.offenders)


def test_parts_that_do_not_belong_together_are_refused() -> None:
    panel = dirty_panel(0)
    report = clean_symbols(panel)[1]
    with pytest.raises(ValueError, match="at least one report"):
        QualityReport.merge([])
    with pytest.raises(ValueError, match="made by the same rules"):
        QualityReport.merge([report, clean_symbols(panel, CleanRules(min_history=3))[1]])
    with pytest.raises(ValueError, match="same symbols and dates"):
        QualityReport.merge([report, clean_symbols(panel.compact())[1]])
    with pytest.raises(ValueError, match="same columns"):
        QualityReport.merge([report, clean_symbols(panel.with_columns(more=panel.columns["f0"]))[1]])
