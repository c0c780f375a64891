"""OrderedMatrix: rows put in order once rank as they do otherwise, to the bit, and so does all that is made of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from factor_metrics import (
    BookConfig,
    OrderedMatrix,
    delay_decay,
    error_correlation,
    ic,
    judge_book,
    prediction_correlation,
    quantile_of,
    quantile_returns,
    rank_ic,
    rank_rows,
    turnover,
)
from factor_metrics.judging.profile import calibration_series
from factor_metrics.ordering.ordered import ranks_among
from factor_metrics.ordering.sums import group_sums, row_product, row_sum
from factor_metrics.portfolio.costs import Impact, impact_rates
from factor_metrics.trailing import last_known

pytestmark = pytest.mark.numeric


def awkward() -> Iterator[tuple[NDArray, NDArray]]:
    """Pairs of matrices with gaps: plain, float32, ties, constant rows, rows that are rounding, rows of few symbols."""
    generator = np.random.default_rng(8)
    for dtype in (np.float64, np.float32):
        for decimals in (12, 1, 0):
            x, y = (generator.normal(size=(30, 24)).round(decimals).astype(dtype) for _ in range(2))
            x[generator.random(x.shape) < 0.1], y[generator.random(x.shape) < 0.1] = np.nan, np.nan
            x[:2], y[2:4], x[4], y[5] = 1.0, -3.0, np.nan, np.nan
            x[6] = 0.5 + generator.integers(0, 3, 24) * np.finfo(dtype).eps / 4  # the same up to rounding
            x[7, 3:], y[8, 2:] = np.nan, np.nan
            x[9], x[9, :5] = 0.0, -0.0
            x[10, :12], y[10, 12:] = np.nan, np.nan  # no symbol has both
            x[11], x[11, 20:], y[11, :20] = 2.0, np.arange(4), 7.0  # constant but for a few
            yield x, y


def same(found: NDArray, wanted: NDArray) -> None:
    np.testing.assert_array_equal(found, wanted, strict=True)


def test_whatever_ranks_finds_the_same_in_an_ordered_matrix() -> None:
    for x, y in awkward():
        one, other = OrderedMatrix(x), OrderedMatrix(y)
        for pair in ((one, other), (one, y), (x, other)):
            same(rank_ic(*pair, 3), rank_ic(x, y, 3))
            same(ic(*pair, 3), ic(x, y, 3))
            same(quantile_returns(*pair, 4), quantile_returns(x, y, 4))
        same(quantile_of(one, 4), quantile_of(x, 4))
        same(turnover(one, 4, 2), turnover(x, 4, 2))
        same(delay_decay(one, other, [0, 1, 3], 3).ic, delay_decay(x, y, [0, 1, 3], 3).ic)


def test_a_part_of_an_ordered_matrix_is_not_sorted_again_and_ranks_alike() -> None:
    for x, y in awkward():
        kept = np.random.default_rng(1).random(x.shape) < 0.6
        part = np.where(kept, x, np.array(np.nan, dtype=x.dtype))
        ordered = OrderedMatrix(x)
        same(ordered.where(kept).values, part)
        same(rank_ic(ordered.where(kept), y, 3), rank_ic(part, y, 3))
        same(quantile_of(ordered.where(kept), 3), quantile_of(part, 3))
        same(ranks_among(ordered, kept & ~np.isnan(x)), rank_rows(part))
        same(rank_ic(ordered[5:20], y[5:20], 3), rank_ic(x[5:20], y[5:20], 3))


def test_models_with_the_same_gaps_and_with_others_are_correlated_as_their_ranks_say() -> None:
    generator = np.random.default_rng(4)
    outcome = generator.normal(size=(25, 30))
    models = 0.5 * outcome + generator.normal(size=(3, *outcome.shape))
    outcome[generator.random(outcome.shape) < 0.05] = np.nan
    models[:2, generator.random(outcome.shape) < 0.1] = np.nan  # the first two lack the same
    models[2, :4] = np.nan
    errors = error_correlation(models, outcome, 5)
    for first in range(3):
        for second in range(3):
            shared = np.isfinite(models[first]) & np.isfinite(models[second]) & np.isfinite(outcome)
            one, other, known = (np.where(shared, values, np.nan) for values in (*models[[first, second]], outcome))
            a, b, r = rank_ic(one, known, 5), rank_ic(other, known, 5), rank_ic(one, other, 5)
            np.testing.assert_allclose(
                errors[first, second], np.nanmean((1 - a - b + r) / (2 * np.sqrt((1 - a) * (1 - b)))), rtol=1e-12
            )
    ordered = [OrderedMatrix(one) for one in models]
    same(error_correlation(ordered, outcome, 5), errors)
    same(prediction_correlation(ordered, 5), prediction_correlation(models, 5))


def test_sums_in_compiled_loops_are_those_of_numpy_to_the_bit() -> None:
    generator = np.random.default_rng(3)
    for length in (0, 1, 7, 8, 9, 127, 128, 129, 136, 255, 1000, 5003):
        x = generator.normal(size=length) * 10.0 ** generator.integers(-9, 9, length)
        y = generator.normal(size=length)
        assert row_sum(x) == x.sum()
        assert row_product(x, y, np.empty(length)) == (np.stack([x, x]) * y).sum(axis=1)[1]
        group = generator.integers(-1, 4, length)
        same(group_sums(x, group, 4), np.array([np.where(group == one, x, 0.0).sum() for one in range(4)]))


def test_what_was_known_last_is_what_pandas_fills_forward() -> None:
    values = np.random.default_rng(4).normal(size=(40, 6))
    values[np.random.default_rng(5).random(values.shape) < 0.5] = np.nan
    given = values.copy()
    same(last_known(values), pd.DataFrame(values).ffill().to_numpy())
    same(values, given)


def test_calibration_is_that_of_float64_in_whatever_order_and_type_forecasts_come() -> None:
    """Two neighbours of float32 are no rounding beside a target of float64."""
    for x, y in awkward():
        expected = calibration_series(x.astype(np.float64), y, 4)
        for one, other in zip(calibration_series(OrderedMatrix(x), y, 4), expected, strict=True):
            same(one, other)
    prediction = np.full((2, 8), 0.1, dtype=np.float32)
    prediction[0, ::2] = np.nextafter(prediction[0, 0], np.float32(1.0))
    target = np.arange(16.0).reshape(2, 8)
    found = calibration_series(OrderedMatrix(prediction), target, 2)
    for one, other in zip(found, calibration_series(prediction.astype(np.float64), target, 2), strict=True):
        same(one, other)
    assert np.isfinite(found[2]).tolist() == [True, False]


def test_a_book_takes_the_impact_that_is_known_already() -> None:
    generator = np.random.default_rng(6)
    price = 100.0 * np.exp(np.cumsum(0.02 * generator.normal(size=(60, 12)), axis=0))
    traded, forecast = 1e6 * generator.random(price.shape), generator.normal(size=price.shape)
    dates, market, config = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]"), np.zeros(60), BookConfig()
    costs = config.costs
    rates = impact_rates(price, traded, coefficient=costs.impact, money=config.money, num_bars=costs.volume_bars)
    by_volume, by_rates = (
        judge_book(forecast, price, one, dates, market, config, horizon=3) for one in (traded, Impact(rates=rates))
    )
    assert by_volume.scores.impact_costs > 0.0
    np.testing.assert_equal(by_rates.scores.to_dict(), by_volume.scores.to_dict())
    same(by_rates.net, by_volume.net)
