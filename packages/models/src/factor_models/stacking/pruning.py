"""Models that say what another one says: which of them a fold goes without, by what earlier dates showed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from factor_models.stacking.moments import Moments


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A model that a fold goes without, and why."""

    fold: int
    """Number of the fold."""
    model: int
    """Position of the model that is left out."""
    like: int
    """Position of the model that stays in its place."""
    correlation: float
    """Rank correlation of the two on earlier folds."""
    ic: float
    """Mean IC there of the model that is left out."""
    like_ic: float
    """Mean IC there of the one that stays."""


def prune_models(moments: Moments, threshold: float, fold: int) -> list[Pruned]:
    """Return which models to leave out so that no two are correlated above `threshold`, most alike pairs first.

    Of a pair the one with the lower mean IC goes; of equals the later one. `moments` are those of earlier dates.
    """
    ics, gram = moments.mean()
    pairs = sorted(combinations(range(len(ics)), 2), key=lambda pair: -gram[pair])
    pruned: list[Pruned] = []
    for first, second in pairs:
        gone = {one.model for one in pruned}
        if not gram[first, second] > threshold or gone & {first, second}:
            continue
        loser, like = (first, second) if ics[first] < ics[second] else (second, first)
        pruned.append(
            Pruned(
                fold=fold,
                model=loser,
                like=like,
                correlation=float(gram[first, second]),
                ic=float(ics[loser]),
                like_ic=float(ics[like]),
            )
        )
    return pruned


def kept_models(pruned: list[Pruned], num_models: int) -> np.ndarray:
    """Return (num_models,) whether a model stays."""
    kept = np.ones(num_models, dtype=bool)
    kept[[one.model for one in pruned]] = False
    return kept
