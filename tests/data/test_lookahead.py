"""The look-ahead gate: everything this package derives passes it, leaking features do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from factor_data import (
    FEATURE_SETS,
    LookAheadError,
    Panel,
    QuantileTokenizer,
    assert_no_lookahead,
    clean_bars,
    compute_features,
    fit_normaliser,
    forward_return,
    window_zscore,
)

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("name", [*FEATURE_SETS["bars"], "calendar"])
@pytest.mark.parametrize("place", [61, 100, 148])
def test_features_do_not_look_ahead(name: str, place: int, panel: Panel) -> None:
    assert_no_lookahead(lambda p: compute_features(p, [name]), panel, panel.dates[place])


@pytest.mark.parametrize("kind", ["robust_zscore", "zscore", "quantile_gauss", "rank", "rank_gauss"])
def test_normalised_values_do_not_look_ahead(kind: str, panel: Panel) -> None:
    def normalised(bars: Panel) -> np.ndarray:
        features = compute_features(bars)
        train = bars.date_code <= 90
        return fit_normaliser(features.values, train, features.names, kind).transform(features.values, bars.date_code)

    assert_no_lookahead(normalised, panel, panel.dates[110])


def test_tokens_do_not_look_ahead(panel: Panel) -> None:
    def tokens(bars: Panel) -> np.ndarray:
        values = compute_features(bars).values
        return QuantileTokenizer.fit(values, bars.date_code <= 90, 16).transform(values)

    assert_no_lookahead(tokens, panel, panel.dates[110])


def test_cleaned_columns_do_not_look_ahead(panel: Panel) -> None:
    for name in ("open", "high", "low", "close", "volume", "in_universe"):
        assert_no_lookahead(lambda p, n=name: clean_bars(p)[0].columns[n], panel, panel.dates[110])


def whole_sample_high(panel: Panel) -> np.ndarray:
    close = panel.columns["close"]
    highs = np.maximum.reduceat(close, panel.starts[:-1][np.diff(panel.starts) > 0])
    return close / np.repeat(highs, np.diff(panel.starts)[np.diff(panel.starts) > 0])


def expanding_high(panel: Panel) -> np.ndarray:
    """The causal form of the scaling above: the highest close so far."""
    close = panel.columns["close"]
    pieces = np.split(close, panel.starts[1:-1])
    return np.concatenate([piece / np.maximum.accumulate(piece) for piece in pieces])


def own_window_zscore(panel: Panel) -> np.ndarray:
    """The last value of each 5-bar window, scaled by the window itself."""
    closes = np.column_stack([np.roll(panel.columns["close"], lag) for lag in range(4, -1, -1)])
    scaled = window_zscore(closes[:, :, None])[0][:, -1, 0]
    age = np.arange(panel.num_rows) - panel.starts[panel.symbol_code]
    return np.where(age >= 4, scaled, np.nan)


@pytest.mark.parametrize("causal", [expanding_high, own_window_zscore])
def test_causal_scaling_passes(causal: Any, panel: Panel) -> None:
    assert_no_lookahead(causal, panel, panel.dates[100])


def whole_sample_mean(panel: Panel) -> np.ndarray:
    return panel.columns["close"] - panel.columns["close"].mean()


def next_close(panel: Panel) -> np.ndarray:
    return np.r_[panel.columns["close"][1:], np.nan]


def number_of_bars(panel: Panel) -> np.ndarray:
    """Leaks only through how many bars a symbol will have: perturbing values does not show it, dropping does."""
    return np.bincount(panel.symbol_code, minlength=panel.num_symbols)[panel.symbol_code].astype(float)


@pytest.mark.parametrize(
    "leak", [whole_sample_high, whole_sample_mean, next_close, number_of_bars, lambda p: forward_return(p, 1)]
)
def test_a_leaking_feature_is_caught(leak: Any, panel: Panel) -> None:
    with pytest.raises(LookAheadError, match=r"\d+ values changed when later bars were (changed|dropped): S\d at 2020"):
        assert_no_lookahead(leak, panel, panel.dates[100])


def test_a_cut_that_tests_nothing_is_refused(panel: Panel) -> None:
    with pytest.raises(ValueError, match="must leave bars on both sides"):
        assert_no_lookahead(whole_sample_high, panel, panel.dates[-1])


def test_a_bound_tells_rounding_from_a_leak_just_above_it(panel: Panel) -> None:
    def forecast(bars: Panel, by: float) -> np.ndarray:
        last_close = bars.columns["close"][bars.starts[1:] - 1][bars.symbol_code]
        return np.sign(np.sin(1e3 * last_close)) * by / 2

    cut, bound = panel.dates[100], 1e-5
    assert_no_lookahead(lambda bars: forecast(bars, 0.99 * bound), panel, cut, rounding=bound)
    with pytest.raises(LookAheadError, match=r"changed by up to 1.01e-05, where rounding is at most 1e-05"):
        assert_no_lookahead(lambda bars: forecast(bars, 1.01 * bound), panel, cut, rounding=bound)
    with pytest.raises(LookAheadError, match="values changed when later bars were changed: "):
        assert_no_lookahead(lambda bars: forecast(bars, 1e-300), panel, cut)


def test_a_bound_does_not_excuse_what_becomes_missing(panel: Panel) -> None:
    def forecast(bars: Panel) -> np.ndarray:
        return np.where(number_of_bars(bars) > 110, 0.0, np.nan)

    with pytest.raises(LookAheadError, match="when later bars were dropped"):
        assert_no_lookahead(forecast, panel, panel.dates[100], rounding=1.0)
    with pytest.raises(ValueError, match="rounding = nan: must be a finite number >= 0"):
        assert_no_lookahead(forecast, panel, panel.dates[100], rounding=np.nan)
