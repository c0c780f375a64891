"""What models are fitted to: a transform of the label per date, or its direction."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, TargetKind, direction

Target = TargetKind | Literal["direction"]


@dataclass(frozen=True, kw_only=True)
class DirectionParams:
    """Section `train.direction`: which returns are up (1) and down (0); between them a row has no target."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    # A label of at least `up` is an up, one of at most `down` a down. Equal: above is up, the rest is down.
    up: float = 0.0
    down: float = 0.0

    def __post_init__(self) -> None:
        if not self.down <= self.up:
            raise ValueError(f"down: {self.down} must not lie above up: {self.up}")


def directions(store: FeatureStore, rule: DirectionParams) -> NDArray[np.float64]:
    """1 up, 0 down (num_rows, num_horizons); NaN between, outside the universe and where the label is unknown."""
    labels = np.where(store.in_universe[:, None], store.labels, np.nan)
    return direction(labels, rule.up, rule.down)


def training_targets(store: FeatureStore, target: Target, rule: DirectionParams) -> NDArray[np.float32]:
    """What models are fitted to (num_rows, num_horizons); NaN = unknown."""
    if target == "direction":
        return directions(store, rule).astype(np.float32)
    return store.targets(target)
