"""What models are fitted to: a transform of the label per date, or its direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from factor_data.labels.kinds import DirectionRule, TargetKind
from factor_data.labels.returns import direction

if TYPE_CHECKING:
    from factor_data.store import FeatureStore


def directions(store: FeatureStore, rule: DirectionRule) -> NDArray[np.float64]:
    """1 up, 0 down (num_rows, num_horizons); NaN between, outside the universe and where the label is unknown."""
    labels = np.where(store.in_universe[:, None], store.labels, np.nan)
    return direction(labels, rule.up, rule.down)


def training_targets(store: FeatureStore, target: TargetKind, rule: DirectionRule) -> NDArray[np.float32]:
    """What models are fitted to (num_rows, num_horizons); NaN = unknown."""
    if target == "direction":
        return directions(store, rule).astype(np.float32)
    return store.targets(target)
