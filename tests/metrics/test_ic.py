"""ic and rank_ic: by hand, against scipy, and the properties they must have."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from factor_metrics import ic, ic_by_horizon, rank_ic, rank_ic_by_horizon

pytestmark = pytest.mark.numeric


def noisy_pair(
    seed: int, shape: tuple[int, int] = (30, 40), missing: float = 0.1, ties: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    prediction = generator.normal(size=shape)
    label = 0.3 * prediction + generator.normal(size=shape)
    if ties:
        prediction, label = prediction.round(0), label.round(0)
    prediction[generator.random(shape) < missing] = np.nan
    label[generator.random(shape) < missing] = np.nan
    return prediction, label


def per_date(correlation: Callable[..., Any], prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    values = []
    for x, y in zip(prediction, label, strict=True):
        both = ~np.isnan(x) & ~np.isnan(y)
        values.append(correlation(x[both], y[both]).statistic)
    return np.array(values)


def test_perfect_order_is_plus_one_and_reversed_order_is_minus_one() -> None:
    prediction = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    label = np.array([[0.1, 0.2, 0.3, 0.9], [9.0, 3.0, 2.0, 1.0]])
    np.testing.assert_allclose(rank_ic(prediction, label, min_symbols=4), [1.0, -1.0], atol=1e-15)


def test_pearson_by_hand() -> None:
    # deviations (-1, 0, 1) and (-1, -1, 2): 3 / sqrt(2 * 6)
    assert ic([[1.0, 2.0, 3.0]], [[0.0, 0.0, 3.0]], min_symbols=3)[0] == pytest.approx(3 / np.sqrt(12), abs=1e-15)


def test_ties_share_their_average_rank() -> None:
    # ranks (1.5, 1.5, 3) and (1, 2, 3): 1.5 / sqrt(1.5 * 2)
    value = rank_ic([[7.0, 7.0, 8.0]], [[1.0, 2.0, 3.0]], min_symbols=3)[0]
    assert value == pytest.approx(1.5 / np.sqrt(3.0), abs=1e-15)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_scipy_date_by_date(ties: bool, dtype: type[np.floating]) -> None:
    prediction, label = (matrix.astype(dtype) for matrix in noisy_pair(1, ties=ties))
    expected = per_date(stats.pearsonr, prediction.astype(float), label.astype(float))
    np.testing.assert_allclose(ic(prediction, label), expected, atol=1e-13)
    np.testing.assert_allclose(rank_ic(prediction, label), per_date(stats.spearmanr, prediction, label), atol=1e-13)


@pytest.mark.parametrize("metric", [ic, rank_ic])
def test_a_constant_side_gives_nan_not_zero(metric: Callable[..., np.ndarray]) -> None:
    generator = np.random.default_rng(0)
    varied = generator.normal(size=(1, 30))
    constant = np.full((1, 30), 0.1)  # 0.1 is not exact in binary: its mean is not 0.1 either
    assert np.isnan(metric(constant, varied)).all()
    assert np.isnan(metric(varied, constant)).all()


@pytest.mark.parametrize("metric", [ic, rank_ic])
def test_a_side_that_is_constant_where_both_are_present_gives_nan(metric: Callable[..., np.ndarray]) -> None:
    prediction = np.array([[1.0, 1.0, 1.0, 5.0]])
    label = np.array([[0.1, 0.2, 0.3, np.nan]])
    assert np.isnan(metric(prediction, label, min_symbols=2)).all()


@pytest.mark.parametrize("metric", [ic, rank_ic])
def test_fewer_than_min_symbols_gives_nan(metric: Callable[..., np.ndarray]) -> None:
    prediction, label = np.arange(10.0)[None], np.arange(10.0)[None]
    assert not np.isnan(metric(prediction, label)).any()
    assert np.isnan(metric(prediction, label, min_symbols=11)).all()
    prediction[0, 0] = np.nan
    assert np.isnan(metric(prediction, label)).all()


@pytest.mark.parametrize("metric", [ic, rank_ic])
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_empty_matrices_give_empty_or_nan(metric: Callable[..., np.ndarray], shape: tuple[int, int]) -> None:
    value = metric(np.empty(shape), np.empty(shape))
    assert value.shape == (shape[0],)
    assert np.isnan(value).all()


@pytest.mark.parametrize(("metric", "by_horizon"), [(ic, ic_by_horizon), (rank_ic, rank_ic_by_horizon)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_several_labels_at_once_are_one_call_per_label(
    metric: Callable[..., np.ndarray], by_horizon: Callable[..., np.ndarray], dtype: type[np.floating]
) -> None:
    prediction, label = noisy_pair(7, shape=(150, 600), ties=True)  # two blocks of rows
    other = noisy_pair(8, shape=prediction.shape)[1]
    labels = np.stack([label, -label, other, label]).astype(dtype)  # the same symbols missing, others, the same
    expected = [metric(prediction, one) for one in labels]
    np.testing.assert_array_equal(by_horizon(prediction, labels), expected)


def test_a_prediction_may_be_float32_and_a_label_float64() -> None:
    prediction, label = noisy_pair(9)
    narrow = prediction.astype(np.float32)
    np.testing.assert_array_equal(rank_ic(narrow, label), rank_ic(narrow.astype(np.float64), label))
    np.testing.assert_array_equal(ic(narrow, label), ic(narrow.astype(np.float64), label))


@pytest.mark.parametrize("metric", [ic, rank_ic])
def test_transposed_strided_and_read_only_inputs_change_nothing(metric: Callable[..., np.ndarray]) -> None:
    prediction, label = noisy_pair(10)
    turned = np.asfortranarray(prediction)
    sliced = np.repeat(label, 2, axis=1)[:, ::2]
    label.flags.writeable = False
    np.testing.assert_array_equal(metric(turned, sliced), metric(prediction, label))


def test_two_panels_in_the_same_order_have_exactly_one() -> None:
    prediction = noisy_pair(11, shape=(50, 997), ties=True)[0]
    np.testing.assert_array_equal(rank_ic(prediction, 3.0 * prediction), 1.0)
    np.testing.assert_array_equal(rank_ic(prediction, -prediction), -1.0)


def test_labels_over_other_symbols_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels must have shape .* \(2, 12\), got \(3, 2, 11\)"):
        rank_ic_by_horizon(np.zeros((2, 12)), np.zeros((3, 2, 11)))


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e150])
def test_extreme_scales_change_nothing(scale: float) -> None:
    prediction, label = noisy_pair(4)
    np.testing.assert_allclose(ic(prediction * scale, label), ic(prediction, label), atol=1e-12)


def test_a_large_common_offset_keeps_its_digits() -> None:
    prediction, label = noisy_pair(5)
    np.testing.assert_allclose(ic(prediction + 1e6, label), ic(prediction, label), atol=1e-8)


def test_values_that_differ_in_their_last_bits_keep_their_correlation() -> None:
    prediction, label = (values[:1].round(1) for values in noisy_pair(12, missing=0.0))
    crowded = 1.0 + prediction * 2.0**-45  # multiples of 2^-52 by rounding: compared in exact fractions
    x, y = ([Fraction(value) for value in values[0].tolist()] for values in (crowded, label))
    x, y = ([value - sum(values) / len(values) for value in values] for values in (x, y))
    covariance = sum(a * b for a, b in zip(x, y, strict=True))
    squared = covariance**2 / (sum(a * a for a in x) * sum(b * b for b in y))
    assert ic(crowded, label)[0] == pytest.approx(float(squared) ** 0.5, abs=1e-14)


def test_inputs_are_left_untouched() -> None:
    prediction, label = noisy_pair(6)
    copies = prediction.copy(), label.copy()
    ic(prediction, label)
    rank_ic(prediction, label)
    np.testing.assert_array_equal(prediction, copies[0])
    np.testing.assert_array_equal(label, copies[1])


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, (2, 12), elements=st.integers(-5, 5).map(float)), st.randoms(use_true_random=False))
def test_rank_ic_is_symmetric_bounded_odd_and_blind_to_symbol_order(pair: np.ndarray, random: Random) -> None:
    x, y = pair[:1], pair[1:]
    value = rank_ic(x, y)
    order = list(range(12))
    random.shuffle(order)
    np.testing.assert_allclose(value, rank_ic(y, x), atol=1e-14)
    np.testing.assert_allclose(value, -rank_ic(-x, y), atol=1e-14)
    np.testing.assert_allclose(value, rank_ic(x[:, order], y[:, order]), atol=1e-14)
    np.testing.assert_allclose(value, rank_ic(np.exp(x), y), atol=1e-14)
    assert np.isnan(value).all() or np.all(np.abs(value) <= 1.0)


def test_an_infinite_value_is_refused_with_its_place() -> None:
    matrix = np.zeros((2, 12))
    matrix[1, 3] = np.inf
    with pytest.raises(ValueError, match=r"prediction holds 1 infinite value\(s\), first at \(1, 3\)"):
        ic(matrix, np.zeros((2, 12)))


def test_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction and label must have the same shape, got \(2, 3\) and \(3, 2\)"):
        ic(np.zeros((2, 3)), np.zeros((3, 2)))


def test_a_vector_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction must have shape \(num_dates, num_symbols\), got \(3,\)"):
        rank_ic(np.zeros(3), np.zeros(3))


def test_text_is_refused() -> None:
    with pytest.raises(ValueError, match="prediction must be numeric"):
        ic(np.array([["a"]]), np.zeros((1, 1)))


def test_min_symbols_below_two_is_refused() -> None:
    with pytest.raises(ValueError, match="min_symbols must be at least 2, got 1"):
        ic(np.zeros((1, 3)), np.zeros((1, 3)), min_symbols=1)
