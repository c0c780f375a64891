"""Per-date arithmetic: ranks, z-scores, winsorising and neutralisation against scipy, numpy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from scipy.stats.mstats import winsorize

from factor_data import cross_sectional_rank, cross_sectional_zscore, neutralise, winsorise
from factor_data.fit.ranks import group_ranks

pytestmark = pytest.mark.numeric


def rows(seed: int, size: int, num_dates: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Values with ties, signed zeros and gaps; rows in no order, dates of very different sizes."""
    generator = np.random.default_rng(seed)
    values = (generator.integers(-4, 5, size) * generator.choice([1.0, 0.1, -0.0, 1e-30], size)).astype(dtype)
    values[generator.random(size) < 0.15] = np.nan
    return values, (num_dates * generator.random(size) ** 3).astype(np.int32)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 9999),
    size=st.integers(0, 200),
    num_dates=st.integers(1, 40),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_ranks_are_those_of_scipy_date_by_date(seed: int, size: int, num_dates: int, dtype: type) -> None:
    values, dates = rows(seed, size, num_dates, dtype)
    ranks, counts = group_ranks(values, dates)
    for date in np.unique(dates):
        own = dates == date
        known = own & ~np.isnan(values)
        np.testing.assert_array_equal(ranks[known], rankdata(values[known]))
        assert (counts[known] == known.sum()).all()
        assert np.isnan(ranks[own & ~known]).all()
        assert (counts[own & ~known] == 0).all()


def test_float64_values_that_differ_in_the_last_bit_are_not_tied() -> None:
    values = np.array([1.0, np.nextafter(1.0, 2.0), 1.0])
    assert group_ranks(values, np.zeros(3, dtype=int))[0].tolist() == [1.5, 3.0, 1.5]


def test_group_codes_may_be_any_integers() -> None:
    ranks, _ = group_ranks(np.array([3.0, 1.0, 2.0]), np.array([-5, 10**12, -5]))
    assert ranks.tolist() == [2.0, 1.0, 1.0]


def test_blocks_of_groups_do_not_change_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    values, dates = rows(1, 300, 30)
    expected = group_ranks(values, dates)[0]
    monkeypatch.setattr("factor_data.fit.ranks.RANK_BLOCK", 7)
    np.testing.assert_array_equal(group_ranks(values, dates)[0], expected)


def test_rank_hand_case() -> None:
    ranks = cross_sectional_rank(np.array([5.0, 1.0, 3.0, np.nan, 7.0]), np.array([0, 0, 0, 0, 1]))
    np.testing.assert_array_equal(ranks, [1.0, -1.0, 0.0, np.nan, 0.0])


def test_zscore_has_mean_0_and_deviation_1_on_each_date_and_none_on_constant_ones() -> None:
    values = np.array([1.0, 2.0, 4.0, np.nan, 0.1, 0.1, 0.1, 9.0])
    dates = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    z = cross_sectional_zscore(values, dates)
    assert z[:3].mean() == pytest.approx(0.0, abs=1e-15)
    assert z[:3].std() == pytest.approx(1.0)
    assert np.isnan(z[3:]).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999))
def test_winsorised_values_are_numpys_clipped_at_quantiles_of_the_date(seed: int) -> None:
    values, dates = rows(seed, 120, 4)
    result = winsorise(values, dates, 0.1, 0.8)
    for date in np.unique(dates):
        own = values[dates == date]
        expected = np.clip(own, *np.nanquantile(own, [0.1, 0.8])) if not np.isnan(own).all() else own
        np.testing.assert_array_equal(result[dates == date], expected)
    with pytest.raises(ValueError, match="0 <= lower < upper <= 1"):
        winsorise(values, dates, 0.9, 0.1)


def test_winsorise_agrees_with_scipy_where_the_cuts_are_whole_values() -> None:
    values = np.random.default_rng(0).normal(size=21)
    expected = winsorize(values, limits=(0.1, 0.1))
    np.testing.assert_allclose(winsorise(values, np.zeros(21, dtype=int), 0.1, 0.9), expected)


@pytest.mark.parametrize("with_groups", [False, True])
@pytest.mark.parametrize("num_exposures", [0, 1, 3])
def test_neutralised_values_are_the_residuals_of_statsmodels(with_groups: bool, num_exposures: int) -> None:
    generator = np.random.default_rng(2)
    size = 200
    dates, groups = generator.integers(0, 3, size), generator.integers(0, 4, size)
    exposures = generator.normal(size=(size, num_exposures)) * 10.0 ** np.arange(num_exposures)
    values = generator.normal(size=size) + groups + exposures.sum(axis=1)
    values[generator.random(size) < 0.1] = np.nan
    if num_exposures:
        exposures[5, 0] = np.nan
    result = neutralise(values, dates, groups if with_groups else None, exposures if num_exposures else None)
    for date in range(3):
        known = (dates == date) & ~np.isnan(values) & ~np.isnan(exposures).any(axis=1)
        dummies = (groups[known, None] == np.arange(4)) if with_groups else np.ones((known.sum(), 1))
        design = np.hstack([dummies.astype(float), exposures[known]])
        np.testing.assert_allclose(result[known], sm.OLS(values[known], design).fit().resid, atol=1e-10)
        assert np.isnan(result[(dates == date) & ~known]).all()


def test_neutralised_values_carry_no_exposure_even_a_collinear_one() -> None:
    generator = np.random.default_rng(3)
    size_factor = generator.normal(size=50)
    values = 2.0 * size_factor + generator.normal(size=50)
    dates = np.zeros(50, dtype=int)
    one = neutralise(values, dates, exposures=size_factor)
    twice = neutralise(values, dates, exposures=np.column_stack([size_factor, 3.0 * size_factor]))
    assert abs(one @ size_factor) < 1e-10
    np.testing.assert_allclose(one, twice, atol=1e-10)


def test_a_date_with_too_few_rows_to_fit_is_missing() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 7.0])
    dates = np.array([0, 0, 1, 1, 1, 1])
    result = neutralise(values, dates, exposures=np.array([1.0, 2.0, 1.0, 2.0, 3.0, 5.0]))
    assert np.isnan(result[:2]).all()
    np.testing.assert_allclose(result[2:], 0.0, atol=0.2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), factor=st.floats(0.01, 100.0), shift=st.floats(-5.0, 5.0))
def test_ranks_and_zscores_do_not_depend_on_scale_or_row_order(seed: int, factor: float, shift: float) -> None:
    values, dates = np.random.default_rng(seed).normal(size=80), rows(seed, 80, 5)[1]
    moved = np.sort(values)[np.argsort(np.argsort(values))] * factor + shift
    np.testing.assert_array_equal(cross_sectional_rank(moved, dates), cross_sectional_rank(values, dates))
    z = cross_sectional_zscore(values, dates)
    np.testing.assert_allclose(cross_sectional_zscore(moved, dates), z, rtol=1e-6, atol=1e-6)
    order = np.random.default_rng(seed).permutation(80)
    np.testing.assert_allclose(cross_sectional_zscore(values[order], dates[order]), z[order], atol=1e-12)
