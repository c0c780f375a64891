"""Quantiles of columns in parts are those of numpy on the whole column, to the bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from factor_data import Workers, fit_normaliser
from factor_data.chunks.selection import ColumnParts, medians, moments, quantiles

LEVELS = np.arange(1, 16) / 16


def in_parts(values: np.ndarray, cuts: list[int]) -> ColumnParts:
    return ColumnParts(load=np.asarray, tasks=np.split(values, cuts))


def known(column: np.ndarray) -> np.ndarray:
    return column[~np.isnan(column)].astype(np.float64) + 0.0  # a zero is +0.0


@settings(max_examples=30, deadline=None)
@given(data=st.data(), kind=st.sampled_from([np.float32, np.float64]))
def test_quantiles_and_medians_are_numpys_for_any_cut(data: st.DataObject, kind: type) -> None:
    width = 32 if kind is np.float32 else 64
    number = st.floats(-(2.0**100), 2.0**100, width=width) | st.sampled_from([0.0, -0.0, 1.0, np.nan])
    shape = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 3)))
    values = data.draw(hnp.arrays(kind, shape, elements=number))
    parts = in_parts(values, sorted(data.draw(st.sets(st.integers(0, len(values)), max_size=4))))
    found, middle = quantiles(parts, LEVELS), medians(parts)
    for column, (quantile, median) in enumerate(zip(found, middle, strict=True)):
        numbers = known(values[:, column])
        if len(numbers):
            assert quantile.tobytes() == np.quantile(numbers, LEVELS).tobytes()
            assert median == np.median(numbers)
        else:
            assert len(quantile) == 0
            assert median is None


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_many_levels_of_many_values_are_numpys(kind: type) -> None:
    generator = np.random.default_rng(0)
    values = (generator.standard_normal((40_000, 3)) * [1.0, 1e-20, 1e20]).astype(kind)
    values[:, 1] = np.round(values[:, 1], 21)  # ties
    levels = np.arange(1, 255) / 255
    with ThreadPoolExecutor(3) as executor:
        tasks = np.array_split(values, 11)
        workers = Workers(max_bytes=1, count=3, executor=executor)
        found = quantiles(ColumnParts(load=np.asarray, tasks=tasks, workers=workers), levels)
    for column in range(3):
        expected = np.quantile(values[:, column].astype(np.float64), levels)
        np.testing.assert_array_equal(found[column], expected)


@pytest.mark.parametrize("cuts", [[], [1], [7, 7, 500], list(range(0, 1000, 9))])
def test_mean_and_standard_deviation_do_not_depend_on_the_parts(cuts: list[int]) -> None:
    values = np.random.default_rng(1).standard_normal((1000, 2))
    values[::3, 0] = np.nan
    whole = np.hstack([values, np.full((1000, 1), 0.1), np.full((1000, 1), np.nan)])
    found = moments(in_parts(whole, cuts))
    assert found == moments(ColumnParts.of(whole))
    np.testing.assert_allclose([mean for mean, _ in found[:2]], np.nanmean(values, axis=0), rtol=1e-12)
    np.testing.assert_allclose([std for _, std in found[:2]], np.nanstd(values, axis=0), rtol=1e-12)
    assert found[2:] == [(0.1, 0.0), (0.0, 0.0)]


def test_a_normaliser_fitted_on_training_rows_has_their_median_and_mad() -> None:
    values = np.random.default_rng(2).standard_normal((500, 2)).astype(np.float32)
    values[::7, 1] = np.nan
    train = np.arange(500) < 300
    fitted = fit_normaliser(values, train, ["a", "b"])
    for column in range(2):
        numbers = known(values[train, column])
        center = np.median(numbers)
        assert fitted.center[column] == center
        assert fitted.scale[column] == 1.4826 * np.median(np.abs(numbers - center))
