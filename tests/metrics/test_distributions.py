"""The normal and Student's t against scipy and closed forms, far into the tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from factor_metrics.significance.distributions import normal_cdf, normal_quantile, student_t_quantile

DEGREES = [0.5, 1.0, 2.0, 3.0, 7.7, 30.0, 79.9, 80.1, 200.0, 1e3, 9.9e3, 1.1e4, 1e5, 1e6, 1e9]


def test_normal_cdf_equals_scipy_from_tail_to_tail() -> None:
    points = np.linspace(-37.0, 10.0, 5001)
    np.testing.assert_allclose([normal_cdf(x) for x in points], special.ndtr(points), rtol=1e-12)


def test_normal_quantile_equals_scipy_from_tail_to_tail() -> None:
    tails = 10.0 ** np.linspace(-300, -1, 1000)
    points = np.concatenate([tails, np.linspace(0.1, 0.9, 1000), 1.0 - tails[tails > 1e-16]])
    found = np.array([normal_quantile(p) for p in points])
    np.testing.assert_allclose(found, special.ndtri(points), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("degrees", DEGREES)
def test_student_t_quantile_equals_scipy(degrees: float) -> None:
    points = np.concatenate([10.0 ** np.linspace(-40, -1, 40), [0.2, 0.249, 0.251, 0.3, 0.4, 0.49, 0.75, 0.999]])
    found = np.array([student_t_quantile(float(p), degrees) for p in points])
    np.testing.assert_allclose(found, special.stdtrit(degrees, points), rtol=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-300, 1.0 - 1e-15))
def test_one_and_two_degrees_have_closed_forms(p: float) -> None:
    two = 2.0 * (p - 0.5) * math.sqrt(2.0 / (4.0 * p * (1.0 - p)))
    assert student_t_quantile(p, 2.0) == pytest.approx(two, rel=1e-12)
    tail = min(p, 1.0 - p)
    cauchy = 1.0 / math.tan(math.pi * tail) if tail < 0.25 else math.tan(math.pi * (0.5 - tail))
    assert abs(student_t_quantile(p, 1.0)) == pytest.approx(cauchy, rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-10, 0.5), st.floats(0.3, 1e7))
def test_the_quantile_is_odd_and_wider_than_the_normal(p: float, degrees: float) -> None:
    low = student_t_quantile(p, degrees)
    assert student_t_quantile(1.0 - p, degrees) == pytest.approx(-low, rel=1e-4, abs=1e-12)
    assert low <= normal_quantile(p) * (1.0 - 1e-12)


def test_the_ends() -> None:
    assert normal_quantile(0.0) == student_t_quantile(0.0, 5.0) == -math.inf
    assert normal_quantile(1.0) == student_t_quantile(1.0, 5.0) == math.inf
    assert normal_quantile(0.5) == student_t_quantile(0.5, 5.0) == 0.0
    assert student_t_quantile(1e-300, 0.1) == -math.inf


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="probability must be from 0 to 1"):
        normal_quantile(p)
    with pytest.raises(ValueError, match="probability must be from 0 to 1"):
        student_t_quantile(p, 3.0)


@pytest.mark.parametrize("degrees", [0.0, -1.0, math.nan])
def test_impossible_degrees_are_refused(degrees: float) -> None:
    with pytest.raises(ValueError, match="degrees must be above 0"):
        student_t_quantile(0.1, degrees)
