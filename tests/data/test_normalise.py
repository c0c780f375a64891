"""Normalisers and tokens: against sklearn and scipy, fitted on training rows only, exact round trips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import median_abs_deviation, rankdata
from sklearn.preprocessing import QuantileTransformer

from factor_data import Normaliser, QuantileTokenizer, fit_normaliser, window_zscore

pytestmark = pytest.mark.numeric

NAMES = ("a", "b", "c")
KINDS = ["robust_zscore", "zscore", "rank", "rank_gauss", "quantile_gauss"]


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
            np.testing.assert_allclose(result[date * 10 : date * 10 + 10, column][~np.isnan(x)], expected, atol=1e-6)


def test_zscore_uses_the_mean_and_deviation_of_training_rows(values: np.ndarray) -> None:
    result = fit_normaliser(values, TRAIN, NAMES, "zscore", clip=2.0).transform(values, DATES)
    known = values[TRAIN].astype(float)
    expected = np.clip((values - np.nanmean(known, axis=0)) / np.nanstd(known, axis=0), -2, 2)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_rank_gauss_looks_at_the_date_only(values: np.ndarray) -> None:
    result = fit_normaliser(values, TRAIN, NAMES, kind="rank_gauss").transform(values, DATES)
    for date in range(30):
        rows = slice(date * 10, date * 10 + 10)
        for column in range(3):
            x = values[rows, column]
            known = ~np.isnan(x)
            expected = ndtri((rankdata(x[known]) - 0.5) / known.sum())
            np.testing.assert_allclose(result[rows, column][known], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("digits", [9, 1])
def test_quantile_gauss_is_the_map_that_sklearn_fits(digits: int) -> None:
    values = np.random.default_rng(3).standard_t(4, (3000, 1)).round(digits)  # one digit: many ties
    train = np.arange(3000) < 2000
    result = fit_normaliser(values, train, ["a"], "quantile_gauss", clip=4.0).transform(values, np.zeros(3000, int))
    sklearn = QuantileTransformer(n_quantiles=1001, subsample=None).fit(values[train])
    expected = np.clip(ndtri(sklearn.transform(values)), -4.0, 4.0)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_quantile_gauss_of_constant_and_unknown_features(values: np.ndarray) -> None:
    values[:, 0] = 2.5
    values[TRAIN, 1] = np.nan
    fitted = fit_normaliser(values, TRAIN, NAMES, "quantile_gauss")
    assert fitted.constant == ("a", "b")
    result = fitted.transform(values, DATES)
    assert (result[:, 0] == 0.0).all()
    assert np.isnan(result[:, 1]).all()


@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("kind", KINDS)
def test_normaliser_survives_a_file_and_keeps_its_hash(kind: str, values: np.ndarray, tmp_path: Path) -> None:
    fitted = fit_normaliser(values, TRAIN, NAMES, kind)
    again = Normaliser.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    assert again.hash == fitted.hash
    assert fit_normaliser(values, TRAIN, NAMES, kind, clip=4.0).hash != fitted.hash
    fitted.save(tmp_path / "normaliser.json")
    read = Normaliser.load(tmp_path / "normaliser.json", expected_hash=fitted.hash)
    assert read == fitted
    np.testing.assert_array_equal(read.transform(values, DATES), fitted.transform(values, DATES))


@pytest.mark.parametrize("fitted", ["normaliser", "tokenizer"])
def test_a_file_of_another_fit_or_a_changed_one_is_refused(fitted: str, values: np.ndarray, tmp_path: Path) -> None:
    made: Normaliser | QuantileTokenizer = (
        fit_normaliser(values, TRAIN, NAMES)
        if fitted == "normaliser"
        else QuantileTokenizer.fit(values, TRAIN, 4, NAMES)
    )
    path = tmp_path / "fitted.json"
    made.save(path)
    with pytest.raises(ValueError, match=f"has hash {made.hash}, expected abc: it was fitted on something else"):
        type(made).load(path, expected_hash="abc")
    path.write_text(path.read_text().replace('"b"', '"x"'))
    with pytest.raises(ValueError, match="was changed after it was written"):
        type(made).load(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="holds no fitted state: 'hash' is missing"):
        type(made).load(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        type(made).load(path)


@pytest.mark.parametrize("kind", ["robust_zscore", "zscore", "quantile_gauss"])
def test_an_unfitted_normaliser_cannot_be_made(kind: str) -> None:
    with pytest.raises(ValueError, match="make it with fit_normaliser"):
        Normaliser(names=NAMES, kind=kind, clip=3.0)


def test_an_unfitted_tokenizer_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"make it with QuantileTokenizer\.fit"):
        QuantileTokenizer(names=NAMES, num_tokens=4, edges=())


@pytest.mark.parametrize("kind", KINDS)
def test_column_groups_fitted_apart_join_to_the_joint_fit(kind: str, values: np.ndarray) -> None:
    joint = fit_normaliser(values, TRAIN, NAMES, kind)
    parts = [
        fit_normaliser(values[:, :1], TRAIN, NAMES[:1], kind),
        fit_normaliser(values[:, 1:], TRAIN, NAMES[1:], kind),
    ]
    assert Normaliser.concatenate(parts) == joint
    with pytest.raises(ValueError, match=r"parts repeat the columns \['a'\]"):
        Normaliser.concatenate([parts[0], parts[0]])
    with pytest.raises(ValueError, match="parts must share kind and clip"):
        Normaliser.concatenate([parts[0], fit_normaliser(values[:, 1:], TRAIN, NAMES[1:], kind, clip=1.0)])
    tokens = [
        QuantileTokenizer.fit(values[:, :1], TRAIN, 8, NAMES[:1]),
        QuantileTokenizer.fit(values[:, 1:], TRAIN, 8, NAMES[1:]),
    ]
    assert QuantileTokenizer.concatenate(tokens) == QuantileTokenizer.fit(values, TRAIN, 8, NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_dates_in_any_pieces_give_the_same_bytes(kind: str, values: np.ndarray) -> None:
    shuffled = np.random.default_rng(1).permutation(300)  # rows in no order at all
    values, dates = values[shuffled], DATES[shuffled]
    fitted = fit_normaliser(values, dates < 20, NAMES, kind)
    whole = fitted.transform(values, dates)
    for first in range(0, 30, 7):
        rows = (dates >= first) & (dates < first + 7)
        np.testing.assert_array_equal(fitted.transform(values[rows], dates[rows]), whole[rows])


def test_valid_and_test_rows_are_scaled_with_training_numbers(values: np.ndarray) -> None:
    """As reading back what was saved would: nothing is fitted again on other rows."""
    fitted = fit_normaliser(values, TRAIN, NAMES)
    other = fitted.transform(values[~TRAIN], DATES[~TRAIN])
    np.testing.assert_array_equal(other, fitted.transform(values, DATES)[~TRAIN])
    far = fitted.transform(values[~TRAIN] + 100, DATES[~TRAIN])
    assert np.nanmin(far) == 3.0  # an own fit would have moved them back to the middle


def test_window_zscore_is_the_input_of_kronos() -> None:
    windows = np.random.default_rng(0).normal(50, 2, (4, 30, 3)).astype(np.float32)
    windows[0, -1, 0] = 500.0
    scaled, mean, std = window_zscore(windows)
    assert scaled.dtype == np.float32
    for batch in range(4):
        for feature in range(3):
            x = windows[batch, :, feature].astype(float)
            expected = np.clip((x - x.mean()) / (x.std() + 1e-5), -5, 5)
            np.testing.assert_allclose(scaled[batch, :, feature], expected, rtol=1e-4, atol=1e-4)
    assert scaled[0, -1, 0] == 5.0
    np.testing.assert_allclose(scaled[1:] * (std[1:] + 1e-5) + mean[1:], windows[1:], rtol=1e-5)
    np.testing.assert_array_equal(window_zscore(windows[2:3])[0], scaled[2:3])


@pytest.mark.parametrize("level", [1e6, 1.0, 1e-8, 1e-14])
def test_window_zscore_is_the_same_at_every_level(level: float) -> None:
    windows = np.random.default_rng(0).normal(50, 2, (4, 30, 3)) * level
    scaled, mean, scale = window_zscore(windows)
    size = np.abs(windows).mean(axis=1, keepdims=True)
    expected = (windows - windows.mean(axis=1, keepdims=True)) / (windows.std(axis=1, keepdims=True) + 1e-6 * size)
    np.testing.assert_allclose(scaled, np.clip(expected, -5, 5), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled, window_zscore(windows / level)[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled * scale + mean, windows, rtol=1e-9)
    official = window_zscore(windows, official_parity=True)[0]
    expected = (windows - windows.mean(axis=1, keepdims=True)) / (windows.std(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(official, np.clip(expected, -5, 5), rtol=1e-9, atol=1e-12)


def test_window_zscore_keeps_missing_features_and_constant_windows_apart() -> None:
    windows = np.full((1, 5, 2), 7.0)
    windows[0, 2, 1] = np.nan
    scaled, _, _ = window_zscore(windows)
    assert (scaled[..., 0] == 0.0).all()
    assert np.isnan(scaled[..., 1]).all()
    with pytest.raises(ValueError, match="must have shape"):
        window_zscore(windows[0])


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


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), size=st.integers(1, 60), num_tokens=st.integers(2, 40))
def test_borders_are_numpys_quantiles_to_the_last_bit(seed: int, size: int, num_tokens: int) -> None:
    values = np.random.default_rng(seed).normal(size=(size, 1)).astype(np.float32)
    tokenizer = QuantileTokenizer.fit(values, np.ones(size, dtype=bool), num_tokens)
    levels = np.arange(1, num_tokens) / num_tokens
    expected = np.unique(np.quantile(values[:, 0].astype(np.float64), levels))
    assert tokenizer.edges[0] == tuple(expected.tolist())
    expected_tokens = 1 + np.searchsorted(expected, values[:, 0].astype(np.float64), side="right")
    np.testing.assert_array_equal(tokenizer.transform(values)[:, 0], expected_tokens)


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
    counts = np.bincount(QuantileTokenizer.fit(same, np.ones(500, dtype=bool), num_tokens).transform(same)[:, 0])
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
