"""Permutation test of the mean IC: exact on a tiny case, closed-form spread, symbols never leave their date."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from scipy import stats

from factor_metrics import ic, permutation_test, rank_ic


def panel(
    seed: int = 0, num_dates: int = 50, num_symbols: int = 30, strength: float = 0.0, missing: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    prediction, noise = generator.normal(size=(2, num_dates, num_symbols))
    prediction[generator.random(prediction.shape) < missing] = np.nan
    return prediction, strength * np.nan_to_num(prediction) + noise


@pytest.mark.parametrize(("correlation", "function"), [("spearman", rank_ic), ("pearson", ic)])
def test_the_statistic_is_the_mean_ic(
    correlation: Literal["spearman", "pearson"], function: Callable[..., np.ndarray]
) -> None:
    prediction, label = panel(missing=0.1)
    prediction[3, :25] = np.nan  # too few symbols
    prediction[4] = 1.0  # constant
    result = permutation_test(prediction, label, 10, correlation=correlation)
    assert result.mean_ic == pytest.approx(np.nanmean(function(prediction, label)), abs=1e-14)
    assert result.num_dates == 48


def test_p_equals_the_enumeration_of_all_permutations() -> None:
    prediction, label = [[1.0, 2.0, 3.0, 4.0, 5.0]], [[1.0, 3.0, 2.0, 5.0, 4.0]]
    observed = stats.spearmanr(prediction[0], label[0])[0]
    every = [stats.spearmanr(order, label[0])[0] for order in itertools.permutations(prediction[0])]
    for alternative, exact in (
        ("greater", np.mean(np.array(every) >= observed - 1e-12)),
        ("two-sided", np.mean(np.abs(every) >= observed - 1e-12)),
    ):
        result = permutation_test(prediction, label, 20_000, alternative=alternative, min_symbols=5)
        assert result.p_value == pytest.approx(exact, abs=0.01)


def test_the_spread_under_permutation_is_known_in_closed_form() -> None:
    """The correlation of n permuted values has variance 1 / (n - 1), whatever the values."""
    prediction, label = panel(missing=0.2)
    counts = (~np.isnan(prediction)).sum(axis=1)
    expected = math.sqrt((1.0 / (counts - 1.0)).sum()) / len(counts)
    for correlation in ("spearman", "pearson"):
        result = permutation_test(prediction, label**3, 10_000, correlation=correlation)
        assert result.null_std == pytest.approx(expected, rel=0.03)


def test_a_signal_is_found_and_p_is_never_zero() -> None:
    result = permutation_test(*panel(strength=0.5), 999)
    assert result.p_value == 1.0 / 1000.0
    assert permutation_test(*panel(strength=-0.5), 999, alternative="greater").p_value > 0.99


def test_what_a_date_shares_is_no_signal() -> None:
    """Market-wide moves differ between dates only: they move no symbol within its date."""
    prediction, label = panel(1)
    market = np.random.default_rng(2).normal(size=(50, 1)) * 100.0
    plain = permutation_test(prediction, label, 200)
    moved = permutation_test(prediction + market, label + market, 200)
    assert moved.p_value == plain.p_value


def test_dates_permuted_together_keep_the_luck_of_a_persistent_prediction() -> None:
    generator = np.random.default_rng(3)
    prediction = np.repeat(generator.normal(size=(1, 30)), 100, axis=0)
    label = np.repeat(generator.normal(size=(10, 30)), 10, axis=0)  # the same label for ten dates
    apart = permutation_test(prediction, label, 2000).null_std
    together = permutation_test(prediction, label, 2000, num_dates_together=10).null_std
    assert apart == pytest.approx(1.0 / math.sqrt(29 * 100), rel=0.05)
    assert together == pytest.approx(1.0 / math.sqrt(29 * 10), rel=0.05)


def test_symbols_with_gaps_stay_in_place_when_dates_go_together() -> None:
    prediction, label = panel(num_dates=2, num_symbols=12)
    prediction[0, 3] = np.nan
    result = permutation_test(prediction, label, 50, num_dates_together=2)
    assert result.mean_ic == pytest.approx(rank_ic(prediction, label).mean())
    prediction[0, ::2], prediction[1, 1::2] = np.nan, np.nan  # nobody is there on both dates
    alone = permutation_test(prediction, label, 50, num_dates_together=2, min_symbols=5)
    assert alone.null_std == pytest.approx(0.0, abs=1e-15)
    assert alone.p_value == 1.0


def test_the_same_seed_gives_the_same_p() -> None:
    data = panel()
    assert permutation_test(*data, 100, seed=5) == permutation_test(*data, 100, seed=5)


def test_no_usable_date_gives_nan() -> None:
    result = permutation_test(np.full((3, 20), np.nan), np.zeros((3, 20)), 10)
    assert math.isnan(result.p_value)
    assert result.num_dates == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_permutations": 0}, "num_permutations must be at least 1"),
        ({"correlation": "kendall"}, "correlation must be one of spearman, pearson, got 'kendall'"),
        ({"alternative": "less"}, "alternative must be one of two-sided, greater, got 'less'"),
        ({"num_dates_together": 0}, "num_dates_together must be at least 1"),
    ],
)
def test_impossible_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        permutation_test(*panel(), **options)
