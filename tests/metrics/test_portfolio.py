"""Weights from predictions: by hand, against quantile returns and the pool of dropout, and without a look ahead."""

from __future__ import annotations

import numpy as np
import pytest

from factor_metrics import long_short_weights, proportional_weights, quantile_returns, spread, top_k_weights
from forecast_samples import market

NAN = np.nan


def test_long_short_weights_by_hand() -> None:
    weights = long_short_weights([[0.1, 0.4, 0.2, 0.3], [NAN] * 4, [1.0] * 4], num_quantiles=4, gross=2.0)
    np.testing.assert_allclose(weights[0], [-1.0, 1.0, 0.0, 0.0])
    assert np.isnan(weights[1:]).all()


def test_long_short_weights_earn_half_the_spread_for_each_unit_of_gross() -> None:
    prediction, price, _ = market(missing=0.0)
    label = price[1:] / price[:-1] - 1.0
    weights = long_short_weights(prediction, 3)[:-1]
    expected = spread(quantile_returns(prediction[:-1], label, 3)) / 2.0
    np.testing.assert_allclose((weights * label).sum(axis=1), expected, atol=1e-15)


def test_proportional_weights_are_neutral_and_of_the_gross_asked_for() -> None:
    prediction, _, _ = market(1)
    prediction[2, 3] = NAN
    weights = proportional_weights(prediction, gross=1.5)
    np.testing.assert_allclose(weights.sum(axis=1), 0.0, atol=1e-14)
    np.testing.assert_allclose(np.abs(weights).sum(axis=1), 1.5)
    assert weights[2, 3] == 0.0
    assert np.isnan(proportional_weights([[2.0, 2.0, NAN]])).all()


def dropout_by_pool(prediction: np.ndarray, num_held: int, max_replaced: int) -> np.ndarray:
    """The rule in other words: of held and the best few others, the worst few held that are beaten leave."""
    held, rows = [], []
    for row in prediction:
        score = {symbol: -np.inf if np.isnan(value) else value for symbol, value in enumerate(row)}
        others = sorted((s for s in score if s not in held and score[s] > -np.inf), key=lambda s: -score[s])
        new = others[: max_replaced + num_held - len(held)]
        pool = sorted([*held, *new], key=lambda s: -score[s])
        sell = [s for s in held if s in pool[len(pool) - max_replaced :]] if len(held) == num_held else []
        held = [s for s in held if s not in sell]
        held += new[: num_held - len(held)]
        rows.append([(s in held) / num_held for s in score])
    return np.array(rows)


@pytest.mark.parametrize(("num_held", "max_replaced"), [(3, 1), (5, 2), (5, 5), (1, 1)])
def test_top_k_with_a_limit_on_replacements_equals_the_pool_of_dropout(num_held: int, max_replaced: int) -> None:
    prediction, _, _ = market(2)
    np.testing.assert_array_equal(
        top_k_weights(prediction, num_held, max_replaced), dropout_by_pool(prediction, num_held, max_replaced)
    )


def test_top_k_without_a_limit_is_the_top_of_every_date() -> None:
    prediction, _, _ = market(3)
    held = top_k_weights(prediction, 4) > 0.0
    for date, row in enumerate(prediction):
        assert set(np.flatnonzero(held[date])) == set(np.argsort(row)[-4:])


def test_no_more_symbols_are_replaced_than_allowed() -> None:
    prediction, _, _ = market(4, num_dates=100)
    changed = np.diff((top_k_weights(prediction, 5, 2) > 0.0).astype(int), axis=0)
    assert np.abs(changed).sum(axis=1).max() == 4  # two out, two in


def test_a_held_symbol_without_a_prediction_is_the_first_to_go() -> None:
    weights = top_k_weights([[3.0, 2.0, 1.0], [NAN, 2.0, 1.0], [NAN] * 3], num_held=2, max_replaced=1)
    np.testing.assert_array_equal(weights[1], [0.0, 0.5, 0.5])
    assert np.isnan(weights[2]).all()


def test_too_few_symbols_leave_the_rest_in_cash() -> None:
    np.testing.assert_array_equal(top_k_weights([[1.0, NAN, 2.0]], num_held=4), [[0.25, 0.0, 0.25]])


def test_weights_know_no_later_prediction() -> None:
    prediction, _, _ = market(5)
    changed = prediction.copy()
    changed[20:] = -changed[20:]
    for rule in (long_short_weights, proportional_weights, lambda values: top_k_weights(values, 4, 1)):
        np.testing.assert_array_equal(rule(changed)[:20], rule(prediction)[:20])
        np.testing.assert_array_equal(rule(prediction[:20]), rule(prediction)[:20])
