"""A teacher of networks forecasts training rows from fits that did not see their dates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from factor_data import FeatureStore, Fold, walk_forward
from market_samples import make_store, returns_over
from stages.fitting.teacher import teach
from stages.params.train import DistillationParams


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return make_store(tmp_path_factory.mktemp("store"), 15, returns_over(1, 5))


@pytest.fixture(scope="module")
def fold(store: FeatureStore) -> Fold:
    return walk_forward(store.dates, train=90, valid=20, test=30, step=30, purge=6, embargo=0)[0]


class Inputs:
    """A store with inputs; the first feature is what the targets follow."""

    def __init__(self, store: FeatureStore, values: np.ndarray) -> None:
        self.store, self.values = store, values

    def inputs(self, fold: int) -> np.ndarray:
        return self.values

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.fixture(scope="module")
def taught(store: FeatureStore, fold: Fold) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    values = generator.standard_normal((len(store.date_code), 3)).astype(np.float32)
    rows = np.flatnonzero(store.rows(fold, "train"))
    config = DistillationParams(teacher="linear", settings={"alpha": 1.0}, share=0.5, blocks=4)

    def run(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rows, teach(config, Inputs(store, values), fold, targets, rows, None)  # type: ignore[arg-type]

    run.values = values  # type: ignore[attr-defined]
    return run


def test_a_teacher_forecasts_training_rows_and_no_others(taught: Any, store: FeatureStore) -> None:
    targets = np.repeat(taught.values[:, :1], 2, axis=1)
    rows, forecasts = taught(targets)
    np.testing.assert_allclose(forecasts[rows], targets[rows], atol=0.1)
    others = np.ones(len(forecasts), dtype=bool)
    others[rows] = False
    assert np.isnan(forecasts[others]).all()


def test_a_teacher_does_not_know_the_labels_it_forecasts_nor_any_outside_training(
    taught: Any, store: FeatureStore
) -> None:
    """Targets near a date are replaced by noise: the forecasts of that date do not move by a bit."""
    targets = np.random.default_rng(1).standard_normal((len(store.date_code), 2)).astype(np.float32)
    rows, before = taught(targets)
    codes = store.date_code[rows]
    middle = np.unique(codes)[15]
    near = np.abs(store.date_code - middle) <= store.reach
    outside = np.ones(len(targets), dtype=bool)
    outside[rows] = False
    for changed in (near, outside):
        other = np.where(changed[:, None], np.float32(9.0), targets)
        after = taught(other)[1]
        np.testing.assert_array_equal(after[rows[codes == middle]], before[rows[codes == middle]])
    assert (taught(np.where(near[:, None], np.float32(9.0), targets))[1][rows] != before[rows]).any()
