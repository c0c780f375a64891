"""rank_rows: the packed-key ranks against scipy's, on values made to break a packing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from factor_metrics import rank_rows

pytestmark = pytest.mark.numeric


def scipy_ranks(values: np.ndarray) -> np.ndarray:
    return stats.rankdata(values.astype(np.float64), axis=1, nan_policy="omit")


def random_rows(dtype: type[np.floating], shape: tuple[int, int] = (40, 50), missing: float = 0.1) -> np.ndarray:
    generator = np.random.default_rng(2)
    values = generator.normal(size=shape).astype(dtype)
    values[generator.random(shape) < missing] = np.nan
    return values


def test_ranks_by_hand() -> None:
    np.testing.assert_array_equal(rank_rows(np.array([[0.3, -0.1, np.nan, 0.3, 7.0]])), [[2.5, 1.0, np.nan, 2.5, 4.0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_ranks_equal_scipy_with_nan_left_out(dtype: type[np.floating], decimals: int) -> None:
    values = np.vstack([random_rows(dtype).round(decimals), np.full((1, 50), np.nan, dtype=dtype)])
    np.testing.assert_array_equal(rank_rows(values), scipy_ranks(values))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_distinct", [3, 20, 700])
def test_values_that_differ_in_their_last_bits_alone_are_told_apart(
    dtype: type[np.floating], num_distinct: int
) -> None:
    generator = np.random.default_rng(3)
    steps = generator.integers(0, num_distinct, size=(4, 700))
    values = (1.0 + steps * float(np.finfo(dtype).eps)).astype(dtype)
    np.testing.assert_array_equal(rank_rows(values), scipy_ranks(values))
    np.testing.assert_array_equal(rank_rows(-values), scipy_ranks(-values))


def test_minus_zero_ties_with_zero_and_the_smallest_numbers_keep_their_order() -> None:
    for dtype in (np.float32, np.float64):
        tiny = np.finfo(dtype).smallest_subnormal
        values = np.array([[0.0, -0.0, tiny, -tiny, np.finfo(dtype).max, np.finfo(dtype).min]], dtype=dtype)
        np.testing.assert_array_equal(rank_rows(values), [[3.5, 3.5, 5.0, 2.0, 6.0, 1.0]])


def test_float32_values_are_ranked_as_they_are() -> None:
    values = random_rows(np.float32)
    np.testing.assert_array_equal(rank_rows(values), rank_rows(values.astype(np.float64)))


@pytest.mark.parametrize("num_symbols", [1, 2, 17, 700])
def test_ranks_do_not_depend_on_the_other_rows(num_symbols: int) -> None:
    values = random_rows(np.float64, shape=(200, num_symbols)).round(1)
    one_by_one = np.vstack([rank_rows(row[None]) for row in values])
    np.testing.assert_array_equal(rank_rows(values), one_by_one)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_empty_rows_have_empty_ranks(shape: tuple[int, int]) -> None:
    assert rank_rows(np.empty(shape)).shape == shape


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
        elements=st.floats(allow_infinity=False, width=32),
    )
)
def test_any_finite_values_get_the_ranks_of_scipy(values: np.ndarray) -> None:
    np.testing.assert_array_equal(rank_rows(values), scipy_ranks(values))


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, (2, 60), elements=st.integers(0, 2**63 - 1).map(lambda bits: 1.0 + bits % 97 * 2**-52)))
def test_crowded_float64_values_get_the_ranks_of_scipy(values: np.ndarray) -> None:
    np.testing.assert_array_equal(rank_rows(values), scipy_ranks(values))


def test_a_row_that_is_too_long_for_keys_has_the_same_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(-4, 5, size=(3, 60)).astype(np.float64)
    values[0, ::7], values[1] = np.nan, generator.normal(size=60)
    values[2, :5] = -0.0
    expected = rank_rows(values)
    monkeypatch.setattr("factor_metrics.ordering.ranks.MOST_COLUMNS", 59)
    np.testing.assert_array_equal(rank_rows(values), expected)
    np.testing.assert_array_equal(rank_rows(np.full((1, 60), np.nan)), np.full((1, 60), np.nan))
