"""summarize, Newey-West and the block bootstrap against statsmodels, brute force and known coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from factor_metrics import bootstrap_interval, format_interval, mean_test, newey_west_t, paired_difference, summarize
from factor_metrics.significance.bootstrap import bootstrap_block_length

pytestmark = pytest.mark.numeric


def overlapping(seed: int, num_dates: int, horizon: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=num_dates + horizon - 1)
    return np.convolve(noise, np.ones(horizon) / horizon, "valid")


def test_an_interval_that_is_withheld_is_said_in_words() -> None:
    assert format_interval(0.01234, -0.5) == "[+0.0123, -0.5000]"
    assert format_interval(0.01234, 0.5, 2) == "[+0.01, +0.50]"
    assert format_interval(math.nan, math.nan) == format_interval(None, None) == "(no interval)"


def test_summary_by_hand() -> None:
    summary = summarize([0.1, np.nan, 0.3, -0.1, 0.1])
    assert summary.num_dates == 4
    assert summary.mean == pytest.approx(0.1)
    assert summary.std == pytest.approx(math.sqrt(0.08 / 3))
    assert summary.icir == pytest.approx(0.1 / math.sqrt(0.08 / 3))
    assert summary.hit_rate == 0.75


@pytest.mark.parametrize("lag", [0, 4, 19])
@pytest.mark.parametrize("num_dates", [40, 250])
def test_the_newey_west_error_equals_statsmodels_hac(lag: int, num_dates: int) -> None:
    series = overlapping(lag, num_dates, 5) + 0.1
    reference = sm.OLS(series, np.ones(num_dates)).fit(cov_type="HAC", cov_kwds={"maxlags": lag})
    assert newey_west_t(series, lag=lag).standard_error == pytest.approx(reference.bse[0], rel=1e-10)


def test_nan_dates_change_nothing_wherever_they_are() -> None:
    series = overlapping(3, 60, 1)
    with_gaps = np.insert(series, [0, 10, 10, 60], np.nan)
    assert summarize(with_gaps) == summarize(series)


@pytest.mark.parametrize("series", [[], [np.nan, np.nan]])
def test_no_date_gives_nan_everywhere(series: ArrayLike) -> None:
    summary = summarize(series)
    assert summary.num_dates == 0
    numbers = {name: value for name, value in summary.to_dict().items() if name not in ("num_dates", "undefined")}
    assert all(math.isnan(value) for value in numbers.values())
    assert summary.undefined == "no date is known"


def test_one_date_has_a_mean_and_nothing_else() -> None:
    summary = summarize([0.2])
    assert (summary.mean, summary.hit_rate, summary.num_dates) == (0.2, 1.0, 1)
    for value in (
        summary.std,
        summary.icir,
        summary.t_stat,
        summary.p_value,
        summary.ci_low,
        summary.ci_high,
    ):
        assert math.isnan(value)


def test_a_constant_series_has_no_t_and_an_interval_of_no_width() -> None:
    summary = summarize(np.full(50, 0.1))
    assert math.isnan(summary.t_stat)
    assert math.isnan(summary.icir)
    assert summary.std == 0.0
    assert (summary.ci_low, summary.ci_high) == (0.1, 0.1)


def test_same_seed_same_interval_other_seed_other_interval() -> None:
    series = overlapping(1, 200, 1)
    assert bootstrap_interval(series, seed=3) == bootstrap_interval(series, seed=3)
    assert bootstrap_interval(series, seed=3) != bootstrap_interval(series, seed=4)


@pytest.mark.parametrize(("num_dates", "horizon", "length"), [(1000, 1, 10), (27, 1, 3), (500, 5, 15), (100, 20, 50)])
def test_block_length_is_the_cube_root_or_three_horizons(num_dates: int, horizon: int, length: int) -> None:
    assert bootstrap_block_length(num_dates, horizon) == length


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 5000), st.integers(1, 60))
def test_a_block_is_never_shorter_than_the_horizon(num_dates: int, horizon: int) -> None:
    assert bootstrap_block_length(num_dates, horizon) >= horizon


def test_fewer_dates_than_five_horizons_have_no_interval() -> None:
    assert all(math.isnan(end) for end in bootstrap_interval(overlapping(1, 99, 20), horizon=20))
    assert not any(math.isnan(end) for end in bootstrap_interval(overlapping(1, 100, 20), horizon=20))
    given_length = bootstrap_interval(overlapping(1, 40, 20), horizon=20, block_length=20)
    assert not any(math.isnan(end) for end in given_length)


@pytest.mark.parametrize("num_dates", [120, 499])
def test_fewer_dates_than_25_horizons_have_an_interval_no_shorter_than_that_of_the_test(num_dates: int) -> None:
    longer = 0
    for seed in range(20):
        values = overlapping(seed, num_dates, 20)
        low, high = bootstrap_interval(values, 20, 0.9)
        least = mean_test(values, 20).interval(0.9)
        assert (math.isnan(low) and math.isnan(least[0])) or (low <= least[0] and high >= least[1])
        longer += low == least[0] or high == least[1]
    assert longer > 5


@pytest.mark.parametrize("num_dates", [50, 53])
def test_resampled_means_have_the_exact_variance_of_circular_blocks(num_dates: int) -> None:
    """The variance of a sum of blocks is known in closed form: brute force over all starts, no randomness."""
    from factor_metrics.significance.bootstrap import _circular_sums_drawn

    series = overlapping(2, num_dates, 3)
    series -= series.mean()
    length = 7
    num_whole, rest = divmod(num_dates, length)
    wrapped = np.concatenate([series, series])
    block_sums = {size: np.array([wrapped[i : i + size].sum() for i in range(num_dates)]) for size in (length, rest)}
    variance = num_whole * block_sums[length].var() + (block_sums[rest].var() if rest else 0.0)
    draws = _circular_sums_drawn(series, length, 40_000, seed=0)
    assert draws.mean() == pytest.approx(0.0, abs=4 * math.sqrt(variance / 40_000))
    assert draws.var() == pytest.approx(variance, rel=0.03)


def test_wide_and_narrow_levels_are_nested() -> None:
    series = overlapping(5, 150, 5)
    low_99, high_99 = bootstrap_interval(series, 5, confidence=0.99)
    low_90, high_90 = bootstrap_interval(series, 5, confidence=0.90)
    assert low_99 < low_90 < series.mean() < high_90 < high_99


@pytest.mark.parametrize(("horizon", "num_dates"), [(1, 250), (5, 250), (20, 500)])
def test_about_95_percent_of_intervals_cover_a_true_zero(horizon: int, num_dates: int) -> None:
    covered = 0
    for seed in range(1000):
        low, high = bootstrap_interval(overlapping(seed, num_dates, horizon), horizon, num_bootstrap=400, seed=seed)
        covered += low <= 0.0 <= high
    assert 0.93 <= covered / 1000 <= 0.97


def test_paired_difference_is_the_summary_on_common_dates() -> None:
    first, second = overlapping(1, 80, 1), overlapping(2, 80, 1)
    first[:5], second[-5:] = np.nan, np.nan
    assert paired_difference(first, second) == summarize((first - second)[5:-5])


def test_paired_difference_sees_what_two_intervals_cannot() -> None:
    common = np.random.default_rng(0).normal(0.0, 0.2, size=300)
    better = common + 0.02 + np.random.default_rng(1).normal(0.0, 0.01, size=300)
    assert summarize(better).ci_low < summarize(common).mean
    assert paired_difference(better, common).ci_low > 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"confidence": 1.0}, "confidence must lie strictly between 0 and 1, got 1.0"),
        ({"num_bootstrap": 0}, "num_bootstrap must be at least 1, got 0"),
        ({"horizon": 1.5}, "horizon must be an integer, got 1.5"),
    ],
)
def test_impossible_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        summarize([0.1, 0.2], **options)


def test_two_series_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="ic_a and ic_b must have the same shape"):
        paired_difference([0.1], [0.1, 0.2])
