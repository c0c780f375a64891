"""One evaluation is its parts: the same numbers as the functions it calls, on the same dates."""

from __future__ import annotations

import numpy as np
import pytest

from factor_metrics import (
    evaluate_horizons,
    evaluate_predictions,
    ic,
    quantile_returns,
    rank_ic,
    summarize,
    turnover,
)


@pytest.fixture
def prediction_and_label() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    prediction = generator.standard_normal((80, 30))
    label = 0.2 * prediction + generator.standard_normal(prediction.shape)
    label[generator.random(label.shape) < 0.05] = np.nan
    return prediction, label


def test_an_evaluation_equals_its_parts(prediction_and_label: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, label = prediction_and_label
    judged = evaluate_predictions(prediction, label, horizon=5, num_quantiles=3, num_bootstrap=200, seed=4)
    np.testing.assert_array_equal(judged.ic, ic(prediction, label))
    np.testing.assert_array_equal(judged.rank_ic, rank_ic(prediction, label))
    returns = quantile_returns(prediction, label, 3)
    np.testing.assert_array_equal(judged.quantile_returns, returns)
    np.testing.assert_array_equal(judged.spread, returns[:, -1] - returns[:, 0])
    np.testing.assert_array_equal(judged.turnover, turnover(prediction, 3, 5))
    assert judged.rank_ic_summary == summarize(judged.rank_ic, 5, num_bootstrap=200, seed=4)


def test_a_perfect_prediction_has_ic_one_and_a_spread(
    prediction_and_label: tuple[np.ndarray, np.ndarray],
) -> None:
    _, label = prediction_and_label
    judged = evaluate_predictions(label, label, horizon=1, num_bootstrap=200)
    np.testing.assert_allclose(judged.ic, 1.0)
    np.testing.assert_allclose(judged.rank_ic, 1.0)
    assert (judged.spread > 0).all()


def test_more_quantiles_than_symbols_are_refused(prediction_and_label: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="num_quantiles"):
        evaluate_predictions(*prediction_and_label, horizon=1, num_quantiles=31)


def test_horizons_together_are_horizons_one_by_one_on_any_number_of_threads(
    prediction_and_label: tuple[np.ndarray, np.ndarray],
) -> None:
    prediction, label = prediction_and_label
    predictions, labels, horizons = [prediction, -prediction, label], [label, label, prediction], [1, 5, 10]
    for num_threads in (1, 3):
        together = evaluate_horizons(predictions, labels, horizons=horizons, num_bootstrap=200, num_threads=num_threads)
        assert list(together) == horizons
        for x, y, horizon in zip(predictions, labels, horizons, strict=True):
            alone = evaluate_predictions(x, y, horizon=horizon, num_bootstrap=200)
            assert together[horizon].rank_ic_summary == alone.rank_ic_summary
            assert together[horizon].ic_summary == alone.ic_summary
            np.testing.assert_array_equal(together[horizon].quantile_returns, alone.quantile_returns)
            np.testing.assert_array_equal(together[horizon].turnover, alone.turnover)


def test_a_horizon_without_its_matrices_or_named_twice_is_refused(
    prediction_and_label: tuple[np.ndarray, np.ndarray],
) -> None:
    prediction, label = prediction_and_label
    with pytest.raises(ValueError, match=r"one for each horizon, horizons unique, got 1, 1 and \[1, 5\]"):
        evaluate_horizons([prediction], [label], horizons=[1, 5])
    with pytest.raises(ValueError, match=r"got 2, 2 and \[5, 5\]"):
        evaluate_horizons([prediction] * 2, [label] * 2, horizons=[5, 5])
