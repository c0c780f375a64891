"""What models are fitted to: a transform of the label per date, or its direction by a rule."""

from __future__ import annotations

import numpy as np
import pytest

from factor_data import DirectionRule, FeatureStore, Label, directions, training_targets
from market_samples import make_store

RULE = DirectionRule(up=0.01, down=-0.005)
LABELS = {"h1": Label(horizon=1, direction=RULE), "h5": Label(horizon=5)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return make_store(tmp_path_factory.mktemp("store"), 15, LABELS)


def test_a_direction_is_up_down_or_unknown(store: FeatureStore) -> None:
    target = training_targets(store, "direction")[:, 0]
    labels = np.where(store.in_universe, store.label("h1"), np.nan)
    for value, chosen in ((1.0, labels >= 0.01), (0.0, labels <= -0.005)):
        assert chosen.any()
        assert (target[chosen] == value).all()
    dead_zone = (labels > -0.005) & (labels < 0.01)
    assert np.isnan(target[dead_zone]).all()
    np.testing.assert_array_equal(np.isnan(target), np.isnan(labels) | dead_zone)


def test_every_label_has_thresholds_of_its_own(store: FeatureStore) -> None:
    target, label = training_targets(store, "direction")[:, 1], store.label("h5")
    known = store.in_universe & np.isfinite(label)
    np.testing.assert_array_equal(target[known], label[known] > 0)
    assert np.isnan(target[~known]).all()


def test_the_last_dates_have_no_direction_rather_than_a_down(store: FeatureStore) -> None:
    target = directions(store)
    for head, label in enumerate(store.heads.values()):
        last = store.date_code >= len(store.dates) - label.ahead
        assert np.isnan(target[last, head]).all()
        assert np.isfinite(target[~last & store.in_universe, head]).any()


def test_other_targets_are_those_of_the_store(store: FeatureStore) -> None:
    np.testing.assert_array_equal(training_targets(store, "rank"), store.targets("rank"))


def test_a_rule_whose_down_lies_above_its_up_is_refused() -> None:
    with pytest.raises(ValueError, match=r"down: 0\.1 must not lie above up: 0\.0"):
        DirectionRule(up=0.0, down=0.1)
