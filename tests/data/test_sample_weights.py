"""How much windows and dates of training count: by money traded, by age; both known at the date itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from factor_data import Batch, FeatureStore, Fold, Panel, SampleWeights, WeightParams, walk_forward
from factor_data.windows.weights import mean_money_traded, recency_weights, relative_weights
from market_samples import make_store, returns_over

LABELS = returns_over(1, 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and the cleaned panel it was made of."""
    folder = tmp_path_factory.mktemp("store")
    make_store(folder, 15, LABELS)
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> FeatureStore:
    return FeatureStore(folder)


@pytest.fixture(scope="module")
def fold(store: FeatureStore) -> Fold:
    return walk_forward(store.dates, train=90, valid=20, test=30, step=30, purge=6, embargo=0)[0]


def test_money_traded_is_a_mean_of_the_symbols_own_last_bars(folder: Path) -> None:
    panel = Panel.load(folder / "panel")
    money = panel.columns["close"] * panel.columns["volume"]
    mean = mean_money_traded(panel, bars=20)
    for row in (0, 5, 19, 20, 500, int(panel.starts[3]), int(panel.starts[3]) + 30, panel.num_rows - 1):
        first = max(panel.starts[panel.symbol_code[row]], row - 19)
        known = money[first : row + 1]
        expected = np.nanmean(known) if np.isfinite(known).any() else np.nan
        assert mean[row] == pytest.approx(expected, nan_ok=True)


def test_money_traded_of_one_symbol_is_the_same_to_the_bit_beside_any_other(folder: Path) -> None:
    """A sum that runs over all symbols loses a coin's cents behind a stock's billions."""
    panel = Panel.load(folder / "panel", mmap=False)
    first = panel.symbol_code == 0
    alone = mean_money_traded(panel.select(~first), bars=20)
    huge = panel.with_columns(volume=np.where(first, 1e15, 1e-9) * panel.columns["volume"])
    small = huge.select(~first)
    np.testing.assert_array_equal(mean_money_traded(panel, bars=20)[~first], alone)
    np.testing.assert_array_equal(mean_money_traded(huge, bars=20)[~first], mean_money_traded(small, bars=20))
    np.testing.assert_allclose(mean_money_traded(huge, bars=20)[~first], 1e-9 * alone, rtol=1e-12)


def test_money_not_known_or_not_positive_has_the_weight_of_the_median() -> None:
    money = np.array([4.0, 1.0, 2.0, np.nan, 0.0, 8.0, 2.0])
    date_code = np.array([0, 0, 0, 0, 0, 1, 1])
    in_universe = np.ones(7, dtype=bool)
    weight = relative_weights(money, date_code, in_universe, power=1.0)
    np.testing.assert_allclose(weight, [2.0, 0.5, 1.0, 1.0, 1.0, 8 / 5, 2 / 5], rtol=1e-6)
    rooted = relative_weights(money, date_code, in_universe, power=0.5)
    np.testing.assert_allclose(rooted, np.sqrt(weight), rtol=1e-6)


def test_any_column_of_the_bars_may_stand_for_money_traded(folder: Path, store: FeatureStore, fold: Fold) -> None:
    volume = Panel.load(folder / "panel").columns["volume"]
    weights = SampleWeights.of_fold(WeightParams(column="volume", power=0.5), store, fold, folder / "panel")
    expected = relative_weights(volume, store.date_code, store.in_universe, 0.5)
    assert weights.within_date is not None
    assert len(np.unique(weights.within_date)) > 100
    np.testing.assert_array_equal(weights.within_date, expected)
    with pytest.raises(ValueError, match=r"weights.column: the bars have no column 'ADV50'; they have \['open'"):
        SampleWeights.of_fold(WeightParams(column="ADV50"), store, fold, folder / "panel")
    with pytest.raises(ValueError, match="ADV50 takes the place of dollar_volume_bars"):
        WeightParams(column="ADV50", dollar_volume_bars=20)


def test_weights_by_money_traded_do_not_look_ahead(folder: Path, store: FeatureStore) -> None:
    panel = Panel.load(folder / "panel", mmap=False)
    later = panel.date_code > 100
    columns = {name: values.copy() for name, values in panel.columns.items()}
    columns["volume"][later] *= 7
    changed = replace(panel, columns=columns)
    before, after = (
        relative_weights(mean_money_traded(one, 20), store.date_code, store.in_universe, 1.0)
        for one in (panel, changed)
    )
    np.testing.assert_array_equal(before[~later], after[~later])
    assert (before[later] != after[later]).any()


def test_recency_halves_the_weight_of_a_date_and_leaves_their_mean_at_one() -> None:
    dates = np.arange(10).astype("datetime64[D]").astype("datetime64[ns]")
    weights = recency_weights(dates, dates[2:8], half_life=2.0)
    assert weights[2:8].mean() == pytest.approx(1.0, rel=1e-6)
    assert weights[7] / weights[5] == pytest.approx(2.0, rel=1e-6)
    assert (weights[[0, 1, 8, 9]] == 1).all()


def test_weights_of_a_fold_reach_batches(folder: Path, store: FeatureStore, fold: Fold) -> None:
    config = WeightParams(dollar_volume_bars=20, half_life=30.0)
    weights = SampleWeights.of_fold(config, store, fold, folder / "panel")
    assert weights.within_date is not None
    assert weights.of_date is not None
    assert weights.product is not None
    np.testing.assert_allclose(weights.product, weights.within_date * weights.of_date)
    rows = np.array([3, 70, 500])
    batch = Batch(
        windows=np.zeros((3, 1, 1), np.float32),
        targets=np.zeros((3, 2), np.float32),
        groups=np.arange(3),
        rows=rows,
    )
    np.testing.assert_array_equal(batch.dated(weights.of_date).date_weights, weights.of_date[rows])
    assert SampleWeights.of_fold(None, store, fold, folder / "panel").product is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "needs dollar_volume_bars, column or half_life"), ({"half_life": 0.0}, "half_life: 0.0 must be > 0")],
)
def test_settings_that_weigh_nothing_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightParams(**settings)
