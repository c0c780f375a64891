"""The feature store gives back what was written, aligned by row, and knows the universe."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from factor_data import (
    FeatureStore,
    Fold,
    FoldInputs,
    MarketConfig,
    Panel,
    QuantileTokenizer,
    clean_bars,
    compute_features,
    cross_sectional_target,
    fit_normaliser,
    forward_return,
    simulate_market,
    walk_forward,
    write_fold,
    write_shared,
)

NAMES = ["return_1", "volatility_5"]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return clean_bars(Panel.from_frame(simulate_market(MarketConfig(symbols=12, bars=150)).bars))[0]


@pytest.fixture(scope="module")
def fold(panel: Panel) -> Fold:
    return walk_forward(panel.dates, train=80, valid=20, test=20, step=20, purge=7, embargo=0)[0]


@pytest.fixture(scope="module")
def labels(panel: Panel) -> NDArray[np.float64]:
    return np.column_stack([forward_return(panel, horizon) for horizon in (1, 5)])


@pytest.fixture(scope="module")
def store(
    panel: Panel, fold: Fold, labels: NDArray[np.float64], tmp_path_factory: pytest.TempPathFactory
) -> FeatureStore:
    folder: Path = tmp_path_factory.mktemp("store")
    matrix = compute_features(panel, NAMES)
    write_shared(folder, panel, matrix, labels, (1, 5), 1)
    rows = fold.rows(panel, "train")
    normaliser = fit_normaliser(matrix.values, rows, matrix.names)
    inputs = normaliser.transform(matrix.values, panel.date_code)
    tokenizer = QuantileTokenizer.fit(inputs, rows, 8, matrix.names)
    tokens = tokenizer.transform(inputs)
    write_fold(
        folder, 0, FoldInputs(normaliser=normaliser, tokenizer=tokenizer, inputs=inputs, tokens=tokens)
    )
    return FeatureStore(folder)


def test_rows_come_back_as_the_panel_has_them(store: FeatureStore, panel: Panel) -> None:
    np.testing.assert_array_equal(store.dates[store.date_code], panel.timestamp)
    np.testing.assert_array_equal(store.symbols[store.symbol_code], panel.symbol)
    np.testing.assert_array_equal(store.in_universe, panel.columns["in_universe"] > 0)
    assert store.horizons == (1, 5)
    assert store.delay == 1


def test_inputs_and_tokens_are_the_fitted_transforms_of_the_features(store: FeatureStore) -> None:
    expected = store.normaliser(0).transform(np.asarray(store.features), store.date_code)
    np.testing.assert_array_equal(store.inputs(0), expected)
    np.testing.assert_array_equal(store.tokens(0), store.tokenizer(0).transform(expected))


def test_a_matrix_has_each_value_at_its_date_and_symbol_and_only_the_universe(
    store: FeatureStore, fold: Fold
) -> None:
    values = np.arange(len(store.date_code), dtype=np.float64)
    matrix = store.matrix(values, fold.test)
    assert matrix.shape == (len(fold.test), len(store.symbols))
    for row in np.flatnonzero(np.isin(store.dates, fold.test)[store.date_code]):
        date = np.searchsorted(fold.test, store.dates[store.date_code[row]])
        found = matrix[date, store.symbol_code[row]]
        assert found == row if store.in_universe[row] else np.isnan(found)
    assert np.isfinite(matrix).sum() == store.rows(fold, "test").sum()


def test_targets_are_transformed_over_the_universe_alone(
    store: FeatureStore, labels: NDArray[np.float64]
) -> None:
    kept = np.where(store.in_universe, labels[:, 1], np.nan)
    expected = cross_sectional_target(kept, store.date_code, "rank")
    np.testing.assert_array_equal(store.targets("rank")[:, 1], expected)
    assert np.isnan(store.targets("raw")[~store.in_universe]).all()


def test_an_unknown_feature_is_refused_with_the_names(store: FeatureStore) -> None:
    np.testing.assert_array_equal(store.feature("volatility_5"), store.features[:, 1])
    with pytest.raises(ValueError, match=r"'momentum' is not in the store: it has return_1, volatility_5"):
        store.feature("momentum")
