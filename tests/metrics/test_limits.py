"""Position limits hold all at once, at the nearest book, and neutral books stay neutral."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from factor_metrics import PositionLimits, apply_limits, limit_excess, neutralise

TIGHT = PositionLimits(max_weight=0.1, max_gross=1.0, min_net=-0.05, max_net=0.05)


def book(seed: int = 0, num_dates: int = 4, num_symbols: int = 20, scale: float = 0.3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    weights = generator.normal(0.0, scale, size=(num_dates, num_symbols))
    weights[generator.random(weights.shape) < 0.2] = 0.0
    return weights


def worst(weights: np.ndarray, limits: PositionLimits, groups: np.ndarray | None = None) -> float:
    return max(np.max(values) for values in limit_excess(weights, limits, groups=groups).values())


def test_a_cap_by_hand() -> None:
    limited = apply_limits([[0.5, -0.4, 0.05, 0.0]], PositionLimits(max_weight=0.2))
    np.testing.assert_allclose(limited, [[0.2, -0.2, 0.05, 0.0]])


def test_gross_and_net_by_hand() -> None:
    """Gross 1.2 -> 0.9 takes 0.1 from each of three; net 0.4 -> 0 then makes longs and shorts equal."""
    wanted = [[0.5, 0.3, -0.4]]
    np.testing.assert_allclose(apply_limits(wanted, PositionLimits(max_gross=0.9)), [[0.4, 0.2, -0.3]])
    neutral = PositionLimits(max_gross=0.9, min_net=0.0, max_net=0.0)
    np.testing.assert_allclose(apply_limits(wanted, neutral), [[0.325, 0.125, -0.45]])


def test_a_book_inside_every_limit_is_left_alone() -> None:
    weights = book(scale=0.001)
    np.testing.assert_array_equal(apply_limits(weights, TIGHT), weights)
    np.testing.assert_array_equal(apply_limits(weights * 100, PositionLimits()), weights * 100)


@given(
    st.integers(0, 10_000),
    st.floats(0.01, 1.0),
    st.floats(0.05, 3.0),
    st.floats(-0.5, 0.5),
    st.floats(0.0, 0.5),
    st.floats(0.01, 3.0),
)
@settings(max_examples=200, deadline=None)
def test_every_limit_holds_at_once(
    seed: int, max_weight: float, max_gross: float, min_net: float, width: float, scale: float
) -> None:
    limits = PositionLimits(
        max_weight=max_weight,
        max_gross=max_gross,
        min_net=min(min_net, 0.0),
        max_net=max(min_net, 0.0) + width,
    )
    wanted = book(seed, scale=scale)
    limited = apply_limits(wanted, limits)
    assert worst(limited, limits) <= 1e-12
    assert (limited * wanted >= 0.0).all()
    assert (limited[wanted == 0.0] == 0.0).all()


@pytest.mark.parametrize("seed", range(8))
def test_the_book_is_the_nearest_one(seed: int) -> None:
    """Against a general optimiser (SLSQP) over longs and shorts as separate variables."""
    generator = np.random.default_rng(seed)
    wanted = generator.normal(0.0, 0.4, size=8)
    limits = PositionLimits(
        max_weight=generator.uniform(0.1, 0.6),
        max_gross=generator.uniform(0.5, 2.0),
        min_net=-0.1,
        max_net=0.05,
    )
    side = np.sign(wanted)
    constraints = [
        {"type": "ineq", "fun": lambda size: limits.max_gross - size.sum()},
        {"type": "ineq", "fun": lambda size: limits.max_net - side @ size},
        {"type": "ineq", "fun": lambda size: side @ size - limits.min_net},
    ]
    reference = minimize(
        lambda size: np.square(size - np.abs(wanted)).sum(),
        np.zeros(8),
        jac=lambda size: 2.0 * (size - np.abs(wanted)),
        bounds=[(0.0, limits.max_weight)] * 8,
        constraints=constraints,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    found = apply_limits(wanted[None], limits)[0]
    np.testing.assert_allclose(found, side * reference.x, atol=2e-6)


def test_limits_applied_one_after_another_would_break_the_first() -> None:
    """Defect of a superseded system: balancing after the cap lifts weights above the cap again."""
    wanted = np.array([[0.5, 0.5, -0.2]])
    limits = PositionLimits(max_weight=0.3, min_net=0.0, max_net=0.0)
    capped = np.clip(wanted, -0.3, 0.3)
    balanced = np.where(capped < 0.0, capped * capped[capped > 0].sum() / -capped[capped < 0].sum(), capped)
    assert worst(balanced, limits) > 0.2
    limited = apply_limits(wanted, limits)
    assert worst(limited, limits) <= 1e-15
    np.testing.assert_allclose(limited, [[0.15, 0.15, -0.3]])


def test_a_net_target_is_reached_by_shifting() -> None:
    invested = PositionLimits(max_weight=0.3, min_net=1.0, max_net=1.0)
    limited = apply_limits([[0.5, 0.3, 0.1, 0.05]], invested)
    np.testing.assert_allclose(limited, [[0.3, 0.3, 0.225, 0.175]])


def test_a_net_target_out_of_reach_is_refused_with_its_date() -> None:
    limits = PositionLimits(max_weight=0.1, min_net=1.0, max_net=1.0)
    with pytest.raises(ValueError, match=r"no book at row 1 .* 2 long and 0 short symbol\(s\) reach 0 to 0.2"):
        apply_limits([[np.nan] * 3, [0.5, 0.5, 0.0]], limits)


@given(st.integers(0, 10_000), st.floats(0.02, 0.5), st.floats(0.1, 2.0), st.floats(0.05, 1.0))
@settings(max_examples=80, deadline=None)
def test_neutral_books_with_group_caps_hold_every_limit_at_once(
    seed: int, max_weight: float, max_gross: float, max_group: float
) -> None:
    wanted = book(seed, num_dates=2)
    generator = np.random.default_rng(seed)
    groups, exposures = generator.integers(0, 3, size=20), generator.normal(size=(2, 20, 2))
    limits = PositionLimits(max_weight=max_weight, max_gross=max_gross, min_net=0.0, max_net=0.0, max_group=max_group)
    limited = apply_limits(wanted, limits, groups=groups, exposures=exposures)
    assert worst(limited, limits, groups) <= 1e-10
    np.testing.assert_allclose(np.einsum("ds,dsk->dk", limited, exposures), 0.0, atol=1e-12)
    assert (limited * np.sign(wanted) >= -1e-9).all()
    assert (limited[wanted == 0.0] == 0.0).all()


@pytest.mark.parametrize("seed", range(8))
def test_the_neutral_book_is_the_nearest_one(seed: int) -> None:
    generator = np.random.default_rng(seed)
    wanted, exposures = generator.normal(0.0, 0.4, size=8), generator.normal(size=(8, 2))
    limits, groups = PositionLimits(max_weight=0.3, max_gross=1.2, max_group=0.7), np.arange(8) % 2
    side = np.sign(wanted)
    constraints = [
        {"type": "eq", "fun": lambda size: exposures.T @ (side * size)},
        {"type": "ineq", "fun": lambda size: limits.max_gross - size.sum()},
        {"type": "ineq", "fun": lambda size: 0.7 - size[::2].sum()},
        {"type": "ineq", "fun": lambda size: 0.7 - size[1::2].sum()},
    ]
    reference = minimize(
        lambda size: np.square(size - np.abs(wanted)).sum(),
        np.zeros(8),
        bounds=[(0.0, 0.3)] * 8,
        constraints=constraints,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    found = apply_limits(wanted[None], limits, groups=groups, exposures=exposures[None])[0]
    np.testing.assert_allclose(found, side * reference.x, atol=2e-6)


def test_a_date_without_a_decision_stays_without_one() -> None:
    limited = apply_limits([[np.nan, np.nan], [0.9, -0.9]], PositionLimits(max_gross=1.0))
    assert np.isnan(limited[0]).all()
    np.testing.assert_allclose(limited[1], [0.5, -0.5])
    assert math.isnan(limit_excess(limited, TIGHT)["max_gross"][0])


def test_excess_says_by_how_much() -> None:
    excess = limit_excess(
        [[0.5, -0.1, 0.3]], PositionLimits(max_weight=0.4, max_gross=1.0, max_group=0.6), groups=[0, 1, 0]
    )
    assert excess["max_weight"][0] == pytest.approx(0.1)
    assert excess["max_gross"][0] == pytest.approx(-0.1)
    assert excess["max_group"][0] == pytest.approx(0.2)
    assert excess["max_net"][0] == -math.inf


def test_residuals_have_no_exposure_and_equal_a_regression() -> None:
    generator = np.random.default_rng(0)
    values, exposures = generator.normal(size=(3, 30)), generator.normal(size=(3, 30, 2))
    values[0, 4], exposures[1, 5, 0] = np.nan, np.nan
    residual = neutralise(values, exposures)
    assert np.argwhere(np.isnan(residual)).tolist() == [[0, 4], [1, 5]]
    for date in range(3):
        known = ~np.isnan(residual[date])
        design = np.column_stack([exposures[date, known], np.ones(known.sum())])
        fit = design @ np.linalg.lstsq(design, values[date, known], rcond=None)[0]
        np.testing.assert_allclose(residual[date, known], values[date, known] - fit, atol=1e-13)
        np.testing.assert_allclose(design.T @ residual[date, known], 0.0, atol=1e-12)


def test_sectors_as_dummies_may_be_collinear_with_the_intercept() -> None:
    sectors = np.eye(3)[[0, 0, 1, 1, 2, 2]][None]
    residual = neutralise([[1.0, 3.0, 5.0, 9.0, 2.0, 2.0]], sectors)
    np.testing.assert_allclose(residual, [[-1.0, 1.0, -2.0, 2.0, 0.0, 0.0]], atol=1e-14)


def test_no_exposure_and_no_intercept_change_nothing() -> None:
    np.testing.assert_array_equal(neutralise([[1.0, 2.0]], np.zeros((1, 2, 1)), intercept=False), [[1.0, 2.0]])


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_weight": 0.0}, "max_weight must be above 0, got 0.0"),
        ({"max_gross": math.nan}, "max_gross must be above 0, got nan"),
        ({"min_net": 0.2, "max_net": 0.1}, "min_net must be at most max_net, got 0.2 and 0.1"),
    ],
)
def test_impossible_limits_are_refused(limits: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PositionLimits(**limits)


def test_impossible_books_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 date\(s\) are mixed, first at rows 1"):
        apply_limits([[0.1, 0.2], [np.nan, 0.2]], TIGHT)
    with pytest.raises(ValueError, match="max_group needs groups"):
        apply_limits([[0.1, 0.2]], PositionLimits(max_group=0.1))
    with pytest.raises(ValueError, match="groups must be integers of shape"):
        apply_limits([[0.1, 0.2]], PositionLimits(max_group=0.1), groups=[0.5, 1.0])
    with pytest.raises(ValueError, match="need net limits that allow 0"):
        apply_limits([[0.1, 0.2]], PositionLimits(min_net=0.1), groups=[0, 1])
    with pytest.raises(ValueError, match=r"exposures must be known where a weight is wanted; NaN at \(0, 1\)"):
        apply_limits([[0.1, 0.2]], TIGHT, exposures=[[[1.0], [np.nan]]])
    with pytest.raises(ValueError, match=r"exposures must have shape \(1, 2, num_exposures\)"):
        neutralise([[0.1, 0.2]], np.zeros((1, 3, 1)))


def test_steps_that_do_not_settle_are_an_error_and_not_a_book(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factor_metrics.portfolio.projection._MAX_STEPS", 1)
    exposures = np.random.default_rng(0).normal(size=(4, 20, 2))
    with pytest.raises(ValueError, match=r"limits and exposures leave an error of .* after 1 Newton steps"):
        apply_limits(book(), TIGHT, exposures=exposures)
