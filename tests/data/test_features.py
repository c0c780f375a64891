"""Features: hand cases, an independent pandas reference for each, and the rules every feature keeps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from factor_data import FEATURE_SETS, Panel, compute_features

pytestmark = pytest.mark.numeric

Reference = Callable[[pd.DataFrame], pd.Series]


def adjust(bars: pd.DataFrame) -> pd.DataFrame:
    factor = bars["adj_close"] / bars["close"]
    return bars.assign(
        c=bars["adj_close"],
        o=bars["open"] * factor,
        v=bars["volume"] / factor,
        r=bars["adj_close"].pct_change(),
    )


def in_logs(volumes: np.ndarray, of: np.ndarray) -> np.ndarray:
    return np.log(volumes / of.mean() + 0.01)


def volume_surprise(b: pd.DataFrame) -> pd.Series:
    return b.v.rolling(21).apply(lambda x: in_logs(x[-1], x[:-1]) - in_logs(x[:-1], x[:-1]).mean(), raw=True)


def volume_trend(b: pd.DataFrame) -> pd.Series:
    return b.v.rolling(60).apply(lambda x: in_logs(x[-5:], x).mean() - in_logs(x, x).mean(), raw=True)


def relative_illiquidity(b: pd.DataFrame) -> pd.Series:
    impact = b.r.abs() / (b.close * b.volume)
    return np.log(impact.rolling(20).mean() / impact.rolling(60).mean())


def times_volume(b: pd.DataFrame) -> pd.Series:
    surprise = volume_surprise(b).clip(-2, 2)
    return (b.r / b.r.rolling(20).std().shift()).clip(-4, 4) * surprise


def population_skewness(b: pd.DataFrame) -> pd.Series:
    return b.r.rolling(20).apply(lambda x: ((x - x.mean()) ** 3).mean() / ((x - x.mean()) ** 2).mean() ** 1.5)


REFERENCES: dict[str, Reference] = {
    **{f"return_{k}": lambda b, k=k: b.c.pct_change(k) for k in (1, 5, 10, 20, 60)},
    "momentum_60_5": lambda b: b.c.shift(5) / b.c.shift(60) - 1,
    **{f"volatility_{k}": lambda b, k=k: b.r.rolling(k).std() for k in (5, 20, 60)},
    "skewness_20": population_skewness,
    **{f"close_to_mean_{k}": lambda b, k=k: b.c / b.c.rolling(k).mean() - 1 for k in (5, 20, 60)},
    "distance_to_high_60": lambda b: b.c / b.c.rolling(60).max() - 1,
    "range_20": lambda b: ((b.high - b.low) / b.close).rolling(20).mean(),
    "close_location": lambda b: (2 * b.close - b.high - b.low) / (b.high - b.low),
    "overnight_gap": lambda b: b.o / b.c.shift() - 1,
    "intraday_return": lambda b: b.close / b.open - 1,
    "volume_surprise_20": volume_surprise,
    "volume_trend_5_60": volume_trend,
    "price_volume_corr_20": lambda b: b.r.rolling(20).corr(b.v.diff() / (b.v + b.v.shift())),
    "return_times_volume": times_volume,
    "return_times_volume_5": lambda b: times_volume(b).rolling(5).mean(),
    "amihud_20": relative_illiquidity,
    "max_return_20": lambda b: b.r.rolling(20).max(),
}


def test_every_feature_has_a_reference() -> None:
    assert set(REFERENCES) == set(FEATURE_SETS["bars"])


@pytest.mark.parametrize("name", FEATURE_SETS["bars"])
def test_feature_equals_pandas_symbol_by_symbol(name: str, bars: pd.DataFrame, panel: Panel) -> None:
    expected = pd.concat([REFERENCES[name](adjust(group)) for _, group in bars.groupby("symbol")])
    actual = compute_features(panel, [name]).values[:, 0]
    np.testing.assert_array_equal(np.isnan(actual), expected.isna())
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-7)


def hand_panel(close: list[float], **columns: list[float]) -> Panel:
    frame = pd.DataFrame({"timestamp": pd.bdate_range("2020-01-01", periods=len(close)), "symbol": "A", "close": close})
    for name in ("open", "high", "low"):
        frame[name] = columns.get(name, close)
    return Panel.from_frame(frame.assign(volume=columns.get("volume", [100.0] * len(close))))


def test_hand_cases() -> None:
    panel = hand_panel([10.0, 11.0, 9.9], open=[10.0, 10.5, 11.0], high=[10.0, 12.0, 11.0], low=[10.0, 10.0, 9.0])
    features = compute_features(panel, ["return_1", "overnight_gap", "intraday_return", "close_location"]).values
    np.testing.assert_allclose(features[1], [0.1, 0.05, 11 / 10.5 - 1, 0.0], rtol=1e-6)
    np.testing.assert_allclose(features[2], [-0.1, 0.0, -0.1, -0.1], rtol=1e-5)
    assert np.isnan(features[0]).tolist() == [True, True, False, True]


def test_a_constant_price_has_no_volatility_and_no_skewness() -> None:
    features = compute_features(hand_panel([7.1] * 30), ["volatility_20", "skewness_20", "price_volume_corr_20"]).values
    assert features[-1, 0] == 0.0
    assert np.isnan(features[-1, 1:]).all()


def test_one_missing_value_blanks_exactly_the_windows_that_hold_it() -> None:
    close = np.linspace(10, 20, 60).tolist()
    high = [*close[:30], np.nan, *close[31:]]
    values = compute_features(hand_panel(close, high=high), ["range_20"]).values[:, 0]
    assert np.flatnonzero(np.isnan(values)).tolist() == [*range(19), *range(30, 50)]


def test_a_value_needs_only_its_own_window(panel: Panel) -> None:
    whole = compute_features(panel).values
    late = panel.select(panel.date_code >= 40)
    rows = panel.date_code >= 40
    again = compute_features(late).values
    known = ~np.isnan(again)
    np.testing.assert_array_equal(whole[rows][known], again[known])


@pytest.mark.parametrize("name", ["bars", "alpha158", "alpha360"])
def test_nothing_is_filled_across_symbols_or_from_later_bars(name: str, panel: Panel) -> None:
    """Each symbol alone gives the same bytes, and where a close is missing no value steps in for it."""
    close = panel.columns["close"].copy()
    last_of_symbols = panel.starts[1:] - 1
    close[last_of_symbols[:-1]] = np.nan
    close[panel.starts[:-1] + 70] = np.nan
    broken = panel.with_columns(close=close, adj_close=close)
    whole = compute_features(broken, [name])
    for code in range(panel.num_symbols):
        own = panel.symbol_code == code
        np.testing.assert_array_equal(compute_features(broken.select(own), [name]).values, whole.values[own])
    at_the_gap = whole.values[panel.starts[:-1] + 70]
    price = [i for i, n in enumerate(whole.names) if n.startswith(("return", "close_to", "MA", "CLOSE", "STD"))]
    assert np.isnan(at_the_gap[:, price]).all()


def test_matrix_is_float32_in_c_order_with_a_matching_index(panel: Panel) -> None:
    features = compute_features(panel)
    assert features.values.dtype == np.float32
    assert features.values.flags.c_contiguous
    frame = features.to_pandas()
    assert frame.index.names == ["timestamp", "symbol"]
    assert frame.columns.tolist() == list(FEATURE_SETS["bars"])
    row = 17
    assert frame.index[row] == (pd.Timestamp(panel.timestamp[row]), panel.symbol[row])
    np.testing.assert_array_equal(features.column("return_5"), features.values[:, 1])


def test_unknown_and_repeated_names_are_refused(panel: Panel) -> None:
    with pytest.raises(ValueError, match=r"unknown features \['retrun_1'\]; did you mean return_1"):
        compute_features(panel, ["return_1", "retrun_1"])
    with pytest.raises(ValueError, match=r"features repeat: \['return_1'\]"):
        compute_features(panel, ["return_1", "return_1"])


def test_division_by_zero_in_dirty_bars_is_missing_not_infinite() -> None:
    values = compute_features(hand_panel([10.0, 0.0, 10.0, 11.0])).values
    assert not np.isinf(values).any()


@pytest.mark.parametrize("name", ["bars", "indicators", "memory"])
def test_what_float32_cannot_hold_is_missing_not_infinite(name: str) -> None:
    """A price of 1e308 gives returns that float64 holds and float32 does not."""
    close = np.linspace(10, 20, 130)
    close[60] = 1e308
    values = compute_features(hand_panel(close.tolist()), [name]).values
    assert not np.isinf(values).any()
    assert np.isfinite(values[-1]).any()
