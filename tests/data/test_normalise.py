"""Normalisers and tokens: against sklearn and scipy, fitted on training rows only, exact round trips."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation, rankdata

from factor_data import Normaliser, QuantileTokenizer, fit_normaliser

NAMES = ("a", "b", "c")


@pytest.fixture
def values() -> np.ndarray:
    generator = np.random.default_rng(0)
    values = generator.standard_t(3, (300, 3)).astype(np.float32)
    values[generator.random((300, 3)) < 0.1] = np.nan
    return values


TRAIN = np.arange(300) < 200
DATES = np.repeat(np.arange(30), 10)


def test_robust_zscore_uses_the_median_and_mad_of_training_rows(values: np.ndarray) -> None:
    result = fit_normaliser(values, TRAIN, NAMES).transform(values, DATES)
    for column in range(3):
        known = values[TRAIN, column].astype(float)
        center = np.nanmedian(known)
        scale = median_abs_deviation(known, scale="normal", nan_policy="omit")
        expected = np.clip((values[:, column] - center) / scale, -3, 3)
        np.testing.assert_allclose(result[:, column], expected, rtol=1e-4, atol=1e-5)
    assert result.dtype == np.float32


def test_rank_kind_looks_at_the_date_only(values: np.ndarray) -> None:
    result = fit_normaliser(values, TRAIN, NAMES, kind="rank").transform(values, DATES)
    for date in range(30):
        for column in range(3):
            x = values[date * 10 : date * 10 + 10, column]
            ranks = rankdata(x[~np.isnan(x)])
            expected = 2 * (ranks - 1) / (len(ranks) - 1) - 1
            np.testing.assert_allclose(
                result[date * 10 : date * 10 + 10, column][~np.isnan(x)], expected, atol=1e-6
            )


@pytest.mark.parametrize("kind", ["robust_zscore", "rank"])
def test_missing_stays_missing_and_later_rows_do_not_matter(values: np.ndarray, kind: str) -> None:
    fitted = fit_normaliser(values, TRAIN, NAMES, kind=kind)
    result = fitted.transform(values, DATES)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(values))
    changed = np.where(TRAIN[:, None], values, values * 7 + 1)
    refitted = fit_normaliser(changed, TRAIN, NAMES, kind=kind)
    assert refitted.hash == fitted.hash
    np.testing.assert_array_equal(refitted.transform(changed, DATES)[TRAIN], result[TRAIN])


def test_constant_and_unknown_features_get_scale_one_and_are_named(values: np.ndarray) -> None:
    values[:, 0] = 2.5
    values[TRAIN, 1] = np.nan
    mostly_equal = np.where(np.arange(300) % 10 == 0, 1.0, 0.0)
    values[:, 2] = mostly_equal
    fitted = fit_normaliser(values, TRAIN, NAMES)
    assert fitted.constant == ("a", "b")
    assert fitted.scale[2] == pytest.approx(mostly_equal[:200].std())


def test_normaliser_survives_json_and_keeps_its_hash(values: np.ndarray) -> None:
    fitted = fit_normaliser(values, TRAIN, NAMES)
    again = Normaliser.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    assert again.hash == fitted.hash
    assert fit_normaliser(values, TRAIN, NAMES, clip=4.0).hash != fitted.hash


def test_other_columns_than_fitted_are_refused(values: np.ndarray) -> None:
    fitted = fit_normaliser(values, TRAIN, NAMES)
    with pytest.raises(ValueError, match="3 fitted columns"):
        fitted.transform(values[:, :2], DATES)
    with pytest.raises(ValueError, match=r"\('b', 'x'\)"):
        fitted.transform(values, DATES, names=("a", "x", "c"))
    with pytest.raises(ValueError, match="kind must be one of"):
        fit_normaliser(values, TRAIN, NAMES, kind="minmax")
    with pytest.raises(ValueError, match="selects no row"):
        fit_normaliser(values, np.zeros(300, dtype=bool), NAMES)


def test_tokens_hand_case() -> None:
    values = np.array([[1.0], [2.0], [3.0], [4.0], [np.nan], [-9.0], [9.0], [2.5]])
    tokenizer = QuantileTokenizer.fit(values, np.arange(8) < 4, num_tokens=2)
    assert tokenizer.edges == ((2.5,),)
    assert tokenizer.transform(values)[:, 0].tolist() == [1, 1, 2, 2, 0, 1, 2, 2]


@settings(max_examples=40, deadline=None)
@given(num_tokens=st.integers(2, 255), distinct=st.integers(1, 400), seed=st.integers(0, 99))
def test_tokens_are_monotone_in_range_and_fill_evenly(num_tokens: int, distinct: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, distinct, (500, 1)).astype(np.float32)
    tokenizer = QuantileTokenizer.fit(values, np.ones(500, dtype=bool), num_tokens)
    token = tokenizer.transform(values)[:, 0]
    assert token.min() >= 1
    assert token.max() <= num_tokens
    assert (np.diff(token[np.argsort(values[:, 0], kind="stable")].astype(int)) >= 0).all()
    same = np.random.default_rng(seed).normal(size=(500, 1))
    counts = np.bincount(
        QuantileTokenizer.fit(same, np.ones(500, dtype=bool), num_tokens).transform(same)[:, 0]
    )
    assert counts[1:].max() - counts[1:].min() <= 2


def test_tokenizer_survives_json_and_refuses_what_it_cannot_do(values: np.ndarray) -> None:
    tokenizer = QuantileTokenizer.fit(values, TRAIN, 16, NAMES)
    again = QuantileTokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert again == tokenizer
    assert again.hash == tokenizer.hash
    np.testing.assert_array_equal(again.transform(values), tokenizer.transform(values))
    assert ((tokenizer.transform(values) == 0) == np.isnan(values)).all()
    with pytest.raises(ValueError, match="num_tokens must lie in"):
        QuantileTokenizer.fit(values, TRAIN, 256)
    with pytest.raises(ValueError, match="3 fitted columns"):
        tokenizer.transform(values[:, :2])
    values[TRAIN, 1] = np.nan
    with pytest.raises(ValueError, match="feature 'b' has no known value on the 200 training rows"):
        QuantileTokenizer.fit(values, TRAIN, 16, NAMES)
