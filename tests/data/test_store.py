"""The feature store gives back what was written, aligned by row, and knows the universe.

It has one content however the work on it was cut.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from equality import assert_same_files, names_under
from factor_data import (
    FeatureStore,
    FitConfig,
    Fold,
    Label,
    MarketConfig,
    NewsConfig,
    NewsVectorConfig,
    Panel,
    QuantileTokenizer,
    StoreWriter,
    SymbolVocabulary,
    Workers,
    check_labels,
    clean_bars,
    compute_features,
    cross_sectional_target,
    fit_news_scorer,
    fit_news_vectors,
    fit_normaliser,
    label_values,
    open_panel,
    plan_features,
    simulate_market,
    walk_forward,
    write_parquet,
)
from factor_data.chunks.write_store import write_index
from market_samples import returns_over

NAMES = ["return_1", "volatility_5", "market_return_1"]
LABELS = returns_over(1, 5) | {"within5": Label(horizon=5, neutral="sector")}
MARKET = simulate_market(MarketConfig(symbols=12, bars=150))
NEWS = NewsConfig(min_count=3, cutoff_minutes=960)
VECTORS = NewsVectorConfig(dimensions=3, memory=5, cutoff_minutes=960, documents_per_bar=2)


@pytest.fixture(scope="module")
def panel() -> Panel:
    sector = MARKET.bars["symbol"].str[-1].astype(float) % 3
    return clean_bars(Panel.from_frame(MARKET.bars.assign(sector=sector)))[0]


@pytest.fixture(scope="module")
def saved(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("panel")
    panel.save(folder)
    return folder


@pytest.fixture(scope="module")
def folds(panel: Panel) -> list[Fold]:
    return walk_forward(panel.dates, train=70, valid=10, test=15, step=15, purge=7, embargo=3)


@pytest.fixture(scope="module")
def fold(folds: list[Fold]) -> Fold:
    return folds[0]


@pytest.fixture(scope="module")
def labels(panel: Panel) -> NDArray[np.float64]:
    return np.column_stack([label_values(panel, label) for label in LABELS.values()])


def write_store(
    folder: Path,
    saved: Path,
    folds: list[Fold],
    workers: Workers,
    normaliser: str = "robust_zscore",
    news: pd.DataFrame | None = None,
) -> Path:
    panel = open_panel(saved)
    plan = plan_features(NAMES, panel.symbols)
    writer = StoreWriter(directory=folder, panel=panel, workers=workers, plan=plan, labels=LABELS)
    writer.write_labels()
    for fold in folds:
        writer.check_labels(fold)
    writer.write_features()
    fit = FitConfig(normaliser=normaliser, clip=3.0, num_tokens=8, news=NEWS, news_vectors=VECTORS)
    writer.write_folds(folds, fit, news)
    return folder


@pytest.fixture(scope="module")
def store(saved: Path, folds: list[Fold], tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return FeatureStore(write_store(tmp_path_factory.mktemp("store"), saved, folds, Workers(max_bytes=3_000)))


@pytest.fixture(scope="module", params=["robust_zscore", "rank"])
def whole(
    request: pytest.FixtureRequest, saved: Path, folds: list[Fold], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A store with news that was written in one piece."""
    folder = tmp_path_factory.mktemp("whole")
    write_store(folder, saved, folds, Workers(max_bytes=10**9), request.param, MARKET.news)
    return request.param, folder


@pytest.mark.parametrize(("max_bytes", "count"), [(1, 1), (20_000, 3), (200_000, 2)])
def test_no_byte_of_a_store_depends_on_the_parts_or_the_threads(
    max_bytes: int, count: int, whole: tuple[str, Path], saved: Path, folds: list[Fold], tmp_path: Path
) -> None:
    kind, expected = whole
    with ThreadPoolExecutor(count) as executor:
        workers = Workers(max_bytes=max_bytes, count=count, executor=executor)
        actual = write_store(tmp_path, saved, folds, workers, kind, MARKET.news)
    assert_same_files(actual, expected)


@pytest.mark.parametrize("kind", ["rank", "rank_gauss"])
def test_ranks_without_news_are_the_same_in_all_folds_and_those_of_the_whole_panel(
    kind: str, saved: Path, panel: Panel, folds: list[Fold], tmp_path: Path
) -> None:
    store = FeatureStore(write_store(tmp_path, saved, folds, Workers(max_bytes=20_000), kind))
    features = compute_features(panel, NAMES)
    normaliser = fit_normaliser(features.values, np.ones(panel.num_rows, dtype=bool), NAMES, kind, 3.0)
    expected = normaliser.transform(features.values, panel.date_code)
    assert len(folds) > 1
    for fold in folds:
        np.testing.assert_array_equal(store.inputs(fold.index), expected)


def test_processes_write_what_threads_write(
    whole: tuple[str, Path], saved: Path, folds: list[Fold], tmp_path: Path
) -> None:
    kind, expected = whole
    with ProcessPoolExecutor(2) as executor:
        workers = Workers(max_bytes=300_000, count=2, executor=executor)
        write_store(tmp_path, saved, folds, workers, kind, MARKET.news)
    assert_same_files(tmp_path, expected)


def test_a_store_holds_what_the_functions_give_on_the_whole_panel(
    whole: tuple[str, Path], panel: Panel, folds: list[Fold], labels: NDArray[np.float64]
) -> None:
    kind, folder = whole
    store = FeatureStore(folder)
    features = compute_features(panel, NAMES)
    np.testing.assert_array_equal(store.features, features.values)
    np.testing.assert_array_equal(store.labels, labels)
    for fold in folds:
        train = fold.rows(panel, "train") & panel.in_universe
        scorer = fit_news_scorer(MARKET.news, panel, labels[:, 1], train, NEWS)
        assert any(scorer.tones.values())
        scores = scorer.transform(MARKET.news, panel)
        vectoriser = fit_news_vectors(MARKET.news, panel, train, VECTORS)
        vectors = vectoriser.transform(MARKET.news, panel)
        values = np.hstack([features.values, scores.values, vectors.values])
        names = (*features.names, *scores.names, *vectors.names)
        normaliser = fit_normaliser(values, train, names, kind, 3.0)
        inputs = normaliser.transform(values, panel.date_code)
        tokenizer = QuantileTokenizer.fit(inputs, train, 8, names)
        np.testing.assert_array_equal(store.inputs(fold.index), inputs)
        np.testing.assert_array_equal(store.tokens(fold.index), tokenizer.transform(inputs))
        assert store.normaliser(fold.index).hash == normaliser.hash
        assert store.tokenizer(fold.index).hash == tokenizer.hash
        documents, expected = store.documents(fold.index), vectoriser.documents(MARKET.news, panel)
        assert documents is not None
        np.testing.assert_array_equal(documents.vectors, expected.vectors)
        np.testing.assert_array_equal(documents.bounds, expected.bounds)
        assert documents.per_bar == 2
        assert (np.diff(documents.bounds, axis=1) == 2).any()
        assert store.text_encoder(fold.index) == vectoriser.encoder.identity
        known = SymbolVocabulary.fit(panel.symbol[train])
        assert store.vocabulary(fold.index).hash == known.hash


def test_a_store_holds_no_scratch_file(whole: tuple[str, Path], folds: list[Fold]) -> None:
    fitted = [
        "inputs.npy",
        "news_document_rows.npy",
        "news_documents.npy",
        "news_scorer.json",
        "news_vectors.json",
        "news_vectors.npz",
        "normaliser.json",
        "tokenizer.json",
        "tokens.npy",
        "vocabulary.json",
    ]
    shared = ["features.npy", "index.parquet", "labels.npy", "store.json", "sums.json"]
    assert names_under(whole[1]) == sorted(
        [*shared, *(f"fold_{fold:02d}/{name}" for fold in range(len(folds)) for name in fitted)]
    )


def test_the_index_of_a_store_is_the_one_pandas_writes_whatever_the_row_groups(
    saved: Path, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame(
        {
            "timestamp": panel.timestamp,
            "symbol": pd.Categorical.from_codes(panel.symbol_code, pd.Index(panel.symbols)),
            "in_universe": panel.in_universe,
        }
    )
    for rows in (300, 2**20):
        write_parquet(tmp_path / "expected.parquet", frame, row_group_size=rows)
        monkeypatch.setattr("factor_data.chunks.write_store.ROW_GROUP", rows)
        write_index(open_panel(saved), tmp_path / "actual.parquet")
        assert (tmp_path / "actual.parquet").read_bytes() == (tmp_path / "expected.parquet").read_bytes()


def test_a_fold_without_a_label_is_refused_as_check_labels_does(
    saved: Path, panel: Panel, labels: NDArray[np.float64], tmp_path: Path
) -> None:
    late = Fold(index=3, train=panel.dates[-4:], valid=panel.dates[:1], test=panel.dates[:1])
    rows = late.rows(panel, "train") & panel.in_universe
    with pytest.raises(ValueError, match=r"fold 3 train: label h5 is known on 0 of") as whole:
        check_labels(labels, tuple(LABELS), {"fold 3 train": rows})
    with pytest.raises(ValueError, match="fold 3 train") as parts:
        write_store(tmp_path, saved, [late], Workers(max_bytes=5_000))
    assert str(parts.value) == str(whole.value)


def test_without_news_a_store_has_no_documents(store: FeatureStore) -> None:
    assert store.documents(0) is None


def test_rows_come_back_as_the_panel_has_them(store: FeatureStore, panel: Panel) -> None:
    np.testing.assert_array_equal(store.dates[store.date_code], panel.timestamp)
    np.testing.assert_array_equal(store.symbols[store.symbol_code], panel.symbol)
    np.testing.assert_array_equal(store.in_universe, panel.columns["in_universe"] > 0)
    assert store.heads == LABELS
    assert (store.reach, store.head("h5")) == (6, 1)


def test_inputs_and_tokens_are_the_fitted_transforms_of_the_features(store: FeatureStore) -> None:
    expected = store.normaliser(0).transform(np.asarray(store.features), store.date_code)
    np.testing.assert_array_equal(store.inputs(0), expected)
    np.testing.assert_array_equal(store.tokens(0), store.tokenizer(0).transform(expected))


def test_a_matrix_has_each_value_at_its_date_and_symbol_and_only_the_universe(store: FeatureStore, fold: Fold) -> None:
    values = np.arange(len(store.date_code), dtype=np.float64)
    matrix = store.matrix(values, fold.test)
    assert matrix.shape == (len(fold.test), len(store.symbols))
    for row in np.flatnonzero(np.isin(store.dates, fold.test)[store.date_code]):
        date = np.searchsorted(fold.test, store.dates[store.date_code[row]])
        found = matrix[date, store.symbol_code[row]]
        assert found == row if store.in_universe[row] else np.isnan(found)
    assert np.isfinite(matrix).sum() == store.rows(fold, "test").sum()


def test_targets_are_transformed_over_the_universe_alone(store: FeatureStore, labels: NDArray[np.float64]) -> None:
    kept = np.where(store.in_universe, labels[:, 1], np.nan)
    expected = cross_sectional_target(kept, store.date_code, "rank")
    np.testing.assert_array_equal(store.targets("rank")[:, 1], expected)
    assert np.isnan(store.targets("raw")[~store.in_universe]).all()


def test_an_unknown_feature_is_refused_with_the_names(store: FeatureStore) -> None:
    np.testing.assert_array_equal(store.feature("volatility_5"), store.features[:, 1])
    with pytest.raises(ValueError, match=r"'momentum' is not in the store: it has return_1, volatility_5, market"):
        store.feature("momentum")
