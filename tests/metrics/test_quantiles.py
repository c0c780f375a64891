"""Quantile returns, spread and turnover: by hand and against a loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from factor_metrics import quantile_of, quantile_returns, rank_rows, spread, turnover

MATRICES = hnp.arrays(np.float64, (6, 9), elements=st.one_of(st.integers(-3, 3).map(float), st.just(float("nan"))))


def loop_quantile_returns(prediction: np.ndarray, label: np.ndarray, num_quantiles: int) -> np.ndarray:
    result = np.full((len(prediction), num_quantiles), np.nan)
    for date, (x, y) in enumerate(zip(prediction, label, strict=True)):
        both = np.flatnonzero(~np.isnan(x) & ~np.isnan(y))
        if len(both) < num_quantiles or len(set(x[both])) < 2:
            continue
        members = {}
        for symbol in both:
            below, equal = np.sum(x[both] < x[symbol]), np.sum(x[both] == x[symbol])
            # floor(q (rank - 1/2) / n) with rank = below + (equal + 1) / 2
            members.setdefault(num_quantiles * (2 * below + equal) // (2 * len(both)), []).append(y[symbol])
        for index, values in members.items():
            result[date, index] = np.mean(values)
    return result


def test_quantiles_by_hand() -> None:
    prediction = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]
    label = [[0.0, 2.0, 10.0, 20.0, 5.0, 7.0]]
    np.testing.assert_array_equal(quantile_returns(prediction, label, 3), [[1.0, 15.0, 6.0]])
    np.testing.assert_array_equal(spread(quantile_returns(prediction, label, 3)), [5.0])


def test_tied_symbols_share_a_quantile_and_may_leave_one_empty() -> None:
    result = quantile_returns([[1.0, 1.0, 1.0, 9.0]], [[3.0, 6.0, 9.0, 1.0]], 4)
    np.testing.assert_array_equal(result, [[np.nan, 6.0, np.nan, 1.0]])
    assert np.isnan(spread(result)).all()


def test_a_constant_prediction_has_no_quantiles() -> None:
    assert np.isnan(quantile_returns(np.ones((2, 8)), np.ones((2, 8)), 4)).all()
    assert (quantile_of(np.ones((2, 8)), 4) == -1).all()


def test_symbols_without_label_are_left_out() -> None:
    with_gap = quantile_returns([[1.0, 2.0, 3.0, 4.0, 9.0]], [[1.0, 2.0, 3.0, 4.0, np.nan]], 2)
    np.testing.assert_array_equal(with_gap, [[1.5, 3.5]])


def test_too_few_symbols_on_a_date_give_nan() -> None:
    prediction = np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]])
    result = quantile_returns(prediction, np.ones((2, 3)), 3)
    assert np.isnan(result[0]).all()
    assert not np.isnan(result[1]).any()


@settings(max_examples=150, deadline=None)
@given(MATRICES, MATRICES, st.integers(2, 9))
def test_equals_the_loop(prediction: np.ndarray, label: np.ndarray, num_quantiles: int) -> None:
    expected = loop_quantile_returns(prediction, label, num_quantiles)
    np.testing.assert_allclose(quantile_returns(prediction, label, num_quantiles), expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 50), st.integers(2, 10))
def test_without_ties_sizes_differ_by_at_most_one(num_symbols: int, num_quantiles: int) -> None:
    num_quantiles = min(num_quantiles, num_symbols)
    prediction = np.random.default_rng(num_symbols).permutation(num_symbols)[None].astype(float)
    sizes = np.bincount(quantile_of(prediction, num_quantiles)[0], minlength=num_quantiles)
    assert sizes.max() - sizes.min() <= 1


def test_quantiles_rise_with_the_prediction() -> None:
    prediction = np.random.default_rng(0).normal(size=(20, 37)).round(1)
    order = np.argsort(rank_rows(prediction), axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(quantile_of(prediction, 5), order, axis=1), axis=1) >= 0).all()


def test_turnover_is_zero_for_the_same_book_and_one_for_the_opposite() -> None:
    up = np.arange(10.0)
    np.testing.assert_array_equal(turnover(np.vstack([up, up, -up]), 5), [np.nan, 0.0, 1.0])


def test_turnover_by_hand() -> None:
    # top {2, 3} -> {1, 3}, bottom {0, 1} -> {0, 2}: two of four changed
    result = turnover([[1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]], 2)
    np.testing.assert_array_equal(result, [np.nan, 0.5])


def test_turnover_looks_horizon_dates_back() -> None:
    rows = np.vstack([np.arange(10.0), -np.arange(10.0), np.arange(10.0), np.arange(10.0)])
    np.testing.assert_array_equal(turnover(rows, 5, horizon=2), [np.nan, np.nan, 0.0, 1.0])


def test_turnover_is_nan_beside_a_date_without_book() -> None:
    up = np.arange(10.0)
    rows = np.vstack([up, np.full(10, np.nan), up, up])
    np.testing.assert_array_equal(turnover(rows, 5), [np.nan, np.nan, np.nan, 0.0])


def test_turnover_of_fewer_dates_than_the_horizon_is_nan() -> None:
    assert np.isnan(turnover(np.arange(20.0).reshape(2, 10), 5, horizon=3)).all()


def test_turnover_of_noise_is_about_one_minus_the_share_of_a_quantile() -> None:
    noise = np.random.default_rng(0).random((300, 200))
    assert np.nanmean(turnover(noise, 5)) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("function", [lambda p, q: quantile_returns(p, p, q), turnover])
def test_impossible_numbers_of_quantiles_are_refused(function: Callable[..., object]) -> None:
    prediction = np.zeros((2, 4))
    with pytest.raises(ValueError, match="num_quantiles must be at most num_symbols = 4, got 5"):
        function(prediction, 5)
    with pytest.raises(ValueError, match="num_quantiles must be at least 2, got 1"):
        function(prediction, 1)
