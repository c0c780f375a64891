"""The set `memory`: averages as pandas weighs them, whole where a value is missing, nothing from outside the window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.conftest import random_frame
from factor_data import FEATURE_SETS, Panel, compute_features
from factor_data.features.memory import HALF_LIVES, WINDOW_HALF_LIVES

pytestmark = pytest.mark.numeric

NAMES = FEATURE_SETS["memory"]
SOURCES = tuple(dict.fromkeys(name.rsplit("_memory_", 1)[0] for name in NAMES))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return Panel.from_frame(random_frame(num_symbols=3, num_dates=760, seed=4))


def test_each_input_is_remembered_at_each_half_life() -> None:
    assert tuple(f"{source}_memory_{half_life}" for source in SOURCES for half_life in HALF_LIVES) == NAMES


@pytest.mark.parametrize("source", SOURCES)
def test_a_memory_is_the_weighted_mean_of_pandas_over_its_window(source: str, panel: Panel) -> None:
    """The input is as the feature matrix has it, with holes: pandas keeps the place of a missing value too."""
    base = source.removeprefix("abs_")
    values = compute_features(panel, [base]).values[:, 0].astype(float)
    values = np.abs(values) if base != source else values
    found = compute_features(panel, [f"{source}_memory_{half_life}" for half_life in HALF_LIVES])
    for code in range(panel.num_symbols):
        rows = np.flatnonzero(panel.symbol_code == code)
        series = pd.Series(values[rows])
        for half_life, column in zip(HALF_LIVES, found.values[rows].T, strict=True):
            for last in (half_life // 2, half_life + 20, len(rows) // 2, len(rows) - 1):
                window = series.iloc[max(0, last + 1 - WINDOW_HALF_LIVES * half_life) : last + 1]
                known = window.notna().sum() >= half_life
                expected = window.ewm(halflife=half_life, ignore_na=False).mean().iloc[-1] if known else np.nan
                np.testing.assert_allclose(column[last], expected, rtol=2e-5, atol=1e-7)


def test_a_missing_value_blanks_no_memory(panel: Panel) -> None:
    volume = panel.columns["volume"].copy()
    row = int(np.flatnonzero(panel.symbol_code == 1)[500])
    volume[row] = np.nan
    holed = compute_features(panel.with_columns(volume=volume), NAMES).values
    assert np.isnan(
        compute_features(panel.with_columns(volume=volume), ["volume_surprise_20"]).values[row : row + 20]
    ).all()
    assert np.isfinite(holed[row : row + 200]).all()
    assert (holed[:row] == compute_features(panel, NAMES).values[:row])[np.isfinite(holed[:row])].all()


def test_a_memory_has_the_same_bits_whatever_lies_before_its_window(panel: Panel) -> None:
    names = [name for name in NAMES if name.endswith(("_5", "_10"))]
    reach = 10 * WINDOW_HALF_LIVES + 50
    rows = np.flatnonzero(panel.symbol_code == 2)
    first = rows[-reach]
    changed = panel.with_columns(
        **{name: np.where(np.arange(panel.num_rows) < first, x * 1.7, x) for name, x in panel.columns.items()}
    )
    whole, other = (compute_features(p, names).values[rows[-1]] for p in (panel, changed))
    np.testing.assert_array_equal(whole, other)
