"""A K-line model sees the same window, and forecasts the same changes, whatever the price level and the unit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factor_models.kline import KronosPredictor, Sampling, kline_bars, normalise, repair_bars
from models.kline_samples import make_predictor, make_tokenizer

pytestmark = pytest.mark.numeric

PAST, AHEAD = 40, 4


def path(seed: int = 1) -> pd.DataFrame:
    """Relative prices around 1, and shares."""
    generator = np.random.default_rng(seed)
    close = np.exp(np.cumsum(generator.normal(0, 0.02, PAST + AHEAD)))
    frame = pd.DataFrame({"open": close, "high": close * 1.01, "low": close * 0.99, "close": close})
    return frame.assign(volume=generator.lognormal(3, 1, PAST + AHEAD))


def window(price: float, volume: float = 1.0) -> np.ndarray:
    frame = path()
    prices = [frame[name] * price for name in ("open", "high", "low", "close")]
    values = np.column_stack([*prices, frame["volume"] * volume])
    amount = values[:, 4:] * values[:, 3:4]
    return np.hstack([values, amount]).astype(np.float32)[None]


@pytest.mark.parametrize("price", [1e4, 1.0, 1e-5, 1e-8, 1e-12])
@pytest.mark.parametrize("volume", [1e9, 1e-9])
def test_a_window_is_the_same_at_every_price_and_in_every_unit(price: float, volume: float) -> None:
    values = window(price, volume)
    normalised, center, scale = normalise(values, PAST, clip=5.0)
    past = values[0, :PAST].astype(np.float64)
    mean, size = past.mean(axis=0), np.abs(past).mean(axis=0)
    expected = (values[0] - mean) / (past.std(axis=0) + 1e-6 * size)
    np.testing.assert_allclose(normalised[0], np.clip(expected, -5, 5), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(normalised, normalise(window(100.0), PAST, clip=5.0)[0], atol=1e-4)
    inside = np.abs(normalised) < 5.0
    np.testing.assert_allclose((normalised * scale + center)[inside], values[inside], rtol=1e-5)


def test_the_published_scale_is_kept_where_parity_is_asked_for() -> None:
    for price in (100.0, 1e-5):
        values = window(price)
        past = values[0, :PAST].astype(np.float64)
        expected = np.clip((values[0] - past.mean(axis=0)) / (past.std(axis=0) + 1e-5), -5, 5)
        official = normalise(values, PAST, clip=5.0, official_parity=True)[0]
        np.testing.assert_allclose(official[0], expected, rtol=1e-3, atol=1e-4)
    assert np.abs(official[0, :, 3]).max() < 0.6 < np.abs(normalise(values, PAST, clip=5.0)[0][0, :, 3]).max()


def test_a_constant_price_is_0_and_volume_after_none_is_clipped() -> None:
    values = np.full((1, 6, 6), 7.1, np.float32)
    values[:, :, 4:] = 0.0
    values[:, 5, 4:] = 1e-12
    normalised, center, scale = normalise(values, 5, clip=5.0)
    assert (normalised[0, :, :4] == 0.0).all()
    assert (normalised[0, :5, 4:] == 0.0).all()
    assert (normalised[0, 5, 4:] == 5.0).all()
    assert (scale[..., 4:] == 0.0).all()
    assert (center[..., 4:] == 0.0).all()


def forecast(price: float, parity: bool = False) -> np.ndarray:
    """Changes of the close from the last one known, (samples, bars ahead)."""
    index = pd.date_range("2024-01-01", periods=PAST + AHEAD, freq="h")
    predictor = KronosPredictor(make_predictor(official_parity=parity), make_tokenizer(), device="cpu", max_context=64)
    frame = path().iloc[:PAST]
    frame = frame.assign(**{name: frame[name] * price for name in ("open", "high", "low", "close")})
    sampling = Sampling(sample_count=8, seed=0)
    (paths,) = predictor.predict_paths([frame], [index[:PAST]], [index[PAST:]], sampling)
    return paths.samples[:, :, 3] / frame["close"].iloc[-1] - 1.0


@pytest.mark.parametrize("price", [1e-2, 1e-5, 1e-8])
def test_a_forecast_in_per_cent_does_not_depend_on_the_price_level(price: float) -> None:
    np.testing.assert_allclose(forecast(price), forecast(100.0), atol=1e-3)
    assert forecast(price).min() > -1.0


def test_no_repaired_price_is_below_a_hundredth_of_the_last_close() -> None:
    """The published scale says of a coin at 1e-8 that it moves by a thousand times its price."""
    assert forecast(1e-8, parity=True).min() == pytest.approx(-0.99)
    repaired, changed = repair_bars(np.array([[2.0, 3.0, -1.0, 1.0, 1.0, 1.0], [2.0, 3.0, 1.0, 1.0, 1.0, 1.0]]), 0.5)
    assert repaired[0].tolist() == [2.0, 3.0, 0.5, 1.0, 1.0, 1.0]
    assert changed.tolist() == [True, False]
    assert repair_bars(np.array([[-2.0, -1.0, -3.0, -2.0, 1.0, 1.0]]), -np.inf)[1].tolist() == [False]


def test_data_without_any_volume_have_0_of_it_and_a_bar_that_lacks_it_is_left_out() -> None:
    columns = {name: path()[name].to_numpy() for name in ("open", "high", "low", "close")}
    symbol, place = np.zeros(PAST + AHEAD, dtype=np.int64), np.arange(PAST + AHEAD)
    none = np.full(PAST + AHEAD, np.nan)
    for amount in ({}, {"amount": none}):
        bars = kline_bars({**columns, "volume": none, **amount}, symbol, place)
        assert len(bars.values) == PAST + AHEAD
        assert (bars.values[:, 4:] == 0.0).all()
    bars = kline_bars({**columns, "volume": np.where(place == 3, np.nan, 1.0)}, symbol, place)
    assert len(bars.values) == PAST + AHEAD - 1
    assert (bars.values[:, 4:] > 0.0).all()
