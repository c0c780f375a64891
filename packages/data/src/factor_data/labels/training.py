"""What models are fitted to: a transform of the label per date, or its direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from factor_data.labels.kinds import TargetKind
from factor_data.labels.returns import direction

if TYPE_CHECKING:
    from factor_data.store import FeatureStore


def directions(store: FeatureStore) -> NDArray[np.float64]:
    """1 up, 0 down by each label's own rule (num_rows, num_labels).

    NaN between the thresholds, outside the universe and where the label is unknown.
    """
    labels = np.where(store.in_universe[:, None], store.labels, np.nan)
    rules = [label.direction for label in store.heads.values()]
    return np.column_stack([direction(labels[:, head], rule.up, rule.down) for head, rule in enumerate(rules)])


def training_targets(store: FeatureStore, target: TargetKind) -> NDArray[np.float32]:
    """What models are fitted to (num_rows, num_labels); NaN = unknown."""
    if target == "direction":
        return directions(store).astype(np.float32)
    return store.targets(target)


def training_target(store: FeatureStore, target: TargetKind, name: str) -> NDArray[np.float32]:
    """Return what models are fitted to for one label, (num_rows,): a column of `training_targets`."""
    if target == "direction":
        rule = store.heads[name].direction
        known = np.where(store.in_universe, store.label(name), np.nan)
        return direction(known, rule.up, rule.down).astype(np.float32)
    return store.target(target, name)
