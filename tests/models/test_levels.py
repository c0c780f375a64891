"""Forecasts combined by their levels: a hand case, rows alone and among many, and what is missing."""

from __future__ import annotations

import numpy as np

from factor_models import combine_levels


def test_a_hand_case() -> None:
    forecasts = np.array([[3.0, np.nan, 1.0], [10.0, 20.0, 30.0]])
    weights, means, deviations = np.array([[3.0], [1.0]]), np.array([[1.0], [20.0]]), np.array([[2.0], [10.0]])
    found = combine_levels(forecasts, weights, means, deviations)
    # (3 * 1 - 1 * 1) / 4; the second alone is 0; (3 * 0 + 1 * 1) / 4
    np.testing.assert_allclose(found, [0.5, 0.0, 0.25])


def test_where_weights_are_0_those_that_are_there_count_the_same_and_without_any_there_is_nothing() -> None:
    forecasts = np.array([[1.0, np.nan, 1.0], [3.0, np.nan, 3.0]])
    ones = np.ones((2, 3))
    np.testing.assert_allclose(combine_levels(forecasts, 0.0 * ones, 0.0 * ones, ones), [2.0, np.nan, 2.0])
    constant = np.array([[0.0] * 3, [1.0] * 3])  # a model that said the same on all valid dates
    np.testing.assert_allclose(combine_levels(forecasts, ones, 0.0 * ones, constant), [3.0, np.nan, 3.0])


def test_a_row_alone_has_the_bits_that_it_has_among_many() -> None:
    generator = np.random.default_rng(0)
    forecasts = generator.standard_normal((5, 1000)).astype(np.float32)
    settings = [generator.uniform(0.1, 2.0, (5, 1)) for _ in range(3)]
    many = combine_levels(forecasts, *settings)
    alone = [combine_levels(forecasts[:, [row]], *settings)[0] for row in range(0, 1000, 97)]
    np.testing.assert_array_equal(np.array(alone), many[::97])
