"""No feature changes with a later split, nor with the unit of prices or volumes; what does is caught."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.conftest import random_frame
from factor_data import (
    FEATURE_SETS,
    LookAheadError,
    Panel,
    ScaleError,
    assert_scale_free,
    check_features,
    clean_bars,
    compute_features,
    open_panel,
)
from factor_data.features.alpha158_names import UNIT_DEPENDENT
from factor_data.lookahead import SCALED

pytestmark = pytest.mark.numeric

SCALES = ("adj_close", "price", "volume")


def thin_frame() -> pd.DataFrame:
    """Some twenty shares a bar, a fraction of a coin, bars without any trade, prices from 1e-8 up."""
    generator = np.random.default_rng(1)
    frame = random_frame(num_symbols=6, num_dates=150)
    level = np.array([1e-8, 1.0, 20.0, 1e-5, 4e3, 1.0])[frame["symbol"].str[1:].astype(int)]
    for name in ("open", "high", "low", "close", "adj_close"):
        frame[name] = frame[name] / 50 * level
    frame["volume"] = generator.lognormal(0.0, 1.0, len(frame)) * np.where(frame["symbol"] < "S3", 20.0, 0.5)
    frame.loc[(generator.random(len(frame)) < 0.1) & (frame["symbol"] < "S2"), "volume"] = 0.0
    return frame.assign(amount=frame["volume"] * (frame["high"] + frame["low"]) / 2)


@pytest.fixture(scope="module")
def thin() -> Panel:
    return clean_bars(Panel.from_frame(thin_frame()))[0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", FEATURE_SETS)
def test_no_feature_of_any_set_changes_by_a_bit_with_a_later_split_or_a_unit(
    name: str, scale: str, thin: Panel
) -> None:
    names = [one for one in FEATURE_SETS[name] if scale == "price" or one not in UNIT_DEPENDENT]
    assert np.isfinite(compute_features(thin, names).values).any(axis=0).all(), "one that is never known shows nothing"
    assert_scale_free(lambda bars: compute_features(bars, names), thin, scale, names=names)


@pytest.mark.parametrize("name", ["bars", "market", "alpha158", "alpha360"])
def test_nor_with_a_factor_that_rounds(name: str, thin: Panel) -> None:
    """The same by hand: a split of 3 for 2 of one symbol and 10 for 1 of another, prices in pence, volumes in lots."""
    split = np.array([1.0, 1 / 1.5, 1.0, 0.1, 1.0, 1.0])[thin.symbol_code]
    changed = {"adj_close": thin.columns["adj_close"] * split / 100}
    changed |= {one: thin.columns[one] / 100 for one in ("open", "high", "low", "close")}
    changed |= {"volume": thin.columns["volume"] / 7, "amount": thin.columns["amount"] / 700}
    names = [one for one in FEATURE_SETS[name] if one not in UNIT_DEPENDENT]
    before, after = (compute_features(bars, names).values for bars in (thin, thin.with_columns(**changed)))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_of_the_published_sets_only_the_correlation_with_log_volume_knows_a_unit(scale: str, thin: Panel) -> None:
    with pytest.raises(ScaleError) if scale != "price" else pytest.MonkeyPatch.context():
        assert_scale_free(lambda bars: compute_features(bars, list(UNIT_DEPENDENT)), thin, scale)
    assert [name[:4] for name in UNIT_DEPENDENT] == ["CORR"] * 5


def published_volume_surprise(panel: Panel) -> np.ndarray:
    """log(1 + v), the volume adjusted: what the later split of a thin symbol moves."""
    return np.log1p(panel.adjusted("volume"))


def adjusted_level(panel: Panel) -> np.ndarray:
    return panel.adjusted("close")


def centred_mean(panel: Panel) -> np.ndarray:
    """The mean of five bars around t, two of them not known yet."""
    close = pd.Series(panel.columns["close"])
    return close.groupby(panel.symbol_code).transform(lambda own: own.rolling(5, center=True).mean() / own).to_numpy()


@pytest.mark.parametrize("leak", [published_volume_surprise, adjusted_level])
def test_a_later_split_that_moves_a_feature_is_caught(leak: object, thin: Panel) -> None:
    assert callable(leak)
    rule = r"values changed when adj_close was multiplied by a constant, as later splits do.*: S\d at 2020.*, mine: "
    with pytest.raises(ScaleError, match=rule):
        check_features(leak, thin, ["mine"])
    check_features(leak, thin, ["mine"], published=["mine"])


def test_the_check_names_the_feature_symbol_date_and_both_values_of_a_leak(thin: Panel) -> None:
    def both(panel: Panel) -> np.ndarray:
        return np.column_stack([compute_features(panel, ["return_1"]).values, centred_mean(panel)])

    with pytest.raises(LookAheadError) as caught:
        check_features(both, thin, ["return_1", "mine"])
    said = re.search(r": (S\d) at (\S+), mine: (\S+) became ([^; ]+)", str(caught.value))
    assert said is not None
    symbol, date, before, after = said.groups()
    assert "return_1" not in str(caught.value)
    cut = int(0.6 * thin.num_dates) - 1
    assert np.datetime64(date) in thin.dates[cut - 1 : cut + 1]
    at = (thin.symbol == symbol) & (thin.timestamp == np.datetime64(date))
    assert float(before) == pytest.approx(float(centred_mean(thin)[at][0]))
    assert float(after) != pytest.approx(float(before))


def test_a_leak_that_only_a_late_cut_sees_is_caught(thin: Panel) -> None:
    """It looks ahead in the last fifth of the calendar alone."""

    def late(panel: Panel) -> np.ndarray:
        is_late = panel.date_code > int(0.85 * panel.num_dates)
        return np.where(is_late, centred_mean(panel), 0.0)

    with pytest.raises(LookAheadError, match="mine"):
        check_features(late, thin, ["mine"])
    check_features(late, thin, ["mine"], cuts=(0.6,))


def test_features_without_a_value_are_reported_as_not_checked(thin: Panel) -> None:
    names = ["return_1", "never"]

    def compute(panel: Panel) -> np.ndarray:
        return np.column_stack([compute_features(panel, ["return_1"]).values, np.full(panel.num_rows, np.nan)])

    assert check_features(compute, thin, names) == ("never",)
    with pytest.raises(ValueError, match="compute gives 2 columns for 1 names"):
        check_features(compute, thin, ["return_1"])


def test_every_column_with_a_unit_is_rescaled() -> None:
    assert SCALED == {
        "adj_close": ("adj_close",),
        "price": ("open", "high", "low", "close", "adj_close", "vwap", "amount"),
        "volume": ("volume", "amount"),
    }


def test_a_sample_of_a_saved_panel_is_the_last_dates_of_some_symbols(thin: Panel, tmp_path: Path) -> None:
    thin.save(tmp_path)
    sample = open_panel(tmp_path).sample(num_symbols=2, num_dates=40, always=("S4",))
    kept = thin.select(np.isin(thin.symbol, ["S0", "S4", "S5"]) & (thin.date_code >= thin.num_dates - 40))
    assert sample.dates.tolist() == thin.dates[-40:].tolist()
    np.testing.assert_array_equal(sample.symbol, kept.symbol)
    np.testing.assert_array_equal(sample.timestamp, kept.timestamp)
    for name, values in kept.columns.items():
        np.testing.assert_array_equal(sample.columns[name], values)
