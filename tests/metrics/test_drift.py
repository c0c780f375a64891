"""Drift: against scipy, by hand, and as often significant as it says where nothing moved."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from factor_metrics import drift


def test_the_distance_is_that_of_scipy_and_its_p_value_the_asymptotic_one() -> None:
    generator = np.random.default_rng(0)
    reference, sample = generator.normal(size=700), generator.normal(0.1, 1.2, size=500)
    sample[:20] = reference[:20]  # ties
    found, expected = drift(reference, sample), stats.ks_2samp(reference, sample, method="asymp")
    assert found.distance == pytest.approx(expected.statistic, abs=1e-12)
    root = math.sqrt(700 * 500 / 1200)
    stephens = stats.kstwobign.sf(found.distance * (root + 0.12 + 0.11 / root))
    assert found.p_value == pytest.approx(stephens, rel=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.2)


def test_the_index_by_hand() -> None:
    """Bins of the reference hold a half each; of the sample a quarter and three quarters."""
    reference, sample = [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 4.0, 9.0, math.nan]
    expected = (0.25 - 0.5) * math.log(0.25 / 0.5) + (0.75 - 0.5) * math.log(0.75 / 0.5)
    assert drift(reference, sample, num_bins=2).psi == pytest.approx(expected, abs=1e-12)
    empty = (0.5 / 4 - 0.5) * math.log(0.25) + (1.0 - 0.5) * math.log(2.0)
    assert drift(reference, [5.0, 6.0, 7.0, 8.0], num_bins=2).psi == pytest.approx(empty, abs=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
def test_a_flag_that_is_raised_more_often_has_moved(share: float) -> None:
    """All quantiles of a flag that is raised on 5 % of rows are 0."""
    reference, sample = np.arange(200) < 200 * share, np.arange(200) < 100
    p, q = np.array([1.0 - share, max(share, 0.5 / 200)]), np.array([0.5, 0.5])
    found = drift(reference.astype(float), sample.astype(float)).psi
    assert found == pytest.approx(float(((q - p) * np.log(q / p)).sum()), abs=1e-12)


def test_what_has_not_moved_is_stable_and_what_has_is_not() -> None:
    generator = np.random.default_rng(1)
    p_values = []
    for _ in range(300):
        found = drift(generator.normal(size=400), generator.normal(size=300))
        assert found.psi < 0.25
        p_values.append(found.p_value)
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09
    moved = drift(generator.normal(size=4000), generator.normal(1.0, 1.0, size=3000))
    assert moved.psi > 0.25
    assert moved.p_value < 1e-12


def test_rows_that_move_together_are_worth_their_dates() -> None:
    """Each date has one level that all of its rows share: as independent rows nearly every pair seems to have moved."""
    generator, naive, honest = np.random.default_rng(2), [], []
    for _ in range(100):
        sides = [np.repeat(generator.normal(size=num), 50) for num in (60, 40)]
        naive.append(drift(*sides).p_value < 0.05)
        honest.append(drift(*sides, independent=(60, 40)).p_value < 0.05)
    assert np.mean(naive) > 0.9
    assert np.mean(honest) <= 0.1


def test_nothing_known_is_no_drift_and_constants_are_alike() -> None:
    assert math.isnan(drift([math.nan], [1.0]).psi)
    same = drift([2.0] * 10, [2.0] * 7)
    assert (same.psi, same.distance, same.p_value) == (pytest.approx(0.0, abs=1e-12), 0.0, 1.0)
