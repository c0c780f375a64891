"""The classic indicators: recursive transcriptions in pandas, hand cases, and freedom of scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from data.conftest import random_frame
from factor_data import FEATURE_SETS, Panel, compute_features

pytestmark = pytest.mark.numeric

NAMES = FEATURE_SETS["indicators"]


def wilder(x: pd.Series, bars: int) -> pd.Series:
    """Wilder's own recursion: the first value is the mean of `bars` values."""
    start = x.first_valid_index()
    seeded = x.copy()
    first = x.index.get_loc(start) + bars - 1
    seeded.iloc[first] = x.iloc[first - bars + 1 : first + 1].mean()
    seeded.iloc[:first] = np.nan
    return seeded.ewm(alpha=1 / bars, adjust=False).mean()


def ema(x: pd.Series, bars: int) -> pd.Series:
    return x.ewm(span=bars, adjust=False).mean()


def rsi(b: pd.DataFrame, bars: int) -> pd.Series:
    move = b.c.diff()
    return 100 - 100 / (1 + wilder(move.clip(lower=0), bars) / wilder(-move.clip(upper=0), bars))


def macd(b: pd.DataFrame) -> pd.Series:
    return ema(b.c, 12) - ema(b.c, 26)


def true_range(b: pd.DataFrame) -> pd.Series:
    before = b.c.shift()
    return pd.concat([b.h - b.l, (b.h - before).abs(), (b.l - before).abs()], axis=1).max(axis=1).where(before.notna())


def kdj(b: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    low, high = b.l.rolling(9).min(), b.h.rolling(9).max()
    k = (100 * (b.c - low) / (high - low)).ewm(alpha=1 / 3, adjust=False).mean()
    return k, k.ewm(alpha=1 / 3, adjust=False).mean()


def obv(b: pd.DataFrame) -> pd.Series:
    return (np.sign(b.c.diff()) * b.v).cumsum()


REFERENCES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "rsi_6": lambda b: rsi(b, 6),
    "rsi_14": lambda b: rsi(b, 14),
    "macd": lambda b: macd(b) / b.c,
    "macd_signal": lambda b: ema(macd(b), 9) / b.c,
    "macd_histogram": lambda b: (macd(b) - ema(macd(b), 9)) / b.c,
    "bollinger_place_20": lambda b: (
        (b.c - (b.c.rolling(20).mean() - 2 * b.c.rolling(20).std(ddof=0))) / (4 * b.c.rolling(20).std(ddof=0))
    ),
    "bollinger_width_20": lambda b: 4 * b.c.rolling(20).std(ddof=0) / b.c.rolling(20).mean(),
    "atr_14": lambda b: wilder(true_range(b), 14) / b.c,
    "kdj_k": lambda b: kdj(b)[0],
    "kdj_d": lambda b: kdj(b)[1],
    "kdj_j": lambda b: 3 * kdj(b)[0] - 2 * kdj(b)[1],
    "obv_20": lambda b: (obv(b) - obv(b).shift(20)) / b.v.rolling(20).sum(),
    "volume_ratio_5": lambda b: b.v / b.v.rolling(5).mean().shift(),
}
FORGET = 350  # bars after which the first value of every recursion, which each library chooses by itself, is gone


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return random_frame(2, 500, seed=9)


@pytest.fixture(scope="module")
def panel(frame: pd.DataFrame) -> Panel:
    return Panel.from_frame(frame)


def adjusted(bars: pd.DataFrame) -> pd.DataFrame:
    factor = bars["adj_close"] / bars["close"]
    prices = {short: bars[name] * factor for short, name in (("h", "high"), ("l", "low"))}
    return pd.DataFrame({"c": bars["adj_close"], "v": bars["volume"] / factor, **prices}).reset_index(drop=True)


def test_every_indicator_has_a_reference() -> None:
    assert set(REFERENCES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_indicator_equals_its_recursive_form_once_that_forgot_its_first_value(
    name: str, frame: pd.DataFrame, panel: Panel
) -> None:
    values = compute_features(panel, [name]).values[:, 0]
    for code, (_, bars) in enumerate(frame.groupby("symbol")):
        expected = REFERENCES[name](adjusted(bars)).to_numpy()[FORGET:]
        np.testing.assert_allclose(values[panel.symbol_code == code][FORGET:], expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("factor", [8.0, 1 / 3, 1e6])
@pytest.mark.parametrize("unit", [("open", "high", "low", "close", "adj_close"), ("volume",)])
def test_no_indicator_depends_on_the_unit_of_price_or_volume(
    unit: tuple[str, ...], factor: float, panel: Panel
) -> None:
    scaled = panel.with_columns(**{name: panel.columns[name] * factor for name in unit})
    exact = {"rtol": 0, "atol": 0} if factor == 8.0 else {"rtol": 1e-4, "atol": 1e-6}
    expected = compute_features(panel, ["indicators"]).values
    np.testing.assert_allclose(compute_features(scaled, ["indicators"]).values, expected, **exact)


def test_hand_cases_of_a_price_that_only_rises_or_does_not_move() -> None:
    dates = pd.bdate_range("2020-01-01", periods=60)

    def values(close: np.ndarray) -> dict[str, float]:
        bars = dict.fromkeys(("open", "high", "low", "close"), close)
        frame = pd.DataFrame({"timestamp": dates, "symbol": "A", "volume": 10.0, **bars})
        return dict(zip(NAMES, compute_features(Panel.from_frame(frame), ["indicators"]).values[-1], strict=True))

    rising = values(np.arange(100.0, 160.0))
    assert rising["rsi_14"] == rising["kdj_k"] == 100.0
    assert rising["obv_20"] == rising["volume_ratio_5"] == 1.0
    assert rising["atr_14"] == pytest.approx(1 / 159, rel=1e-6)
    assert rising["macd"] > 0
    flat = values(np.full(60, 7.0))
    assert flat["macd"] == flat["atr_14"] == flat["obv_20"] == flat["bollinger_width_20"] == 0.0
    assert np.isnan([flat["rsi_14"], flat["kdj_k"], flat["bollinger_place_20"]]).all()
