"""How predictions differ between models and symbols."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from factor_metrics import (
    constant_dates,
    constant_share,
    error_correlation,
    model_clusters,
    num_distinct_models,
    num_effective_models,
    prediction_correlation,
    rank_ic,
    redundant_pairs,
)

pytestmark = pytest.mark.numeric


def test_correlation_of_a_model_with_itself_its_reverse_and_noise() -> None:
    generator = np.random.default_rng(0)
    model, noise = generator.normal(size=(2, 60, 50))
    matrix = prediction_correlation(np.stack([model, 2.0 * model + 1.0, -model, noise]))
    np.testing.assert_allclose(np.diag(matrix), 1.0)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert matrix[0, 1] == pytest.approx(1.0)
    assert matrix[0, 2] == pytest.approx(-1.0)
    assert matrix[0, 3] == pytest.approx(np.mean(rank_ic(model, noise)))


def test_models_are_compared_where_both_predict() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.normal(size=(2, 20, 30))
    second[:10] = np.nan
    matrix = prediction_correlation(np.stack([first, second]))
    assert matrix[0, 1] == pytest.approx(np.mean(rank_ic(first[10:], second[10:])))


def test_a_constant_model_has_no_correlation_even_with_itself() -> None:
    matrix = prediction_correlation(np.stack([np.ones((5, 20)), np.random.default_rng(0).normal(size=(5, 20))]))
    assert np.isnan(matrix[0]).all()
    assert matrix[1, 1] == 1.0


def test_redundant_pairs_come_highest_first_and_leave_out_the_threshold_itself() -> None:
    matrix = np.array([[1.0, 0.95, 0.9], [0.95, 1.0, 0.99], [0.9, 0.99, 1.0]])
    assert redundant_pairs(matrix, ["a", "b", "c"], 0.9) == [("b", "c", 0.99), ("a", "b", 0.95)]


def test_redundancy_joins_groups_through_a_middle_model() -> None:
    matrix = np.eye(4)
    matrix[0, 1] = matrix[1, 0] = matrix[1, 2] = matrix[2, 1] = 0.95
    assert num_distinct_models(matrix, ["a", "b", "c", "d"]) == 2
    assert num_distinct_models(np.full((2, 2), np.nan), ["a", "b"]) == 2


def test_groups_name_every_model_once_in_their_order() -> None:
    matrix = np.eye(4)
    matrix[0, 3] = matrix[3, 0] = 0.95
    assert model_clusters(matrix, ["a", "b", "c", "d"]) == [("a", "d"), ("b",), ("c",)]


def test_errors_are_correlated_as_residuals_of_ranks_are() -> None:
    generator = np.random.default_rng(0)
    outcome = generator.standard_normal((12, 30))
    predictions = np.array([0.5, 0.1])[:, None, None] * outcome + generator.standard_normal((2, 12, 30))
    predictions[0, :, :5], outcome[3, 10:20] = np.nan, np.nan
    expected = []
    for date in range(12):
        rows = np.isfinite(predictions[:, date]).all(axis=0) & np.isfinite(outcome[date])
        y, *forecasts = (
            scipy.stats.zscore(scipy.stats.rankdata(one[rows])) for one in (outcome[date], *predictions[:, date])
        )
        expected.append(np.corrcoef(y - forecasts[0], y - forecasts[1])[0, 1])
    matrix = error_correlation(predictions, outcome)
    assert matrix[0, 1] == matrix[1, 0] == pytest.approx(np.mean(expected), abs=1e-12)
    np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-12)


def test_models_that_know_nothing_share_the_outcome_in_their_errors() -> None:
    generator = np.random.default_rng(0)
    noise, outcome = generator.standard_normal((3, 200, 40)), generator.standard_normal((200, 40))
    assert error_correlation(noise, outcome)[0, 1] == pytest.approx(0.5, abs=0.02)
    right = error_correlation(np.stack([outcome, noise[0]]), outcome)
    assert np.isnan(right[0]).all(), "a model that is always right has no errors"
    assert np.isnan(error_correlation(noise, np.full_like(outcome, np.nan))).all()


def test_effective_models_count_copies_once_and_strangers_fully() -> None:
    assert num_effective_models(np.eye(5)) == 5.0
    assert num_effective_models(np.ones((5, 5))) == pytest.approx(1.0)
    matrix = np.array([[1.0, 0.3, np.nan], [0.3, 1.0, np.nan], [np.nan, np.nan, np.nan]])
    values = np.linalg.eigvalsh(matrix[:2, :2])
    assert num_effective_models(matrix) == pytest.approx(values.sum() ** 2 / np.square(values).sum())
    assert np.isnan(num_effective_models([[np.nan]]))


def test_names_must_fit_the_matrix_and_be_unique() -> None:
    with pytest.raises(ValueError, match=r"square over 3 names, got shape \(2, 2\)"):
        redundant_pairs(np.eye(2), ["a", "b", "c"])
    with pytest.raises(ValueError, match="names must be unique"):
        redundant_pairs(np.eye(2), ["a", "a"])


def test_constant_share_counts_the_dates_with_one_value_for_all() -> None:
    nan = np.nan
    prediction = [[1.0, 1.0, nan], [1.0, 2.0, nan], [nan, nan, nan], [5.0, nan, nan], [0.1, 0.1, 0.1]]
    assert constant_share(prediction) == pytest.approx(2 / 3)
    assert np.isnan(constant_share(np.full((2, 3), nan)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forecasts_that_differ_by_rounding_alone_are_constant_and_others_are_not(dtype: type) -> None:
    eps = np.finfo(dtype).eps
    level = np.array([[1.0], [-3.0], [0.25], [1e-6], [40.0]], dtype)
    unequal = np.array([0, 1, -1, 2, 0], dtype)
    scale = np.maximum(np.abs(level), np.median(np.abs(level)))
    assert constant_dates(np.broadcast_to(level, (5, 5))).all()
    assert constant_dates((level + 20 * eps * scale * unequal).astype(dtype)).all(), "60 eps apart"
    assert not constant_dates((level + 23 * eps * scale * unequal).astype(dtype)).any(), "69 eps apart"
    assert constant_share((level + eps * scale * unequal).astype(dtype)) == 1.0


def test_the_type_of_the_forecasts_decides_what_rounding_is() -> None:
    forecast = 1.0 + np.array([[0.0, 1e-7, 2e-7]])
    assert not constant_dates(forecast).any()
    assert constant_dates(forecast, np.float32).all()
    assert constant_dates(forecast.astype(np.float32)).all()


def test_one_large_date_does_not_make_the_others_constant() -> None:
    forecast = np.array([[1e9, -1e9], [0.1, 0.2], [0.3, 0.1], [0.2, np.nan]], np.float32)
    assert constant_dates(forecast).tolist() == [False, False, False, True]
