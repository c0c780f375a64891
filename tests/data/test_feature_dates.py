"""Date and calendar features: pandas references per date, the universe, leaders, chunks of dates and of symbols."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from data.conftest import random_frame
from factor_data import (
    DATE_FEATURES,
    FEATURE_SETS,
    FEATURES,
    Panel,
    assert_no_lookahead,
    available_features,
    compute_features,
    expand_features,
    plan_features,
)


@pytest.fixture(scope="module")
def cleaned() -> Panel:
    """12 symbols; a part of the rows is outside the universe."""
    panel = Panel.from_frame(random_frame(12, 90, seed=9))
    in_universe = (np.random.default_rng(0).random(panel.num_rows) < 0.8) & (panel.date_code >= 10)
    return panel.with_columns(in_universe=in_universe.astype(float))


@pytest.fixture(scope="module")
def frame(cleaned: Panel) -> pd.DataFrame:
    """The base features as pandas has them, with date and universe."""
    bases = ["return_1", "return_5", "return_20", "volatility_20", "close_to_mean_20", "amihud_20"]
    values = compute_features(cleaned, bases).to_pandas().reset_index()
    return values.assign(inside=cleaned.in_universe)


def residual(group: pd.DataFrame, name: str) -> pd.Series:
    """Least squares on volatility and illiquidity by the normal equations."""
    kept = group[group["inside"]].dropna()
    result = pd.Series(np.nan, index=group.index)
    if len(kept) >= 4:
        x = np.column_stack([np.ones(len(kept)), kept["volatility_20"], kept["amihud_20"]]).astype(float)
        y = kept[name].to_numpy(dtype=float)
        result[kept.index] = y - x @ np.linalg.solve(x.T @ x, x.T @ y)
    return result


def ranked(x: pd.Series) -> pd.Series:
    known = x.dropna()
    ranks = 2 * (rankdata(known) - 1) / max(len(known) - 1, 1) - (len(known) > 1)
    return pd.Series(ranks, index=known.index).reindex(x.index)


def expected_of(name: str, frame: pd.DataFrame) -> pd.Series:
    kind, rest = name.split("_", 1)
    if kind == "neutral":
        return pd.concat([residual(group, rest) for _, group in frame.groupby("timestamp")]).sort_index()
    sources = {
        "market_dispersion_1": "return_1",
        "market_dispersion_20": "return_20",
        "market_breadth_1": "return_1",
        "market_breadth_20": "close_to_mean_20",
    }
    base = frame.where(frame["inside"])[sources.get(name, rest)].astype(float)
    by_date = base.groupby(frame["timestamp"])
    if kind == "rank":
        return by_date.transform(ranked)
    if kind == "relative":
        return base - by_date.transform("mean")
    if "dispersion" in name:
        return by_date.transform(lambda x: x.std(ddof=0))
    if "breadth" in name:
        return by_date.transform(lambda x: (x.dropna() > 0).mean() if x.notna().any() else np.nan)
    return by_date.transform("mean")


@pytest.mark.parametrize("name", DATE_FEATURES)
def test_date_feature_equals_pandas_date_by_date(name: str, cleaned: Panel, frame: pd.DataFrame) -> None:
    actual = compute_features(cleaned, [name]).values[:, 0]
    expected = expected_of(name, frame)
    np.testing.assert_array_equal(np.isnan(actual), expected.isna())
    assert np.isfinite(actual).any()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def test_market_features_reach_rows_outside_the_universe_and_comparisons_do_not(cleaned: Panel) -> None:
    values = compute_features(cleaned, ["market_return_1", "rank_return_1"])
    outside = ~cleaned.in_universe & (cleaned.date_code >= 40)
    assert np.isfinite(values.column("market_return_1")[outside]).all()
    assert np.isnan(values.column("rank_return_1")[outside]).all()


def test_rows_outside_the_universe_do_not_count(cleaned: Panel) -> None:
    outside = ~cleaned.in_universe
    changed = cleaned.with_columns(
        close=np.where(outside, cleaned.columns["close"] * 3, cleaned.columns["close"]),
        adj_close=np.where(outside, cleaned.columns["adj_close"] * 3, cleaned.columns["adj_close"]),
    )
    after_inside = np.r_[False, ~outside[:-1]] & ~outside
    base = compute_features(cleaned, ["return_1"]).values[:, 0]
    assert (compute_features(changed, ["return_1"]).values[after_inside, 0] == base[after_inside]).mean() > 0.9
    dates = np.unique(cleaned.date_code[outside])
    assert len(dates) > 20
    only_here = compute_features(changed.select(cleaned.in_universe), ["market_return_20"]).values
    whole = compute_features(cleaned.select(cleaned.in_universe), ["market_return_20"]).values
    np.testing.assert_array_equal(only_here, whole)


def test_a_leader_is_broadcast_to_every_symbol_of_the_date(cleaned: Panel) -> None:
    values = compute_features(cleaned, ["return_1", "return_1@S3", "KMID@S3"])
    own = dict(
        zip(
            cleaned.date_code[cleaned.symbol == "S3"], values.column("return_1")[cleaned.symbol == "S3"],
            strict=True,
        )
    )  # fmt: skip
    expected = [own.get(date, np.nan) for date in cleaned.date_code]
    np.testing.assert_array_equal(values.column("return_1@S3"), np.array(expected, dtype=np.float32))
    with pytest.raises(ValueError, match=r"feature 'return_1@SPY': the panel has no symbol 'SPY'"):
        compute_features(cleaned, ["return_1@SPY"])
    with pytest.raises(ValueError, match="unknown features"):
        compute_features(cleaned, ["market_return_1@S3"])


def test_chunks_of_symbols_then_of_dates_give_the_same_bytes(cleaned: Panel) -> None:
    names = ["market", "return_5", "alpha158", "calendar", "return_1@S4"]
    plan = plan_features(names, cleaned.symbols)
    parts = [cleaned.select(cleaned.symbol_code % 3 == part) for part in range(3)]
    values = np.empty((cleaned.num_rows, len(plan.symbol_names)), dtype=np.float32)
    for part, panel in enumerate(parts):
        values[cleaned.symbol_code % 3 == part] = plan.symbol_values(panel)
    result = np.empty((cleaned.num_rows, len(plan.names)), dtype=np.float32)
    for first in range(0, cleaned.num_dates, 17):
        rows = (cleaned.date_code >= first) & (cleaned.date_code < first + 17)
        result[rows] = plan.all_values(
            values[rows], cleaned.date_code[rows], cleaned.symbol_code[rows], cleaned.in_universe[rows]
        )
    whole = compute_features(cleaned, names)
    assert whole.names == plan.names
    np.testing.assert_array_equal(result, whole.values)


def test_names_of_symbols_do_not_matter(cleaned: Panel) -> None:
    frame = cleaned.to_pandas()
    number = frame["symbol"].str[1:].astype(int)
    renamed = Panel.from_frame(frame.assign(symbol="T" + (99 - number).astype(str)))
    before = compute_features(cleaned, ["market"]).to_pandas().reset_index()
    after = compute_features(renamed, ["market"]).to_pandas().reset_index()
    after["symbol"] = "S" + (99 - after["symbol"].str[1:].astype(int)).astype(str)
    keys = ["symbol", "timestamp"]
    pd.testing.assert_frame_equal(
        before.sort_values(keys, ignore_index=True), after.sort_values(keys, ignore_index=True), rtol=1e-4
    )


@pytest.mark.parametrize("name", ["market", "return_1@S3", "calendar"])
def test_date_and_calendar_features_do_not_look_ahead(name: str, cleaned: Panel) -> None:
    assert_no_lookahead(lambda panel: compute_features(panel, [name]), cleaned, cleaned.dates[60])


def test_an_uncleaned_panel_has_no_market(panel: Panel) -> None:
    with pytest.raises(ValueError, match="clean it first"):
        compute_features(panel, ["market_return_1"])


def stamped(stamps: list[str]) -> Panel:
    frame = pd.DataFrame({"timestamp": pd.to_datetime(stamps), "symbol": "A", "volume": 1.0})
    return Panel.from_frame(frame.assign(open=1.0, high=1.0, low=1.0, close=1.0))


def test_calendar_features_of_known_days() -> None:
    stamps = ["1969-12-28 00:00", "2020-02-29 09:30", "2021-12-31 15:45", "2024-01-01 12:00"]
    matrix = compute_features(stamped(stamps), ["calendar"])
    times = pd.DatetimeIndex(stamps)
    np.testing.assert_array_equal(matrix.column("day_of_week"), times.dayofweek)
    np.testing.assert_array_equal(matrix.column("day_of_month"), times.day)
    np.testing.assert_array_equal(matrix.column("month"), times.month)
    np.testing.assert_array_equal(matrix.column("time_of_day"), [0.0, 9.5, 15.75, 12.0])
    np.testing.assert_allclose(matrix.column("time_of_day_cos")[[0, 3]], [1.0, -1.0])
    np.testing.assert_allclose(matrix.column("month_sin")[2], np.sin(2 * np.pi), atol=1e-6)
    for name in ("day_of_week", "month", "time_of_day"):
        np.testing.assert_allclose(
            matrix.column(f"{name}_sin") ** 2 + matrix.column(f"{name}_cos") ** 2, 1.0, rtol=1e-6
        )


def test_sets_expand_in_order_and_repeats_are_refused() -> None:
    assert expand_features() == FEATURE_SETS["bars"]
    assert expand_features(["month", "market"])[:2] == ("month", "market_return_1")
    assert set(available_features()) >= set(FEATURES) | set(DATE_FEATURES) | set(FEATURE_SETS["alpha360"])
    assert len(set(available_features())) == len(available_features())
    with pytest.raises(ValueError, match=r"features repeat: \['month'\]"):
        expand_features(["calendar", "month"])
    with pytest.raises(ValueError, match=r"features repeat: \['alpha158'\]"):
        expand_features(["alpha158", "alpha158"])


def test_bases_that_were_not_asked_for_do_not_appear(cleaned: Panel) -> None:
    plan = plan_features(["market_return_1", "return_5"], cleaned.symbols)
    assert plan.symbol_names == ("return_5", "return_1")
    assert compute_features(cleaned, ["market_return_1", "return_5"]).names == ("market_return_1", "return_5")
