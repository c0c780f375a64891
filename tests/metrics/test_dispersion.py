"""No dispersion: what differs by no more than rounding is the same, wherever something is divided by a spread."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from factor_metrics import (
    auc,
    bootstrap_interval,
    constant_share,
    deflated_sharpe_ratio,
    delay_decay,
    evaluate_predictions,
    grouped_ic,
    ic,
    judge_trials,
    long_short_weights,
    mean_test,
    moments,
    naive_t,
    newey_west_interval,
    newey_west_t,
    overfitting_logits,
    paired_difference,
    performance,
    permutation_test,
    proportional_weights,
    quantile_returns,
    random_ranking_interval,
    rank_ic,
    rank_ic_by_horizon,
    regression_errors,
    relative_performance,
    sharpe_ratio,
    sortino_ratio,
    summarize,
    superior_predictive_ability,
    turnover,
    weighted_ic,
    weighted_rank_ic,
)
from factor_metrics.dispersion import no_dispersion, no_dispersion_by_date, rounding_of

pytestmark = pytest.mark.numeric

EQUITY = 100.0 * 1.0005 ** np.arange(253)
GROWTH = np.diff(EQUITY) / EQUITY[:-1]
"""0.05 % a day: 10 to 100 different numbers, by rounding alone."""
NOISE = np.random.default_rng(0).normal(0.0, 0.01, 252)


def nearly_equal(dtype: type[np.floating], size: int = 30) -> np.ndarray:
    """(3, size): dates of values that differ in their last bits."""
    steps = np.random.default_rng(1).integers(-2, 3, (3, size))
    return (np.array([[0.1], [-7.0], [1e-5]]) * (1.0 + steps * float(np.finfo(dtype).eps))).astype(dtype)


LABEL = np.random.default_rng(2).normal(size=(3, 30))


def test_the_rule_is_64_units_in_the_last_place_of_the_scale() -> None:
    unit = np.finfo(np.float64).eps
    assert no_dispersion(np.array([1.0, 1.0 + 64 * unit]))
    assert not no_dispersion(np.array([1.0, 1.0 + 66 * unit]))
    assert no_dispersion(np.array([1e-9, 1e-9 + 60 * unit])), "returns are rounded like growths of about 1"
    assert not no_dispersion(np.array([1e-9, 1.001e-9]), scale=0.0)
    assert no_dispersion(np.array([5.0, 5.00001]), rounding=rounding_of(dtype=np.float32))
    assert no_dispersion(np.array([3.0]))
    assert no_dispersion(np.array([]))
    assert no_dispersion_by_date(np.array([[1.0, 1.0 + unit], [1.0, np.nan], [1.0, 2.0]])).tolist() == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("factor", [1e-150, 1e-9, 1.0, 1e9, 1e150])
def test_constant_predictions_of_any_size_have_no_ic_and_others_keep_theirs(factor: float) -> None:
    assert np.isnan(ic(nearly_equal(np.float64) * factor, LABEL)).all()
    assert np.isnan(rank_ic(nearly_equal(np.float64) * factor, LABEL)).all()
    np.testing.assert_allclose(rank_ic(LABEL[::-1] * factor, LABEL), rank_ic(LABEL[::-1], LABEL))


@pytest.mark.parametrize(
    "metric",
    [
        ic,
        rank_ic,
        lambda x, y: weighted_ic(x, y, np.ones(np.shape(y))),
        lambda x, y: weighted_rank_ic(x, y, np.ones(np.shape(y))),
        lambda x, y: rank_ic_by_horizon(x, np.stack([y, y]))[1],
        lambda x, y: delay_decay(x, y, [0]).ic[0],
        lambda x, y: grouped_ic(x, y, ["a"] * 30).ic[0],
        lambda x, y: quantile_returns(x, y, 5)[:, 0],
        lambda x, y: turnover(x, 5, 1),
        lambda x, y: long_short_weights(x)[:, 0],
        lambda x, y: proportional_weights(x)[:, 0],
        lambda x, y: [permutation_test(x, y, 10).mean_ic],
        lambda x, y: [permutation_test(x, y, 10, correlation="pearson").mean_ic],
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_forecast_that_is_constant_up_to_its_last_bits_has_no_score(
    metric: Callable[..., Any], dtype: type[np.floating]
) -> None:
    forecast = nearly_equal(dtype)
    assert constant_share(forecast) == 1.0
    assert np.isnan(metric(forecast, LABEL)).all()
    assert not np.isnan(metric(LABEL.astype(dtype), LABEL)[-1:]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_label_has_no_ic_and_no_floor(dtype: type[np.floating]) -> None:
    assert np.isnan(ic(LABEL, nearly_equal(dtype))).all()
    assert np.isnan(rank_ic(LABEL, nearly_equal(dtype))).all()
    assert np.isnan(random_ranking_interval(nearly_equal(dtype))).all()


def test_a_constant_score_is_a_tie_and_tells_ups_from_downs_in_half_of_the_pairs() -> None:
    np.testing.assert_array_equal(auc(nearly_equal(np.float64), (LABEL > 0).astype(float)), 0.5)


def test_a_constant_growth_has_no_sharpe_ratio_and_the_reason_is_given() -> None:
    assert len(np.unique(GROWTH)) > 10
    result = performance(GROWTH, periods_per_year=252)
    assert math.isnan(result.sharpe)
    assert math.isnan(result.skewness)
    assert result.annual_volatility == 0.0
    assert result.undefined.startswith("252 returns from 0.0005 to 0.0005 differ by ")
    assert result.undefined.endswith(", no more than rounding")
    assert math.isnan(deflated_sharpe_ratio(sharpe_ratio(GROWTH, periods_per_year=1), 252, 10, 0.1))
    assert math.isnan(sortino_ratio(GROWTH, periods_per_year=252, risk_free=0.0005))
    assert performance(NOISE, periods_per_year=252).undefined == ""


def test_float32_returns_are_held_against_the_rounding_of_float32() -> None:
    narrow = nearly_equal(np.float32)[0]
    assert len(np.unique(narrow)) > 1
    assert math.isnan(sharpe_ratio(narrow, periods_per_year=252))
    assert math.isnan(naive_t(narrow))


def test_a_benchmark_plus_a_constant_has_no_information_ratio() -> None:
    result = relative_performance(NOISE + 0.001, NOISE, periods_per_year=252)
    assert (result.beta, result.tracking_error) == (pytest.approx(1.0), 0.0)
    assert math.isnan(result.information_ratio)
    assert result.undefined.startswith("252 differences from 0.001 to 0.001 differ by ")
    assert math.isnan(relative_performance(NOISE, GROWTH, periods_per_year=252).beta)


def test_a_linear_copy_of_the_label_has_a_mean_ic_and_no_t() -> None:
    label = np.random.default_rng(3).normal(0.0, 0.02, (250, 60))
    summary = summarize(ic(3.0 * label + 0.1, label))
    assert (summary.mean, summary.std) == (pytest.approx(1.0), 0.0)
    assert np.isnan([summary.icir, summary.t_stat, summary.p_value, summary.naive_t_stat]).all()
    assert "no more than rounding" in summary.undefined
    judged = evaluate_predictions(3.0 * label, label, horizon=1, num_bootstrap=100)
    assert math.isnan(judged.scores().icir)


@pytest.mark.parametrize("size", [0.0, 1e-17, 0.3])
def test_a_series_without_dispersion_has_no_t_and_an_interval_without_width(size: float) -> None:
    series = size + 1e-16 * np.random.default_rng(4).normal(size=250)
    found = [newey_west_t(series).t_stat, mean_test(series).t_stat, naive_t(series), *moments(series)]
    assert np.isnan(found).all()
    for low, high in (bootstrap_interval(series), newey_west_interval(series)):
        assert low == high == pytest.approx(size, abs=1e-15)
    ics = np.random.default_rng(5).normal(0.0, 0.1, 250)
    assert math.isnan(paired_difference(ics + series, ics).t_stat)


def test_trials_without_dispersion_are_refused_or_left_out() -> None:
    constant = 0.01 + 1e-17 * NOISE
    with pytest.raises(ValueError, match=r"1 trial\(s\) are constant on the common dates: b"):
        judge_trials({"a": NOISE, "b": constant})
    assert math.isnan(judge_trials({"a": NOISE + 0.001}, benchmark=NOISE).superior_p_value)
    with pytest.raises(ValueError, match=r"must vary over dates; 1 column\(s\) do not, first 1"):
        superior_predictive_ability(np.column_stack([NOISE, constant]))
    worst = overfitting_logits(np.column_stack([NOISE + 0.01, constant]), 8)
    assert (worst > 0.0).all(), "a Sharpe ratio of rounding would be the best of every half"


def test_a_benchmark_without_error_leaves_no_r2() -> None:
    label = LABEL.copy()
    assert math.isnan(regression_errors(LABEL[::-1], label, benchmark=label * (1.0 + 1e-15)).r2)
    assert regression_errors(LABEL[::-1], label).r2 < 1.0
