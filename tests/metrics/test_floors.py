"""Floors from closes by hand and without a look ahead; the interval of a random ranking; the table with its mark."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_metrics import (
    distance_from_high,
    ewma_volatility,
    floor_table,
    format_floor_table,
    har_volatility,
    last_return_reversal,
    majority_class,
    momentum,
    moving_average_gap,
    opposite_of_last_sign,
    paired_difference,
    past_volatility,
    price_floors,
    random_ranking,
    random_ranking_interval,
    rank_ic,
    volatility_floors,
)
from factor_metrics.floors.price_floors import PRICE_FLOORS

NAN = np.nan


def closes(seed: int = 0, num_dates: int = 120, num_symbols: int = 15, missing: float = 0.05) -> np.ndarray:
    generator = np.random.default_rng(seed)
    price = 20.0 * np.exp(np.cumsum(generator.normal(0.0, 0.02, size=(num_dates, num_symbols)), axis=0))
    price[generator.random(price.shape) < missing] = NAN
    return price


def test_floors_by_hand() -> None:
    close = np.array([[10.0], [11.0], [11.0], [NAN], [12.0], [9.0]])
    np.testing.assert_allclose(last_return_reversal(close)[:, 0], [NAN, -0.1, 0.0, NAN, NAN, 0.25])
    np.testing.assert_allclose(last_return_reversal(close, 2)[:, 0], [NAN, NAN, -0.1, NAN, 11 / 11 - 12 / 11, NAN])
    np.testing.assert_allclose(momentum(close, 2, 1)[:, 0], [NAN, NAN, 0.1, 0.0, NAN, NAN])
    np.testing.assert_allclose(moving_average_gap(close, 2)[:, 0], [NAN, 11 / 10.5 - 1, 0.0, NAN, NAN, 9 / 10.5 - 1])
    np.testing.assert_array_equal(opposite_of_last_sign(close)[:, 0], [NAN, -1.0, 0.0, NAN, NAN, 1.0])


def test_floors_equal_pandas() -> None:
    close = closes()
    frame = pd.DataFrame(close)
    np.testing.assert_allclose(last_return_reversal(close, 5), -(frame / frame.shift(5) - 1.0))
    np.testing.assert_allclose(momentum(close), frame.shift(5) / frame.shift(60) - 1.0)
    np.testing.assert_allclose(moving_average_gap(close), frame / frame.rolling(20).mean() - 1.0, atol=1e-13)


def test_the_distance_from_the_high_equals_that_of_pandas_and_leaves_missing_closes_out() -> None:
    close = closes()
    frame = pd.DataFrame(close)
    high = frame.rolling(60, min_periods=30).max().to_numpy(copy=True)
    high[:59] = NAN
    np.testing.assert_allclose(distance_from_high(close), close / high - 1.0, atol=1e-13)
    gap = np.array([[4.0], [NAN], [2.0], [NAN], [NAN], [1.0]])
    np.testing.assert_array_equal(distance_from_high(gap, 3).ravel(), [NAN, NAN, -0.5, NAN, NAN, NAN])


def squared_moves(close: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(np.log(close[1:] / close[:-1]) ** 2).reindex(range(-1, len(close) - 1)).reset_index(drop=True)


def deviation(close: np.ndarray, window: int) -> pd.DataFrame:
    """The root of the mean square of the last moves where half of them are known, by pandas."""
    mean = squared_moves(close).rolling(window, min_periods=-(-window // 2)).mean()
    return np.sqrt(mean.where(mean.index.to_series() >= window - 1, axis=0))


def test_past_volatility_is_that_of_pandas() -> None:
    close = closes()
    np.testing.assert_allclose(past_volatility(close), deviation(close, 20), rtol=1e-9)


@pytest.mark.parametrize("decay", [0.94, 0.5])
def test_the_slowly_forgotten_volatility_is_that_of_pandas(decay: float) -> None:
    close = closes(missing=0.2)
    squares = squared_moves(close)
    expected = np.sqrt(squares.ewm(alpha=1 - decay, adjust=True, ignore_na=False).mean())
    known = squares.notna().to_numpy(np.float64)
    weight = [sum((1 - decay) * decay ** (t - s) * known[s] for s in range(t + 1)) for t in range(len(known))]
    mine = ewma_volatility(close, decay)
    assert 0 < np.isnan(mine).sum() < mine.size
    np.testing.assert_allclose(mine, expected.where(np.array(weight) >= 0.5), rtol=1e-9)


@pytest.mark.parametrize(("horizon", "delay"), [(1, 0), (5, 1)])
def test_har_is_the_least_squares_line_of_what_is_known_on_the_date(horizon: int, delay: int) -> None:
    close = closes(missing=0.02)
    past = np.stack([deviation(close, window).to_numpy() for window in (1, 5, 22)], axis=2)
    outcome = deviation(close, horizon).to_numpy()
    mine, compared = har_volatility(close, horizon, delay), 0
    for date in range(len(close)):
        rows = [
            (past[start, symbol], outcome[start + delay + horizon, symbol])
            for start in range(date - delay - horizon + 1)
            for symbol in range(close.shape[1])
            if np.isfinite(past[start, symbol]).all() and np.isfinite(outcome[start + delay + horizon, symbol])
        ]
        if len(rows) < 100:
            assert np.isnan(mine[date]).all()
            continue
        x, y = np.array([one[0] for one in rows]), np.array([one[1] for one in rows])
        line = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), y, rcond=None)[0]
        np.testing.assert_allclose(mine[date], line[0] + past[date] @ line[1:], rtol=1e-7)
        compared += 1
    assert compared > 80


def test_har_finds_the_long_memory_that_a_short_window_misses() -> None:
    """Volatility of a symbol moves slowly and a day's move says little: the best line looks at the month."""
    generator = np.random.default_rng(3)
    level = np.zeros((900, 40))
    for date in range(1, len(level)):
        level[date] = 0.985 * level[date - 1] + 0.12 * generator.normal(size=40)
    close = 20.0 * np.exp(np.cumsum(0.01 * np.exp(level) * generator.normal(size=level.shape), axis=0))
    label = np.vstack([past_volatility(close, 5)[5:], np.full((5, 40), NAN)])
    scores = {name: np.nanmean(rank_ic(floor, label)[200:]) for name, floor in volatility_floors(close, 5).items()}
    assert scores["har_volatility"] > scores["past_volatility_5"] + 0.03


def test_the_majority_counts_moves_when_they_are_known() -> None:
    close = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 0.5], [1.0, 1.0, NAN], [0.5, 0.5, 0.2]])
    # Up to each date: nothing; 2 of 3 up; 2 of 5; 2 of 7 (the third symbol has no return on the last date).
    expected = [[NAN] * 3, [1.0, 1.0, 1.0], [0.0, 0.0, NAN], [0.0, 0.0, 0.0]]
    np.testing.assert_array_equal(majority_class(close), expected)
    np.testing.assert_array_equal(majority_class(close, horizon=2)[2], [0.0, 0.0, NAN])


@given(st.integers(0, 1000), st.integers(1, 119))
@settings(max_examples=40, deadline=None)
def test_no_floor_looks_ahead(seed: int, date: int) -> None:
    close = closes(seed)
    changed = close.copy()
    changed[date:] *= np.random.default_rng(seed).uniform(0.5, 2.0, size=changed[date:].shape)
    of_volatility = (past_volatility, ewma_volatility, har_volatility, lambda close: har_volatility(close, 5, 1))
    for floor in (*PRICE_FLOORS.values(), *of_volatility, majority_class):
        whole = floor(close)
        np.testing.assert_array_equal(floor(changed)[:date], whole[:date])
        np.testing.assert_array_equal(floor(close[:date]), whole[:date])


def test_every_floor_of_the_table_orders_symbols() -> None:
    table = price_floors(closes(missing=0.0))
    assert list(table) == list(PRICE_FLOORS)
    label = np.random.default_rng(1).normal(size=(120, 15))
    for signal in (table | volatility_floors(closes(missing=0.0), 5)).values():
        assert np.isfinite(rank_ic(signal, label)[-1])


def test_a_reversing_market_is_found_by_reversal_and_turned_round_by_momentum() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0.0, 0.01, size=(300, 40))
    returns = noise - 0.5 * np.vstack([np.zeros((1, 40)), noise[:-1]])
    close = np.exp(np.cumsum(returns, axis=0))
    label = np.vstack([close[1:] / close[:-1] - 1.0, np.full((1, 40), NAN)])
    assert np.nanmean(rank_ic(last_return_reversal(close), label)) > 0.3
    assert np.nanmean(rank_ic(opposite_of_last_sign(close), label)) > 0.2
    assert np.nanmean(rank_ic(momentum(close, 1, 0), label)) < -0.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: last_return_reversal([[1.0], [0.0]]), r"close must be above 0, got 1 .* first at \(1, 0\)"),
        (lambda: last_return_reversal([[1.0]], 0), "num_bars must be at least 1"),
        (lambda: momentum([[1.0]], 5, 5), "lookback must be at least 6, got 5"),
        (lambda: moving_average_gap([[1.0]], 1), "window must be at least 2"),
        (lambda: ewma_volatility([[1.0]], 1.0), "decay must lie strictly between 0 and 1, got 1.0"),
        (lambda: har_volatility([[1.0]], 0), "horizon must be at least 1"),
    ],
)
def test_impossible_arguments_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_too_short_a_history_is_missing_everywhere() -> None:
    few = price_floors([[1.0, 2.0]]) | volatility_floors([[1.0, 2.0]], 5)
    assert all(np.isnan(signal).all() for signal in few.values())


def test_95_percent_of_random_rankings_lie_in_their_interval() -> None:
    generator = np.random.default_rng(0)
    label = generator.standard_t(3, size=(60, 25))
    label[generator.random(label.shape) < 0.2] = NAN
    label[3] = 0.1
    low, high = random_ranking_interval(label)
    means = [np.nanmean(rank_ic(random_ranking(label.shape, seed), label)) for seed in range(600)]
    assert low == -high
    assert np.std(means) == pytest.approx(high / 1.959964, rel=0.1)
    assert 0.93 <= np.mean(np.abs(means) <= high) <= 0.97


def test_the_interval_of_a_random_ranking_by_hand() -> None:
    label = np.tile(np.arange(26.0), (100, 1))
    assert random_ranking_interval(label)[1] == pytest.approx(1.959964 / math.sqrt(25 * 100), rel=1e-6)
    assert all(math.isnan(end) for end in random_ranking_interval(label[:, :5]))


def test_the_table_has_a_row_for_each_pair_and_marks_what_is_below() -> None:
    generator = np.random.default_rng(0)
    common = generator.normal(0.0, 0.05, size=300)
    models = {
        "good": common + 0.03 + generator.normal(0.0, 0.01, 300),
        "bad": common - 0.01,
        "none": np.full(300, NAN),
    }
    floors = {"reversal": common + 0.0, "random": generator.normal(0.0, 0.05, size=300)}
    models["good"][:10] = NAN
    rows = floor_table(models, floors, horizon=5)
    assert [(row.model, row.floor) for row in rows] == [(m, f) for m in models for f in floors]
    first = rows[0]
    expected = paired_difference(models["good"], floors["reversal"], 5)
    assert (first.difference, first.ci_low, first.ci_high) == (
        expected.mean,
        expected.ci_low,
        expected.ci_high,
    )
    assert first.model_mean - first.floor_mean == pytest.approx(first.difference)
    assert first.floor_mean == pytest.approx(common[10:].mean())
    assert first.num_dates == 290
    marks = {(row.model, row.floor): (row.below_floor, row.proven) for row in rows}
    assert marks["good", "reversal"] == (False, True)
    assert marks["bad", "reversal"] == (True, False)
    assert marks["none", "random"] == (True, False)
    text = format_floor_table(rows).splitlines()
    assert text[1].split()[:2] == ["good", "reversal"]
    assert text[1].endswith("above")
    assert text[3].endswith("BELOW")
    assert len(text) == 7
