"""Precision at k, reciprocal rank, NDCG, regression errors: by hand, against scikit-learn and brute force."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from factor_metrics import (
    mean_absolute_error,
    mean_squared_error,
    ndcg,
    precision_at_k,
    reciprocal_rank,
    regression_errors,
)

NAN = float("nan")


def over_all_orders(prediction: list[float], gain: list[float], score: Callable[..., float]) -> float:
    """Mean of `score` over every order of the columns that the prediction allows: ties in any order."""
    values = []
    for order in permutations(range(len(prediction))):
        ordered = [prediction[column] for column in order]
        if ordered == sorted(prediction, reverse=True):
            values.append(score([gain[column] for column in order]))
    return float(np.mean(values))


def test_the_share_of_relevant_symbols_at_the_top_by_hand() -> None:
    prediction, relevant = [[0.9, 0.8, 0.7, NAN, 0.1]], [[1, 0, 1, 1, NAN]]
    for k, expected in ((1, 1.0), (2, 0.5), (3, 2 / 3)):
        assert precision_at_k(prediction, relevant, k)[0] == pytest.approx(expected)
    assert np.isnan(precision_at_k(prediction, relevant, 4)[0])  # three symbols have both


def test_the_place_of_the_first_relevant_symbol_by_hand() -> None:
    prediction = [[0.9, 0.8, 0.7], [0.9, 0.8, 0.7], [0.9, 0.8, NAN]]
    relevant = [[0, 0, 1], [1, 0, 1], [0, 0, 1]]
    np.testing.assert_allclose(reciprocal_rank(prediction, relevant), [1 / 3, 1.0, NAN])


def test_discounted_gain_by_hand() -> None:
    # order of gains 0, 3, 1; best 3, 1, 0
    expected = (3 / np.log2(3) + 1 / 2) / (3 + 1 / np.log2(3))
    assert ndcg([[3.0, 2.0, 1.0]], [[0, 3, 1]])[0] == pytest.approx(expected)
    assert ndcg([[3.0, 2.0, 1.0]], [[0, 3, 1]], k=1)[0] == 0.0
    assert np.isnan(ndcg([[3.0, 2.0, 1.0]], [[0, 0, 0]])[0])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=6),
    st.integers(1, 6),
)
def test_ties_give_the_mean_over_all_their_orders(cells: list[tuple[int, int]], k: int) -> None:
    prediction, relevant = [float(p) for p, _ in cells], [float(r) for _, r in cells]
    if k <= len(cells):
        expected = over_all_orders(prediction, relevant, lambda gains: np.mean(gains[:k]))
        assert precision_at_k([prediction], [relevant], k)[0] == pytest.approx(expected)
    if any(relevant):
        expected = over_all_orders(prediction, relevant, lambda gains: 1 / (1 + gains.index(1.0)))
        assert reciprocal_rank([prediction], [relevant])[0] == pytest.approx(expected)


@pytest.mark.parametrize("k", [None, 1, 5, 500])
@pytest.mark.parametrize("decimals", [0, 12])
def test_ndcg_equals_scikit_learn_date_by_date(k: int | None, decimals: int) -> None:
    generator = np.random.default_rng(0)
    prediction = generator.normal(size=(12, 70)).round(decimals)
    relevance = generator.integers(0, 5, size=prediction.shape).astype(float)
    prediction[generator.random(prediction.shape) < 0.1] = np.nan
    relevance[generator.random(prediction.shape) < 0.1] = np.nan
    expected = []
    for x, y in zip(prediction, relevance, strict=True):
        known = ~np.isnan(x + y)
        expected.append(metrics.ndcg_score(y[None, known], x[None, known], k=k))
    np.testing.assert_allclose(ndcg(prediction, relevance, k), expected, atol=1e-13)


def test_a_perfect_ranking_has_ndcg_one_and_the_order_of_columns_means_nothing() -> None:
    generator = np.random.default_rng(1)
    relevance = generator.integers(0, 3, size=(5, 40)).astype(float)
    np.testing.assert_allclose(ndcg(relevance, relevance, 7), 1.0)
    prediction, order = generator.integers(0, 4, size=(5, 40)).astype(np.float32), generator.permutation(40)
    np.testing.assert_allclose(
        ndcg(prediction[:, order], relevance[:, order], 7), ndcg(prediction, relevance, 7), atol=1e-14
    )


def test_dates_without_symbols_have_no_ranking() -> None:
    empty = np.full((2, 3), np.nan)
    for value in (precision_at_k(empty, empty, 1), reciprocal_rank(empty, empty), ndcg(empty, empty)):
        assert np.isnan(value).all()
    assert ndcg(np.empty((2, 0)), np.empty((2, 0))).shape == (2,)


def test_gains_below_zero_and_relevance_that_is_no_class_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"relevance must be at least 0 or NaN, got 1 .* first at \(0, 1\): -0.5",
    ):
        ndcg([[1, 2]], [[0.5, -0.5]])
    with pytest.raises(ValueError, match="relevant must be 0, 1 or NaN"):
        precision_at_k([[1, 2]], [[0.5, 1]], 1)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        ndcg([[1, 2]], [[1, 0]], k=0)


# ---- regression


def test_errors_equal_scikit_learn_per_date_and_pooled() -> None:
    generator = np.random.default_rng(2)
    prediction, label = generator.normal(size=(2, 20, 30))
    label[generator.random(label.shape) < 0.1] = np.nan
    for date, (x, y) in enumerate(zip(prediction, label, strict=True)):
        known = ~np.isnan(y)
        squared, absolute = mean_squared_error(prediction, label), mean_absolute_error(prediction, label)
        assert squared[date] == pytest.approx(metrics.mean_squared_error(y[known], x[known]), abs=1e-14)
        assert absolute[date] == pytest.approx(metrics.mean_absolute_error(y[known], x[known]), abs=1e-14)
    known = ~np.isnan(label)
    errors = regression_errors(prediction, label, benchmark=label[known].mean())
    assert errors.r2 == pytest.approx(metrics.r2_score(label[known], prediction[known]), abs=1e-13)
    assert errors.rmse == pytest.approx(metrics.root_mean_squared_error(label[known], prediction[known]))
    assert errors.mae == pytest.approx(metrics.mean_absolute_error(label[known], prediction[known]))
    assert errors.num_pairs == known.sum()


def test_r2_out_of_sample_by_hand() -> None:
    prediction, label = [[1.0, 2.0, NAN]], [[2.0, 2.0, 5.0]]
    assert regression_errors(prediction, label).r2 == pytest.approx(1.0 - 1.0 / 8.0)
    assert regression_errors(prediction, label, benchmark=1.0).r2 == pytest.approx(1.0 - 1.0 / 2.0)
    assert regression_errors(prediction, label, benchmark=[1.0, NAN, 1.0]).r2 == 0.0
    assert np.isnan(regression_errors(prediction, label, benchmark=2.0).r2)


def test_no_pairs_mean_no_errors() -> None:
    empty = np.full((2, 3), np.nan)
    assert np.isnan(mean_squared_error(empty, empty)).all()
    errors = regression_errors(empty, empty)
    assert np.isnan([errors.mse, errors.mae, errors.rmse, errors.r2]).all()
    assert errors.num_pairs == 0


def test_a_benchmark_of_another_shape_or_infinite_is_refused() -> None:
    with pytest.raises(ValueError, match=r"benchmark must broadcast to \(1, 2\), got shape \(3,\)"):
        regression_errors([[1.0, 2.0]], [[1.0, 2.0]], benchmark=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="benchmark holds 2 infinite value"):
        regression_errors([[1.0, 2.0]], [[1.0, 2.0]], benchmark=np.inf)
