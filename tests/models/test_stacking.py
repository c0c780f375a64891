"""Stacking: nested in time to the bit, against scikit-learn and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from factor_models import rank_standardise, stack_oof

pytestmark = pytest.mark.numeric

NUM_DATES, NUM_SYMBOLS, NUM_FOLDS = 60, 25, 3


def example(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Three models of decreasing skill; folds of 20 dates, rows sorted by symbol as in a panel."""
    generator = np.random.default_rng(seed)
    date_code = np.tile(np.arange(NUM_DATES), NUM_SYMBOLS)
    label = generator.standard_normal(date_code.size)
    noise = generator.standard_normal((3, date_code.size))
    predictions = np.array([[0.5], [0.2], [0.0]]) * label + noise
    label[::17] = np.nan
    return predictions, label, date_code, date_code // (NUM_DATES // NUM_FOLDS)


def test_the_first_fold_has_no_stack_and_later_ones_have() -> None:
    predictions, label, date_code, fold = example()
    result = stack_oof(predictions, label, date_code, fold)
    assert np.isnan(result.weights[0]).all()
    assert np.isnan(result.prediction[fold == 0]).all()
    assert np.isfinite(result.prediction[fold > 0]).all()
    assert result.folds.tolist() == [0, 1, 2]
    assert result.weights[2, 0] > result.weights[2, 1] > result.weights[2, 2]


def test_weights_equal_a_weighted_ridge_of_scikit_learn() -> None:
    predictions, label, date_code, fold = example()
    result = stack_oof(predictions, label, date_code, fold, alpha=0.3)
    z = rank_standardise(predictions, date_code)
    known = (fold < 2) & np.isfinite(label)
    target, weight = np.full(label.size, np.nan), np.zeros(label.size)
    for date in range(40):
        rows = known & (date_code == date)
        target[rows] = scipy.stats.zscore(label[rows])
        weight[rows] = 1 / rows.sum() / 40
    ridge = Ridge(alpha=0.3, fit_intercept=False).fit(z[:, known].T, target[known], sample_weight=weight[known])
    np.testing.assert_allclose(result.weights[2], ridge.coef_, rtol=1e-9)
    np.testing.assert_allclose(result.prediction[fold == 2], ridge.predict(z[:, fold == 2].T), rtol=1e-9)


@pytest.mark.parametrize("cut", [1, 2])
def test_weights_of_a_fold_do_not_change_by_a_bit_when_that_fold_and_later_ones_do(cut: int) -> None:
    predictions, label, date_code, fold = example()
    before = stack_oof(predictions, label, date_code, fold)
    late = fold >= cut
    predictions[:, late] = np.random.default_rng(9).standard_normal((3, late.sum()))
    label[late] = 100.0 * np.random.default_rng(8).standard_normal(late.sum())
    after = stack_oof(predictions, label, date_code, fold)
    assert before.weights[: cut + 1].tobytes() == after.weights[: cut + 1].tobytes()
    assert before.prediction[~late].tobytes() == after.prediction[~late].tobytes()


def test_equal_weights_learn_nothing_and_leave_out_no_fold() -> None:
    predictions, label, date_code, fold = example()
    result = stack_oof(predictions, label, date_code, fold, equal=True)
    assert (result.weights == 1 / 3).all()
    assert (result.num_rows == 0).all()
    np.testing.assert_allclose(result.prediction, rank_standardise(predictions, date_code).mean(axis=0), atol=1e-12)
    changed = stack_oof(predictions, -label, date_code, fold, equal=True)
    assert changed.prediction.tobytes() == result.prediction.tobytes()


def test_purge_keeps_labels_that_were_not_yet_known_out() -> None:
    predictions, label, date_code, fold = example()
    before = stack_oof(predictions, label, date_code, fold, purge=6)
    unknown = (date_code >= 14) & (date_code < 20)  # 14 + 6 = 20 = first date of fold 1
    label[unknown] = -label[unknown]
    after = stack_oof(predictions, label, date_code, fold, purge=6)
    assert before.weights[1].tobytes() == after.weights[1].tobytes()
    assert before.num_rows[1] == (np.isfinite(label) & (date_code < 14)).sum()
    assert before.weights[1].tobytes() != stack_oof(predictions, label, date_code, fold).weights[1].tobytes()


def test_a_row_without_every_model_is_not_stacked() -> None:
    predictions, label, date_code, fold = example()
    predictions[1, 45] = np.nan
    predictions[2, date_code == 50] = 1.0
    result = stack_oof(predictions, label, date_code, fold)
    expected = (fold == 0) | (np.arange(label.size) == 45) | (date_code == 50)
    np.testing.assert_array_equal(np.isnan(result.prediction), expected)


def test_rows_outside_folds_are_ignored() -> None:
    predictions, label, date_code, fold = example()
    before = stack_oof(predictions, label, date_code, fold)
    extra = stack_oof(
        np.concatenate([predictions, np.ones((3, 5))], axis=1),
        np.r_[label, np.ones(5)],
        np.r_[date_code, np.arange(5)],
        np.r_[fold, np.full(5, -1)],
    )
    np.testing.assert_array_equal(extra.weights, before.weights)
    assert np.isnan(extra.prediction[-5:]).all()


def test_positive_weights_solve_the_constrained_problem() -> None:
    predictions, label, date_code, fold = example()
    predictions[2] = -label + np.random.default_rng(1).standard_normal(label.size)
    predictions[2, np.isnan(label)] = 0.1
    free = stack_oof(predictions, label, date_code, fold)
    positive = stack_oof(predictions, label, date_code, fold, positive=True)
    without = stack_oof(predictions[:2], label, date_code, fold)
    assert (free.weights[1:, 2] < 0).all()
    assert (positive.weights[1:, 2] == 0).all()
    np.testing.assert_allclose(positive.weights[1:, :2], without.weights[1:], rtol=1e-9)


def test_a_date_with_a_constant_label_teaches_nothing() -> None:
    predictions, label, date_code, fold = example()
    label[date_code == 3] = 0.1
    constant = stack_oof(predictions, label, date_code, fold)
    label[date_code == 3] = np.nan
    missing = stack_oof(predictions, label, date_code, fold)
    np.testing.assert_array_equal(constant.weights, missing.weights)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 4), st.just(None)), min_size=1, max_size=12))
def test_ranks_equal_scipy_average_ranks_standardised(values: list[Any]) -> None:
    row = np.array([np.nan if value is None else value for value in values], np.float64)
    date_code = np.repeat([3, 8], [len(row), len(row)])
    actual = rank_standardise(np.stack([np.r_[row, row[::-1]]]), date_code)[0]
    known = np.isfinite(row)
    expected = np.full(len(row), np.nan)
    if len(set(row[known])) > 1:
        expected[known] = scipy.stats.zscore(scipy.stats.rankdata(row[known]))
    np.testing.assert_allclose(actual, np.r_[expected, expected[::-1]], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha = 0.0: must be > 0"),
        ({"purge": -1}, "purge = -1: must be >= 0"),
        ({"label": np.zeros(3)}, r"label has shape \(3,\): must be \(num_rows=1500,\)"),
        ({"predictions": np.zeros(1500)}, r"predictions have shape \(1500,\)"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    arguments = dict(zip(("predictions", "label", "date_code", "fold"), example(), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        stack_oof(**arguments)
