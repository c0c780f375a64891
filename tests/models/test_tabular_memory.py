"""What a fit and a forecast of a tabular model allocate beside the matrix that they are given.

Counted are the arrays of numpy (tracemalloc), which are where copies of the matrix come from; what a library holds in
its own memory (bins) is not. Chunks are made small, since at full size they are small against the matrix.
"""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from factor_models import SelectedRows, Table, build_model
from factor_models.tabular import base, lightgbm_trees

NUM_ROWS, NUM_FEATURES = 20_000, 160


def table(is_known: bool, is_weighted: bool = False) -> Table:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((NUM_ROWS, NUM_FEATURES), np.float32)
    targets = features[:, :1] + generator.standard_normal((NUM_ROWS, 1), np.float32)
    if not is_known:
        targets[::7] = np.nan
    weights = generator.random(NUM_ROWS, np.float32) if is_weighted else None
    return Table(features=features, targets=targets, weights=weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "is_known", "is_weighted", "most"),
    [
        ("linear", True, False, 0.8),
        ("linear", False, True, 0.8),
        ("lightgbm", True, False, 1.2),  # the rows with a target, until they are in bins
        ("lightgbm", False, False, 1.2),
        ("xgboost", True, False, 0.3),
        ("xgboost", False, True, 0.3),
    ],
)
def test_a_fit_and_a_forecast_allocate_less_than_the_matrix(
    name: str, is_known: bool, is_weighted: bool, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "ROWS_AT_ONCE", 1_024)
    train = table(is_known, is_weighted)
    settings = {} if name == "linear" else {"rounds": 1}
    model = build_model(name, num_features=NUM_FEATURES, num_horizons=1, **settings)
    few = Table(features=train.features[:500], targets=train.targets[:500])
    model.fit(few)  # so that libraries are loaded before memory is watched
    tracemalloc.start()
    model.fit(train)
    model.predict(train)
    allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert allocated < most * np.asarray(train.features).nbytes


@pytest.mark.parametrize("name", ["linear", "lightgbm", "xgboost", "cross_asset_lightgbm"])
def test_rows_left_in_their_matrix_give_the_bytes_of_a_copy_of_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = table(is_known=False)
    rows = np.random.default_rng(1).permutation(NUM_ROWS)[:3_000]
    assert everything.targets is not None
    targets = everything.targets[rows]
    copied = Table(features=np.asarray(everything.features)[rows], targets=targets)
    left = Table(features=SelectedRows(np.asarray(everything.features), rows), targets=targets)
    sizes = {"num_symbols": 0} if name == "cross_asset_lightgbm" else {}
    settings = {} if name == "linear" else {"rounds": 3}
    files = []
    for given, most in ((copied, NUM_ROWS), (left, NUM_ROWS), (left, 0)):
        monkeypatch.setattr(lightgbm_trees, "SAMPLED_ROWS", most)  # 0: LightGBM reads in chunks
        model = build_model(name, num_features=NUM_FEATURES, num_horizons=1, **sizes, **settings)
        model.fit(given, given).save_weights(tmp_path / "weights")
        files.append((tmp_path / "weights").read_bytes() + model.predict(given).tobytes())
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("name", ["linear", "lightgbm", "xgboost", "cross_asset_lightgbm"])
def test_chunks_decide_nothing_about_a_forecast(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"num_symbols": 0} if name == "cross_asset_lightgbm" else {}
    settings = {} if name == "linear" else {"rounds": 3}
    model = build_model(name, num_features=NUM_FEATURES, num_horizons=1, **sizes, **settings)
    rows = table(True)
    rows = Table(features=rows.features[:3_000], targets=rows.targets[:3_000])
    whole = model.fit(rows).predict(rows)
    monkeypatch.setattr(base, "ROWS_AT_ONCE", 500)
    chunked = model.predict(rows)
    if name == "linear":  # a product of matrices may round otherwise where it has other sizes
        np.testing.assert_allclose(chunked, whole, rtol=1e-6, atol=1e-7)
    else:
        np.testing.assert_array_equal(chunked, whole)
    if name == "xgboost":
        np.testing.assert_array_equal(model.fit(rows).predict(rows), whole)
