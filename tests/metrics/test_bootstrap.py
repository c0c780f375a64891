"""Ways of drawing blocks and the block length: against arch, closed forms and brute force."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from arch.bootstrap import optimal_block_length as arch_block_length
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from factor_metrics import bootstrap_interval, optimal_block_length
from factor_metrics.significance.bootstrap import _drawn_counts, resampled_means

METHODS = ("circular", "moving", "stationary")


def autoregressive(seed: int, num_dates: int, coefficient: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=num_dates)
    series = np.empty(num_dates)
    series[0] = noise[0]
    for date in range(1, num_dates):
        series[date] = coefficient * series[date - 1] + noise[date]
    return series


def test_block_length_equals_arch_but_for_the_few_series_on_the_edge_of_its_rule() -> None:
    """arch scales its autocorrelations with one date less: a lag right at the bound may fall to the other side."""
    equal = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        series = autoregressive(seed, int(generator.integers(40, 1500)), generator.uniform(-0.3, 0.9))
        equal += np.allclose(optimal_block_length(series), arch_block_length(series).values[0], rtol=1e-9)
    assert equal >= 190


def test_more_dependence_asks_for_longer_blocks() -> None:
    lengths = [optimal_block_length(autoregressive(1, 2000, c)).circular for c in (0.0, 0.5, 0.9)]
    assert lengths == sorted(lengths)
    assert lengths[2] > 5.0 * lengths[0]


@pytest.mark.parametrize("series", [np.zeros(100), np.arange(19.0), [np.nan] * 50])
def test_too_little_to_choose_a_block_length_gives_nan(series: ArrayLike) -> None:
    assert all(math.isnan(length) for length in optimal_block_length(series))


@pytest.mark.parametrize("method", range(3))
def test_every_draw_has_all_dates_of_the_series(method: int) -> None:
    counts = _drawn_counts(np.random.default_rng(0), 200, 37, 5, method)
    assert (counts.sum(axis=1) == 37).all()
    if method != 1:
        assert counts.mean() == pytest.approx(1.0)
        np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.5)


@pytest.mark.parametrize("length", [1, 4, 12])
def test_stationary_means_have_the_variance_of_politis_and_romano(length: int) -> None:
    """Their lemma 1 in closed form: (1 / T) sum of kernel times autocovariance, no randomness."""
    num_dates = 60
    series = autoregressive(3, num_dates, 0.6)
    series -= series.mean()
    covariance = np.array([series[k:] @ series[: num_dates - k] for k in range(num_dates)]) / num_dates
    lags, keep = np.arange(1, num_dates), 1.0 - 1.0 / length
    kernel = (1 - lags / num_dates) * keep**lags + lags / num_dates * keep ** (num_dates - lags)
    variance = (covariance[0] + 2.0 * kernel @ covariance[1:]) / num_dates
    draws = resampled_means(series[:, None], length, 40_000, 0, "stationary")[:, 0]
    assert draws.var() == pytest.approx(variance, rel=0.04)
    assert draws.mean() == pytest.approx(0.0, abs=5 * math.sqrt(variance / 40_000))


@pytest.mark.parametrize("num_dates", [48, 50])
def test_moving_blocks_have_the_exact_variance_of_their_sums(num_dates: int) -> None:
    series, length = autoregressive(5, num_dates, 0.5), 6
    whole, rest = divmod(num_dates, length)
    starts = range(num_dates - length + 1)
    variance = whole * np.var([series[i : i + length].sum() for i in starts])
    variance += np.var([series[i : i + rest].sum() for i in starts]) if rest else 0.0
    draws = resampled_means(series[:, None], length, 40_000, 0, "moving")[:, 0] * num_dates
    assert draws.var() == pytest.approx(variance, rel=0.04)


def test_series_are_resampled_together() -> None:
    first = autoregressive(1, 80, 0.3)
    draws = resampled_means(np.column_stack([first, 2.0 * first + 1.0]), 5, 50, 0)
    np.testing.assert_allclose(draws[:, 1], 2.0 * draws[:, 0] + 1.0)


def test_memory_is_bounded_without_changing_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    series = autoregressive(1, 80, 0.3)[:, None]
    whole = resampled_means(series, 5, 50, 0)
    monkeypatch.setattr("factor_metrics.significance.bootstrap._DRAWN_AT_ONCE", 80 * 7)
    np.testing.assert_allclose(resampled_means(series, 5, 50, 0), whole, rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_agree_on_a_long_series(method: Literal["circular", "moving", "stationary"]) -> None:
    series = 0.02 + autoregressive(1, 3000, 0.5)
    low, high = bootstrap_interval(series, seed=1, method=method, block_length=30)
    half_width = 1.96 * 2.0 / math.sqrt(3000)  # long-run standard deviation 1 / (1 - 0.5)
    assert (high - low) / 2.0 == pytest.approx(half_width, rel=0.15)
    assert low < series.mean() < high
    assert bootstrap_interval(series, seed=1, method=method, block_length=30) == (low, high)


@given(st.integers(2, 200), st.integers(1, 30), st.sampled_from(METHODS), st.sampled_from([None, "automatic"]))
@settings(max_examples=100, deadline=None)
def test_an_interval_holds_the_mean_or_says_that_it_cannot_be_given(
    num_dates: int,
    horizon: int,
    method: Literal["circular", "moving", "stationary"],
    block_length: Literal["automatic"] | None,
) -> None:
    series = autoregressive(num_dates, num_dates, 0.4)
    low, high = bootstrap_interval(series, horizon, 0.95, 200, 0, method, block_length)
    if num_dates < 2 * horizon:
        assert math.isnan(low)
    elif not math.isnan(low):
        assert low <= series.mean() <= high


def test_fewer_than_two_given_blocks_have_no_interval() -> None:
    series = autoregressive(0, 59, 0.0)
    assert math.isnan(bootstrap_interval(series, block_length=30)[0])
    assert math.isfinite(bootstrap_interval(series, block_length=29)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "iid"}, "method must be one of circular, moving, stationary, got 'iid'"),
        ({"block_length": 3, "horizon": 5}, "block_length must be at least 5, got 3"),
        ({"block_length": "long"}, "block_length must be an integer, got 'long'"),
    ],
)
def test_impossible_blocks_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(np.arange(50.0), **options)


def test_a_block_length_of_numpy_is_a_given_one() -> None:
    series = np.random.default_rng(0).standard_normal(60)
    plain, of_numpy = (
        bootstrap_interval(series, horizon=10, block_length=length, num_bootstrap=50) for length in (12, np.int64(12))
    )
    assert plain == of_numpy
