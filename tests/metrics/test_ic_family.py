"""Weighted, grouped, quantile, rolling, decaying and out-of-sample IC: by hand, by loops, by properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from factor_metrics import (
    compare_samples,
    delay_decay,
    grouped_ic,
    horizon_decay,
    ic,
    mean_test,
    prediction_autocorrelation,
    quantile_ic,
    quantile_of,
    rank_ic,
    rolling_mean_ic,
    weighted_ic,
    weighted_rank_ic,
)

pytestmark = pytest.mark.numeric


def panel(
    seed: int, shape: tuple[int, int] = (30, 60), decimals: int = 12
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prediction, label and weight with missing values; few decimals make ties."""
    generator = np.random.default_rng(seed)
    prediction = generator.normal(size=shape)
    label = (0.3 * prediction + generator.normal(size=shape)).round(decimals)
    weight = generator.integers(0, 4, size=shape).astype(float)
    for values in (prediction, label, weight):
        values[generator.random(shape) < 0.05] = np.nan
    return prediction.round(decimals), label, weight


# ---- weighted


def test_weighted_pearson_by_hand() -> None:
    # weights 1, 1, 2: means 1 and 1.5, cov 2 * 1 * 0.5 + 1 * 1.5 - 0 = 2.5, variances 2 and 5
    value = weighted_ic([[0.0, 0.0, 2.0]], [[0.0, 2.0, 2.0]], [[1.0, 1.0, 2.0]], min_symbols=3)
    by_numpy = np.cov([0.0, 0.0, 2.0], [0.0, 2.0, 2.0], aweights=[1.0, 1.0, 2.0])
    assert value[0] == pytest.approx(by_numpy[0, 1] / np.sqrt(by_numpy[0, 0] * by_numpy[1, 1]), abs=1e-15)
    assert value[0] == pytest.approx(2.0 / np.sqrt(4.0 * 3.0), abs=1e-15)


def test_weighted_pearson_equals_numpy_covariance_with_weights() -> None:
    prediction, label, weight = panel(0)
    weight = weight + 0.37
    expected = []
    for x, y, w in zip(prediction, label, weight, strict=True):
        known = ~np.isnan(x + y + w)
        covariance = np.cov(x[known], y[known], aweights=w[known])
        expected.append(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))
    np.testing.assert_allclose(weighted_ic(prediction, label, weight), expected, atol=1e-13)


@pytest.mark.parametrize(("weighted", "plain"), [(weighted_ic, ic), (weighted_rank_ic, rank_ic)])
@pytest.mark.parametrize("decimals", [0, 12])
def test_equal_weights_are_no_weights(
    weighted: Callable[..., np.ndarray], plain: Callable[..., np.ndarray], decimals: int
) -> None:
    prediction, label, _ = panel(1, decimals=decimals)
    equal = np.full(prediction.shape, 0.25)
    np.testing.assert_allclose(weighted(prediction, label, equal), plain(prediction, label), atol=1e-13)


@pytest.mark.parametrize(("weighted", "plain"), [(weighted_ic, ic), (weighted_rank_ic, rank_ic)])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), decimals=st.integers(0, 2))
def test_an_integer_weight_counts_as_so_many_copies(
    weighted: Callable[..., np.ndarray], plain: Callable[..., np.ndarray], seed: int, decimals: int
) -> None:
    prediction, label, weight = panel(seed, shape=(1, 25), decimals=decimals)
    copies = np.nan_to_num(weight[0]).astype(int)
    expected = plain(np.repeat(prediction, copies, axis=1), np.repeat(label, copies, axis=1), min_symbols=2)
    np.testing.assert_allclose(weighted(prediction, label, weight, min_symbols=2), expected, atol=1e-12)


@pytest.mark.parametrize("weighted", [weighted_ic, weighted_rank_ic])
def test_only_ratios_of_weights_matter_and_float32_is_welcome(weighted: Callable[..., np.ndarray]) -> None:
    prediction, label, weight = panel(2)
    scaled = weight * np.linspace(0.1, 7.0, len(weight))[:, None]
    expected = weighted(prediction, label, weight)
    np.testing.assert_allclose(weighted(prediction, label, scaled), expected, atol=1e-12)
    narrow = weighted(*(values.astype(np.float32) for values in (prediction, label, weight)))
    np.testing.assert_allclose(narrow, expected, atol=1e-5)


@pytest.mark.parametrize("weighted", [weighted_ic, weighted_rank_ic])
def test_symbols_without_weight_do_not_count(weighted: Callable[..., np.ndarray]) -> None:
    prediction, label = np.arange(12.0)[None], np.arange(12.0)[None] ** 2
    weight = np.ones((1, 12))
    weight[0, :3] = [0.0, np.nan, 0.0]
    assert np.isnan(weighted(prediction, label, weight, min_symbols=10)).all()
    assert weighted(prediction, label, weight, min_symbols=9)[0] > 0.9
    constant = np.where(weight > 0.0, 0.1, prediction)
    assert np.isnan(weighted(constant, label, weight, min_symbols=2)).all()


def test_a_negative_weight_is_refused_with_its_place() -> None:
    weight = np.ones((2, 12))
    weight[1, 5] = -1.0
    with pytest.raises(
        ValueError, match=r"weight must be at least 0 or NaN, got 1 other value\(s\), first at \(1, 5\): -1.0"
    ):
        weighted_ic(np.zeros((2, 12)), np.zeros((2, 12)), weight)


# ---- grouped


@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize("decimals", [0, 12])
def test_grouped_ic_equals_pandas_groupby_and_its_counts_add_up(
    method: Literal["pearson", "spearman"], decimals: int
) -> None:
    prediction, label, _ = panel(3, decimals=decimals)
    sectors = np.array(["energy", "tech", "banks", None], dtype=object)
    group = sectors[np.random.default_rng(3).choice(4, size=prediction.shape[1], p=[0.3, 0.3, 0.3, 0.1])]
    judged = grouped_ic(prediction, label, group, method, min_symbols=5)
    assert judged.groups == ("banks", "energy", "tech")
    frame = pd.DataFrame(
        {
            "date": np.repeat(np.arange(30), 60),
            "group": np.tile(group, 30),
            "x": prediction.ravel(),
            "y": label.ravel(),
        }
    ).dropna(subset=["x", "y"])
    for place, name in enumerate(judged.groups):
        inside = frame[frame["group"] == name].groupby("date")
        expected = inside[["x", "y"]].apply(lambda rows: rows["x"].corr(rows["y"], method=method))
        np.testing.assert_allclose(judged.ic[place], expected, atol=1e-12)
        np.testing.assert_array_equal(judged.num_symbols[place], inside.size())
    total = judged.num_symbols.sum(axis=0) + judged.num_ungrouped
    np.testing.assert_array_equal(total, frame.groupby("date").size())
    np.testing.assert_allclose(judged.mean, judged.ic.mean(axis=1))


def test_terciles_of_size_are_made_anew_on_every_date() -> None:
    prediction, label, _ = panel(4, shape=(20, 45))
    size = np.random.default_rng(4).lognormal(size=prediction.shape)
    judged = grouped_ic(prediction, label, quantile_of(size, 3), min_symbols=5)
    assert judged.groups == (0, 1, 2)
    for date in range(20):
        small = size[date] <= np.sort(size[date])[14]
        expected = rank_ic(prediction[date : date + 1, small], label[date : date + 1, small], 5)
        np.testing.assert_array_equal(judged.ic[0, date], expected[0])


def test_negative_codes_none_nan_and_empty_text_mean_no_group() -> None:
    values = np.arange(4.0)[None]
    for group in ([-1, -7, 0, 0], [None, float("nan"), "a", "a"], ["", "", "a", "a"]):
        judged = grouped_ic(values, values, np.array(group, dtype=None), min_symbols=2)
        assert judged.num_symbols.tolist() == [[2]]
        assert judged.num_ungrouped.tolist() == [2]
    nobody = grouped_ic(values, values, [-1] * 4, min_symbols=2)
    assert nobody.groups == ()
    assert nobody.ic.shape == (0, 1)


def test_a_group_that_is_no_label_is_refused() -> None:
    values = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"group must have shape \(num_symbols,\) = \(3,\)"):
        grouped_ic(values, values, ["a", "b"])
    with pytest.raises(ValueError, match="group must hold text or integers, got an array of dtype float64"):
        grouped_ic(values, values, [1.5, 2.5, 3.5])
    with pytest.raises(ValueError, match=r"group must hold text or integers, got 1\.5 of type float"):
        grouped_ic(values, values, np.array(["a", 1.5, None], dtype=object))
    with pytest.raises(ValueError, match=r"method must be one of \['pearson', 'spearman'\], got 'kendall'"):
        grouped_ic(values, values, ["a", "b", "c"], method="kendall")


# ---- quantiles of the prediction


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_top_and_bottom_quintile_ic_equal_a_loop(method: Literal["pearson", "spearman"]) -> None:
    prediction, label, _ = panel(5, shape=(10, 100))
    correlation = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[method]
    inside = quantile_ic(prediction, label, 5, method, min_symbols=5)
    assert inside.shape == (10, 5)
    for date in range(10):
        known = ~np.isnan(prediction[date] + label[date])
        x, y = prediction[date, known], label[date, known]
        order, size = np.argsort(x), len(x) / 5
        quintile = np.floor(np.arange(len(x)) / size + 0.5 / size).astype(int)
        for column in (0, 4):
            members = order[quintile == column]
            expected = correlation(x[members], y[members]).statistic
            assert inside[date, column] == pytest.approx(expected, abs=1e-12)


def test_a_prediction_without_quantiles_has_no_quantile_ic() -> None:
    label = np.random.default_rng(0).normal(size=(1, 30))
    assert np.isnan(quantile_ic(np.zeros((1, 30)), label, 5, min_symbols=2)).all()


# ---- rolling


@pytest.mark.parametrize("min_dates", [1, 3, 7])
def test_a_rolling_mean_equals_pandas(min_dates: int) -> None:
    series = np.random.default_rng(6).normal(size=60)
    series[[0, 5, 6, 7, 20, 59]] = np.nan
    expected = pd.Series(series).rolling(7, min_periods=min_dates).mean()
    np.testing.assert_allclose(rolling_mean_ic(series, 7, min_dates), expected, atol=1e-14)


def test_a_window_longer_than_the_series_is_all_nan_and_later_dates_change_nothing() -> None:
    series = np.random.default_rng(7).normal(size=30)
    assert np.isnan(rolling_mean_ic(series, 31)).all()
    assert rolling_mean_ic([], 3).shape == (0,)
    np.testing.assert_array_equal(rolling_mean_ic(series, 5)[:20], rolling_mean_ic(series[:20], 5))


def test_more_dates_than_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="min_dates must be at most window = 3, got 4"):
        rolling_mean_ic([0.1], 3, 4)


# ---- decay


def test_decay_over_horizons_is_one_rank_ic_per_horizon() -> None:
    prediction, label, _ = panel(8)
    labels = np.stack([label, prediction + label, -label])
    decay = horizon_decay(prediction, labels, [1, 5, 10])
    for place in range(3):
        np.testing.assert_array_equal(decay.ic[place], rank_ic(prediction, labels[place]))
    np.testing.assert_allclose(decay.mean, np.nanmean(decay.ic, axis=1))
    assert decay.num_dates == (30, 30, 30)


def test_decay_over_delays_uses_old_predictions_and_new_labels() -> None:
    prediction, label, _ = panel(9)
    decay = delay_decay(prediction, label, [0, 1, 7, 40])
    np.testing.assert_array_equal(decay.ic[0], rank_ic(prediction, label))
    np.testing.assert_array_equal(decay.ic[2, 7:], rank_ic(prediction[:-7], label[7:]))
    assert np.isnan(decay.ic[2, :7]).all()
    assert np.isnan(decay.ic[3]).all()
    assert np.isnan(decay.mean[3])


def test_a_half_life_lies_on_the_line_between_two_steps() -> None:
    dates, symbols = 4000, 40
    generator = np.random.default_rng(10)
    news = generator.normal(size=(dates, symbols))
    label = news + generator.normal(size=news.shape)
    decay = delay_decay(news, label, [0, 1])  # nothing is left after one bar
    assert decay.half_life == pytest.approx(0.5, abs=0.02)
    assert np.isnan(delay_decay(-news, label, [0, 1]).half_life)
    assert np.isnan(delay_decay(news, label, [0]).half_life)


def test_autocorrelation_of_a_prediction_is_the_spearman_of_two_dates() -> None:
    prediction, _, _ = panel(11)
    value = prediction_autocorrelation(prediction, lag=2)
    assert np.isnan(value[:2]).all()
    for date in range(2, 30):
        known = ~np.isnan(prediction[date] + prediction[date - 2])
        expected = stats.spearmanr(prediction[date, known], prediction[date - 2, known]).statistic
        assert value[date] == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("steps", [[], [5, 1], [1, 1], [-1, 2], [1.5]])
def test_steps_that_do_not_ascend_are_refused(steps: list[Any]) -> None:
    with pytest.raises(ValueError, match="delays must"):
        delay_decay(np.zeros((3, 12)), np.zeros((3, 12)), steps)


# ---- in and out of sample


def test_degradation_retention_and_risk_by_hand() -> None:
    compared = compare_samples([0.10, float("nan"), 0.14], [0.02, 0.04, 0.03])
    assert compared.in_sample == pytest.approx(0.12)
    assert compared.out_of_sample == pytest.approx(0.03)
    assert compared.degradation == pytest.approx(0.09)
    assert compared.retention == pytest.approx(0.25)
    assert compared.overfitting_risk == "high"
    assert (compared.num_in_sample, compared.num_out_of_sample) == (2, 3)


@pytest.mark.parametrize(("lost", "risk"), [(0.0625, "low"), (0.0626, "high"), (-0.1, "low")])
def test_the_risk_is_high_only_above_the_threshold(lost: float, risk: str) -> None:
    assert compare_samples([0.25], [0.25 - lost], threshold=0.0625).overfitting_risk == risk


def test_a_degradation_of_noise_is_seldom_significant() -> None:
    generator = np.random.default_rng(12)
    t_stats = [
        compare_samples(generator.normal(size=300), generator.normal(size=200)).degradation_t_stat for _ in range(400)
    ]
    assert np.mean(np.abs(t_stats) > 1.96) < 0.10
    assert np.std(t_stats) == pytest.approx(1.0, abs=0.15)


def test_the_error_of_the_degradation_is_that_of_both_samples() -> None:
    inside, outside = np.random.default_rng(13).normal(size=(2, 100))
    compared = compare_samples(inside, outside, horizon=5)
    one, other = mean_test(inside, 5), mean_test(outside, 5)
    ratio = (inside.mean() - outside.mean()) / np.hypot(one.standard_error, other.standard_error)
    assert one.degrees == other.degrees
    squares = np.square([one.standard_error, other.standard_error])
    degrees = one.degrees * squares.sum() ** 2 / np.square(squares).sum()
    p_value = 2.0 * stats.t.sf(abs(ratio), degrees)
    assert compared.degradation_t_stat == pytest.approx(np.copysign(stats.norm.isf(p_value / 2.0), ratio))
    assert np.isnan(compare_samples(inside, outside[:4]).degradation_t_stat)


def test_a_sample_without_dates_has_an_unknown_risk() -> None:
    compared = compare_samples([float("nan")], [0.1, 0.2])
    assert np.isnan(compared.degradation)
    assert compared.overfitting_risk == "unknown"
    assert np.isnan(compare_samples([-0.1, -0.2], [0.1, 0.3]).retention)
