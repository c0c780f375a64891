"""Corrections for many looks and tests of the best model: against statsmodels and arch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import SPA
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from factor_metrics import SuperiorAbility, adjusted_p_values, reality_check, superior_predictive_ability

STATSMODELS = {"bonferroni": "bonferroni", "holm": "holm", "benjamini_hochberg": "fdr_bh"}

# Benjamini and Hochberg (1995), section 4.1: 15 end points of a thrombolysis trial, four rejected at 5 %.
PAPER = [
    0.0001,
    0.0004,
    0.0019,
    0.0095,
    0.0201,
    0.0278,
    0.0298,
    0.0344,
    0.0459,
    0.3240,
    0.4262,
    0.5719,
    0.6528,
]
PAPER += [0.7590, 1.0000]


def test_the_example_of_benjamini_and_hochberg() -> None:
    assert (adjusted_p_values(PAPER) <= 0.05).sum() == 4
    assert (adjusted_p_values(PAPER, "bonferroni") <= 0.05).sum() == 3
    assert (adjusted_p_values(PAPER, "holm") <= 0.05).sum() == 3


@given(
    st.lists(st.floats(0.0, 1.0) | st.sampled_from([0.01, 0.05]), min_size=1, max_size=30),
    st.sampled_from(list(STATSMODELS)),
)
@settings(max_examples=60, deadline=None)
def test_adjusted_p_values_equal_statsmodels(
    p_values: list[float], method: Literal["bonferroni", "holm", "benjamini_hochberg"]
) -> None:
    expected = multipletests(p_values, method=STATSMODELS[method])[1]
    np.testing.assert_allclose(adjusted_p_values(p_values, method), expected, rtol=1e-12, atol=1e-300)


def test_a_test_that_could_not_be_made_is_no_look() -> None:
    found = adjusted_p_values([0.01, np.nan, 0.02], "bonferroni")
    np.testing.assert_allclose(found, [0.02, np.nan, 0.04])
    assert adjusted_p_values([]).shape == (0,)


def test_impossible_p_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"p_values must lie in \[0, 1\], got 2 outside: -0.1 at 0, 1.5 at 2"):
        adjusted_p_values([-0.1, 0.5, 1.5])
    with pytest.raises(ValueError, match="method must be one of bonferroni, holm"):
        adjusted_p_values([0.1], "sidak")


def differences(seed: int, num_dates: int = 300, num_models: int = 15, spread: float = 0.15) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(num_dates, num_models)) + spread * generator.uniform(-1, 0.8, size=num_models)


def arch_p_values(values: np.ndarray, block_length: int) -> pd.Series:
    reference = SPA(np.zeros(len(values)), -values, block_size=block_length, reps=4000, bootstrap="stationary", seed=1)
    reference.compute()
    return reference.pvalues


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_reality_check_equals_arch(seed: int) -> None:
    """arch leaves the statistic in the units of the losses: its upper p-value is White's reality check."""
    values = differences(seed) * np.linspace(0.5, 2.0, 15)
    expected = arch_p_values(values, 6)["upper"]
    found = reality_check(values, num_bootstrap=4000, block_length=6, stretch=False)
    assert found.p_value == pytest.approx(expected, abs=0.035)
    assert found.p_lower == found.p_value == found.p_upper
    assert found.best == values.mean(axis=0).argmax()


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_superior_predictive_ability_equals_arch_on_studentised_differences(seed: int) -> None:
    values = differences(seed) * np.linspace(0.5, 2.0, 15)
    deviation = values - values.mean(axis=0)
    variance = np.square(deviation).mean(axis=0)
    for lag in range(1, 300):  # Politis and Romano's kernel by the plain sum
        kernel = (1 - lag / 300) * (5 / 6) ** lag + lag / 300 * (5 / 6) ** (300 - lag)
        variance += 2 * kernel * (deviation[lag:] * deviation[:-lag]).sum(axis=0) / 300
    expected = arch_p_values(values / np.sqrt(variance), 6)
    found = superior_predictive_ability(values, num_bootstrap=4000, block_length=6, stretch=False)
    assert found.statistic == pytest.approx(max((math.sqrt(300) * values.mean(axis=0) / np.sqrt(variance)).max(), 0))
    for name, mine in (("lower", found.p_lower), ("consistent", found.p_value), ("upper", found.p_upper)):
        assert mine == pytest.approx(expected[name], abs=0.035)
    assert found.p_lower <= found.p_value <= found.p_upper


def test_bad_models_weaken_the_reality_check_and_not_hansens_test() -> None:
    values = differences(4, num_models=3, spread=0.0)
    values[:, 0] += 0.2
    worse = np.column_stack([values, 10.0 * np.random.default_rng(1).normal(size=(300, 30)) - 20.0])
    assert superior_predictive_ability(worse).p_value < 0.01
    assert reality_check(worse).p_value > 0.5


def test_a_model_below_the_benchmark_has_p_one() -> None:
    values = differences(1, num_models=2) - 5.0
    found = superior_predictive_ability(values)
    assert (found.statistic, found.p_value) == (0.0, 1.0)


def test_the_same_arguments_give_the_same_p_values() -> None:
    values = differences(2)
    assert superior_predictive_ability(values, seed=4) == superior_predictive_ability(values, seed=4)


@pytest.mark.parametrize("test", [reality_check, superior_predictive_ability])
def test_impossible_differences_are_refused(test: Callable[..., SuperiorAbility]) -> None:
    with pytest.raises(ValueError, match=r"differences must hold no NaN .* got 1"):
        test([[0.1, np.nan], [0.1, 0.2], [0.3, 0.1], [0.3, 0.3]])
    with pytest.raises(ValueError, match="at least one model"):
        test(np.zeros((10, 0)))
    with pytest.raises(ValueError, match="at least two blocks = 20 dates, got 10"):
        test(differences(0, num_dates=10), block_length=10)


def test_a_constant_difference_has_no_studentised_statistic() -> None:
    values = differences(0, num_models=3)
    values[:, 1] = 0.1
    with pytest.raises(ValueError, match=r"differences must vary over dates; 1 column\(s\) do not, first 1"):
        superior_predictive_ability(values)
