"""Alpha158 and Alpha360: brute force over every window, pyqlib's own values, and the rules for head, gaps and zeros."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, rankdata

from data.conftest import random_frame
from factor_data import (
    ALPHA158_NAMES,
    ALPHA360_NAMES,
    Panel,
    alpha158,
    alpha360,
    assert_no_lookahead,
    compute_features,
)

pytestmark = pytest.mark.numeric

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "alpha158"
WINDOWS = (5, 10, 20, 30, 60)
E = 1e-12


def brute_force_window(c: np.ndarray, h: np.ndarray, low: np.ndarray, v: np.ndarray, w: int) -> dict[str, float]:
    """The rolling features of the last bar, from arrays that end there; straight from the definitions."""
    last, cw, hw, lw, vw = c[-1], c[-w:], h[-w:], low[-w:], v[-w:]
    move, flow = np.diff(c)[-w:], np.diff(v)[-w:]
    line = linregress(np.arange(w), cw)
    ratio, growth = (c[1:] / c[:-1])[-w:], np.log(v[1:] / v[:-1] + 1)[-w:]
    weighted = np.abs(ratio - 1) * vw
    ups, downs = np.maximum(move, 0).sum(), np.maximum(-move, 0).sum()
    vups, vdowns = np.maximum(flow, 0).sum(), np.maximum(-flow, 0).sum()
    first_high, first_low = int(np.argmax(hw)) + 1, int(np.argmin(lw)) + 1
    return {
        "ROC": c[-w - 1] / last,
        "MA": cw.mean() / last,
        "STD": cw.std(ddof=1) / last,
        "BETA": line.slope / last,
        "RSQR": line.rvalue**2,
        "RESI": (last - line.intercept - line.slope * (w - 1)) / last,
        "MAX": hw.max() / last,
        "MIN": lw.min() / last,
        "QTLU": np.quantile(cw, 0.8) / last,
        "QTLD": np.quantile(cw, 0.2) / last,
        "RANK": rankdata(cw)[-1] / w,
        "RSV": (last - lw.min()) / (hw.max() - lw.min() + E),
        "IMAX": first_high / w,
        "IMIN": first_low / w,
        "IMXD": (first_high - first_low) / w,
        "CORR": np.corrcoef(cw, np.log(vw + 1))[0, 1],
        "CORD": np.corrcoef(ratio, growth)[0, 1],
        "CNTP": (move > 0).mean(),
        "CNTN": (move < 0).mean(),
        "CNTD": (move > 0).mean() - (move < 0).mean(),
        "SUMP": ups / (ups + downs + E),
        "SUMN": downs / (ups + downs + E),
        "SUMD": (ups - downs) / (ups + downs + E),
        "VMA": vw.mean() / (v[-1] + E),
        "VSTD": vw.std(ddof=1) / (v[-1] + E),
        "WVMA": weighted.std(ddof=1) / (weighted.mean() + E),
        "VSUMP": vups / (vups + vdowns + E),
        "VSUMN": vdowns / (vups + vdowns + E),
        "VSUMD": (vups - vdowns) / (vups + vdowns + E),
    }


def brute_force_bar(o: float, h: float, low: float, c: float, vwap: float) -> dict[str, float]:
    spread = h - low + E
    top, bottom = h - max(o, c), min(o, c) - low
    return {
        "KMID": (c - o) / o,
        "KLEN": (h - low) / o,
        "KMID2": (c - o) / spread,
        "KUP": top / o,
        "KUP2": top / spread,
        "KLOW": bottom / o,
        "KLOW2": bottom / spread,
        "KSFT": (2 * c - h - low) / o,
        "KSFT2": (2 * c - h - low) / spread,
        "OPEN0": o / c,
        "HIGH0": h / c,
        "LOW0": low / c,
        "VWAP0": vwap / c,
    }


# Features of a window of w bars that take a change need the bar before it too.
WITH_CHANGES = {*("ROC", "CORD", "CNTP", "CNTN", "CNTD", "SUMP", "SUMN", "SUMD", "WVMA", "VSUMP", "VSUMN", "VSUMD")}


def brute_force(bars: pd.DataFrame) -> pd.DataFrame:
    """All 158 features of one symbol's adjusted bars, row by row."""
    names = ("close", "open", "high", "low", "volume")
    # In front of the first bar lies nothing: the change into it is unknown.
    c, o, h, low, v = (np.r_[np.nan, bars[name]] for name in names)
    rows = []
    for t in range(1, len(c)):
        values = brute_force_bar(o[t], h[t], low[t], c[t], bars["vwap"].iloc[t - 1])
        for w in WINDOWS:
            if t >= w:
                found = brute_force_window(*(x[t - w : t + 1] for x in (c, h, low, v)), w)
                values |= {f"{k}{w}": x for k, x in found.items() if t > w or k not in WITH_CHANGES}
        rows.append(values)
    return pd.DataFrame(rows, columns=list(ALPHA158_NAMES), index=bars.index)


def with_vwap(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(vwap=frame[["open", "high", "low", "close"]].mean(axis=1) * 1.001)


@pytest.fixture(scope="module")
def priced() -> pd.DataFrame:
    """Three symbols, with gaps, a late listing, tied closes and no adj_close."""
    frame = with_vwap(random_frame(3, 110, seed=4)).drop(columns="adj_close")
    return frame.assign(close=frame["close"].round(1), high=frame["high"] + 0.1, low=frame["low"] - 0.1)


def test_every_feature_equals_brute_force_over_its_window(priced: pd.DataFrame) -> None:
    expected = pd.concat([brute_force(group) for _, group in priced.groupby("symbol")])
    actual = alpha158(Panel.from_frame(priced)).values
    np.testing.assert_array_equal(np.isnan(actual), expected.isna())
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


def test_prices_and_volumes_are_adjusted(priced: pd.DataFrame) -> None:
    factor = np.where(np.arange(len(priced)) % 110 < 50, 0.5, 1.0)
    adjusted = priced.assign(
        **{name: priced[name] * factor for name in ("open", "high", "low", "close", "vwap")},
        volume=priced["volume"] / factor,
    )
    raw = priced.assign(adj_close=priced["close"] * factor)
    np.testing.assert_array_equal(alpha158(Panel.from_frame(raw)).values, alpha158(Panel.from_frame(adjusted)).values)


def read_golden() -> tuple[Panel, pd.DataFrame]:
    bars = pd.read_parquet(GOLDEN / "bars.parquet")
    # qlib's store holds float32: given the same rounded bars, only the arithmetic is compared
    panel = Panel.from_frame(bars.astype(dict.fromkeys(bars.columns.drop(["timestamp", "symbol"]), np.float32)))
    features = pd.read_parquet(GOLDEN / "features.parquet").sort_values(["symbol", "timestamp"])
    return panel, features[list(ALPHA158_NAMES)]


@pytest.mark.real_data
@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"golden values not found at {GOLDEN}")
def test_values_of_pyqlib_on_rows_without_a_gap() -> None:
    panel, expected = read_golden()
    date, row = panel.date_code, np.arange(panel.num_rows)
    first = panel.starts[panel.symbol_code]
    no_gap = (row - first >= 61) & (date - date[np.maximum(row - 61, 0)] == 61)
    assert no_gap.sum() == 4736
    actual = alpha158(panel).values[no_gap]
    # The absolute tolerance is for correlations near 0, which pyqlib's running sums know to 2e-5 only.
    np.testing.assert_allclose(actual, expected.to_numpy()[no_gap], rtol=1e-3, atol=3e-5, equal_nan=True)
    tight = [name for name in ALPHA158_NAMES if not name.startswith("COR")]
    columns = [ALPHA158_NAMES.index(name) for name in tight]
    np.testing.assert_allclose(actual[:, columns], expected[tight].to_numpy()[no_gap], rtol=1e-3, atol=1e-7)


def one_symbol(close: list[float], volume: list[float] | None = None, **columns: list[float]) -> Panel:
    frame = pd.DataFrame({"timestamp": pd.bdate_range("2020-01-01", periods=len(close)), "symbol": "A"})
    frame = frame.assign(close=close, volume=[1000.0 + i for i in range(len(close))] if volume is None else volume)
    return Panel.from_frame(
        frame.assign(**{n: columns.get(n, close) for n in ("open", "high", "low")}).assign(**columns)
    )


def column(panel: Panel, name: str) -> np.ndarray:
    return alpha158(panel).column(name)


def test_head_rows_are_missing_until_the_window_is_complete() -> None:
    values = alpha158(one_symbol([10.0 + i % 7 for i in range(70)]))
    known = {name: np.flatnonzero(~np.isnan(values.column(name)))[0] for name in ("KMID", "MA5", "ROC5", "CORD60")}
    assert known == {"KMID": 0, "MA5": 4, "ROC5": 5, "CORD60": 60}


def test_one_missing_value_blanks_exactly_the_windows_that_hold_it() -> None:
    close = [10.0 + i % 7 for i in range(60)]
    panel = one_symbol(close, high=[*close[:30], np.nan, *close[31:]])
    assert np.flatnonzero(np.isnan(column(panel, "MAX10"))).tolist() == [*range(9), *range(30, 40)]
    assert np.flatnonzero(np.isnan(column(panel, "IMAX10"))).tolist() == [*range(9), *range(30, 40)]
    assert np.flatnonzero(np.isnan(column(panel, "MIN10"))).tolist() == [*range(9)]
    missing_close = one_symbol([*close[:30], np.nan, *close[31:]])
    for name in ("QTLU10", "RANK10", "STD10"):
        assert np.flatnonzero(np.isnan(column(missing_close, name))).tolist() == [*range(9), *range(30, 40)]
    for name in ("CNTP10", "SUMD10"):
        assert np.flatnonzero(np.isnan(column(missing_close, name))).tolist() == [*range(10), *range(30, 41)]


def test_windows_count_the_bars_of_the_symbol_not_days_of_the_calendar(priced: pd.DataFrame) -> None:
    own = priced[priced["symbol"] == "S1"]
    dense = own.assign(timestamp=pd.bdate_range("2020-01-01", periods=len(own)))
    np.testing.assert_array_equal(alpha158(Panel.from_frame(own)).values, alpha158(Panel.from_frame(dense)).values)


def test_a_constant_window_has_no_deviation_and_no_correlation() -> None:
    values = alpha158(one_symbol([7.1] * 70))
    row = {name: values.column(name)[-1] for name in ALPHA158_NAMES}
    assert row["STD20"] == row["BETA20"] == row["RESI20"] == row["SUMP20"] == row["CNTD20"] == row["WVMA20"] == 0
    assert np.isnan([row["RSQR20"], row["CORR20"], row["CORD20"]]).all()
    assert row["RANK20"] == np.float32(10.5 / 20)
    assert row["IMAX20"] == row["IMIN20"] == np.float32(1 / 20)
    assert (row["KMID2"], row["RSV20"]) == (0.0, 0.0)


def test_zero_volume_is_missing_where_it_divides_and_counts_elsewhere() -> None:
    volume = [100.0 + i for i in range(40)]
    volume[20] = 0.0
    panel = one_symbol([10.0 + i % 7 for i in range(40)], volume)
    assert np.flatnonzero(np.isnan(column(panel, "VMA5"))).tolist() == [0, 1, 2, 3, 20]
    assert np.flatnonzero(np.isnan(column(panel, "VSTD5"))).tolist() == [0, 1, 2, 3, 20]
    assert np.flatnonzero(np.isnan(column(panel, "CORD5"))).tolist() == [0, 1, 2, 3, 4, *range(21, 26)]
    assert np.flatnonzero(np.isnan(column(panel, "CORR5"))).tolist() == [0, 1, 2, 3]
    assert column(panel, "VMA5")[22] == pytest.approx(np.mean(volume[18:23]) / volume[22])


def test_vwap_is_the_column_or_amount_over_volume_or_the_mean_of_the_bar(priced: pd.DataFrame) -> None:
    bare = priced.drop(columns="vwap")
    mean = bare[["open", "high", "low", "close"]].mean(axis=1)
    np.testing.assert_allclose(column(Panel.from_frame(priced), "VWAP0"), priced["vwap"] / priced["close"], rtol=1e-6)
    np.testing.assert_allclose(column(Panel.from_frame(bare), "VWAP0"), mean / bare["close"], rtol=1e-6)
    traded = bare.assign(amount=bare["volume"] * bare["close"] * 0.99, volume=bare["volume"])
    traded.loc[traded.index[3], "volume"] = 0.0
    values = column(Panel.from_frame(traded), "VWAP0")
    assert np.isnan(values[3])
    np.testing.assert_allclose(np.delete(values, 3), 0.99, rtol=1e-6)


def test_an_outlier_that_has_left_the_window_leaves_no_trace() -> None:
    """Where running sums would have lost ten digits."""
    generator = np.random.default_rng(1)
    close = (100 * np.exp(np.cumsum(generator.normal(0, 0.001, 200)))).tolist()
    spoilt = one_symbol([*close[:100], 1e14, *close[101:]])
    clean = alpha158(one_symbol(close)).values
    np.testing.assert_array_equal(alpha158(spoilt).values[162:], clean[162:])


def test_a_huge_price_level_does_not_eat_the_deviations() -> None:
    wiggle = np.random.default_rng(2).integers(0, 8, 70)  # exact in float64 at any level used here
    close = 1e9 + wiggle / 8
    values = alpha158(one_symbol(close.tolist()))
    assert values.column("STD20")[-1] == pytest.approx(wiggle[-20:].std(ddof=1) / 8 / close[-1], rel=1e-6)
    assert values.column("RSQR20")[-1] == pytest.approx(linregress(np.arange(20), wiggle[-20:]).rvalue ** 2, rel=1e-5)


def test_infinities_and_division_by_zero_are_missing() -> None:
    close = [10.0 + i % 7 for i in range(70)]
    close[40], close[50] = np.inf, 0.0
    for values in (alpha158(one_symbol(close)).values, alpha360(one_symbol(close)).values):
        assert not np.isinf(values).any()


@pytest.mark.parametrize("function", [alpha158, alpha360])
def test_neither_looks_ahead(function: Any, panel: Panel) -> None:
    assert_no_lookahead(function, panel, panel.dates[100])


@pytest.mark.parametrize("function", [alpha158, alpha360])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), threads=st.integers(1, 3), dropped=st.integers(0, 60))
def test_bits_depend_on_the_window_alone(function: Any, seed: int, threads: int, dropped: int) -> None:
    """Not on other symbols, threads, the history before the window, or the scale (a power of 2) of prices."""
    frame = random_frame(3, 130, seed=seed)
    panel = Panel.from_frame(frame)
    whole = function(panel, threads).values
    one = panel.select(panel.symbol_code == 1)
    np.testing.assert_array_equal(function(one).values, whole[panel.symbol_code == 1])
    later = panel.date_code >= dropped
    again = function(panel.select(later)).values
    np.testing.assert_array_equal(np.where(np.isnan(again), np.nan, whole[later]), again)
    renamed = frame.assign(symbol=frame["symbol"].map({"S0": "S2", "S1": "S0", "S2": "S1"}))
    np.testing.assert_array_equal(function(Panel.from_frame(renamed)).values[: one.num_rows], function(one).values)


def test_prices_and_volumes_may_be_in_any_unit(panel: Panel) -> None:
    scaled = panel.with_columns(
        **{name: panel.columns[name] * 8.0 for name in ("open", "high", "low", "close", "adj_close")}
    )
    np.testing.assert_array_equal(alpha360(scaled).values, alpha360(panel).values)
    np.testing.assert_allclose(alpha158(scaled).values, alpha158(panel).values, rtol=1e-6, atol=1e-9)


def test_blocks_of_a_long_symbol_join_without_a_seam() -> None:
    """Kernels work on 1024 bars at a time: rows around the seams equal those of a panel that starts elsewhere."""
    frame = random_frame(1, 2300, seed=8)
    panel = Panel.from_frame(frame)
    later = panel.date_code >= 500
    again = alpha158(panel.select(later)).values
    np.testing.assert_array_equal(alpha158(panel).values[later][61:], again[61:])


def test_alpha360_is_each_earlier_bar_over_this_one(priced: pd.DataFrame) -> None:
    panel = Panel.from_frame(priced)
    matrix = alpha360(panel)
    assert matrix.names == ALPHA360_NAMES
    assert matrix.names[0] == "CLOSE59"
    assert len(matrix.names) == 360
    for name in ("close", "open", "high", "low", "vwap", "volume"):
        for lag in (0, 1, 17, 59):
            base = priced["volume"] + E if name == "volume" else priced["close"]
            expected = priced.groupby("symbol")[name].shift(lag) / base
            np.testing.assert_allclose(matrix.column(f"{name.upper()}{lag}"), expected, rtol=1e-6)


def test_a_shared_name_is_the_same_ratio_in_both(panel: Panel) -> None:
    for name in ("OPEN0", "HIGH0", "LOW0", "VWAP0"):
        np.testing.assert_array_equal(alpha158(panel).column(name), alpha360(panel).column(name))


def test_sets_can_be_asked_for_by_name(panel: Panel) -> None:
    both = compute_features(panel, ["return_1", "alpha158", "alpha360"])
    assert len(both.names) == 1 + 158 + 360 - 4
    np.testing.assert_array_equal(both.column("CORD60"), alpha158(panel).column("CORD60"))
    np.testing.assert_array_equal(both.column("VOLUME3"), alpha360(panel).column("VOLUME3"))
    np.testing.assert_array_equal(
        compute_features(panel, ["RSV5", "return_1"]).values[:, 0], alpha158(panel).column("RSV5")
    )


def test_a_panel_on_disk_gives_the_same(panel: Panel, tmp_path: Path) -> None:
    panel.save(tmp_path)
    np.testing.assert_array_equal(alpha158(Panel.load(tmp_path)).values, alpha158(panel).values)


def test_an_empty_panel_and_a_single_bar_work(panel: Panel) -> None:
    assert alpha158(panel.select(np.zeros(panel.num_rows, dtype=bool))).values.shape == (0, 158)
    assert np.isfinite(alpha158(one_symbol([10.0])).column("OPEN0")).all()


def test_no_thread_is_refused(panel: Panel) -> None:
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        alpha158(panel, threads=0)
