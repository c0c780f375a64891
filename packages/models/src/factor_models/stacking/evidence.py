"""How much of learned weights is knowledge: what is not stays with the prior, and signs do not turn on noise.

The prior is equal weights. Weights are learned again with one block of dates left out at a time (the delete-a-group
jackknife, Kott 2001), in blocks no shorter than labels overlap, which gives each a standard error s. Then

    w = prior + max(0, 1 - s^2 / (learned - prior)^2) (learned - prior)

the positive-part rule of James and Stein for a single mean: a weight that is no farther from the prior than its own
noise is the prior. Where the interval of a learned weight covers 0, at 95 % over all models (Bonferroni), its sign is
noise, and w is not below 0.
"""

from __future__ import annotations

import numpy as np
import scipy.special

from factor_models.stacking.config import StackConfig
from factor_models.stacking.learners import LEARNERS, equal
from factor_models.stacking.moments import Moments

NUM_BLOCKS, LEAST_BLOCKS = 10, 4
LEVEL = 0.95


def learned_weights(name: str, moments: Moments, config: StackConfig, overlap: int) -> np.ndarray:
    """Return the weights (num_models,) of a meta learner after that rule; their sizes add up to 1.

    Parameters
    ----------
    name : a key of `LEARNERS`
    moments : those of the dates that teach. Models that are absent on all of them have the prior's weight
    overlap : dates over which labels overlap. Fewer dates than four times that, or than four, teach nothing: the
        weights are equal
    """
    return Lessons(moments, config, overlap).weights(name)


class Lessons:
    """What some dates teach, put together once for all meta learners; arguments as in `learned_weights`."""

    def __init__(self, moments: Moments, config: StackConfig, overlap: int) -> None:
        self.config, self.prior = config, equal(moments, config)
        self.enough = can_learn(moments, overlap)
        if not self.enough:
            return
        taught = moments.take(np.isfinite(moments.ics).any(axis=1))
        self.alive = np.isfinite(taught.ics).any(axis=0)
        self.whole = taught.of_models(self.alive)
        every = np.arange(len(taught.dates))
        blocks = date_blocks(len(every), overlap)
        self.parts = [self.whole.take(np.delete(every, block)) for block in blocks]
        """The dates without one block each."""

    def weights(self, name: str) -> np.ndarray:
        """Return `learned_weights` of a meta learner."""
        result = self.prior.copy()
        if name != "equal" and self.enough:
            weights = _of_alive(name, self.whole, self.config, self.parts)
            result[self.alive] = weights * self.alive.sum() / len(self.alive)
        return result


def can_learn(moments: Moments, overlap: int) -> bool:
    """Return whether the dates of `moments` are enough to learn weights from, and those of two models at least."""
    there = np.isfinite(moments.ics)
    return len(date_blocks(int(there.any(axis=1).sum()), overlap)) >= LEAST_BLOCKS and there.any(axis=0).sum() >= 2


def date_blocks(num_dates: int, overlap: int) -> list[np.ndarray]:
    """Return positions of dates in at most ten blocks of consecutive ones, none shorter than `overlap`."""
    num_blocks = min(NUM_BLOCKS, num_dates // max(overlap, 1))
    return np.array_split(np.arange(num_dates), num_blocks) if num_blocks else []


def _of_alive(name: str, moments: Moments, config: StackConfig, parts: list[Moments]) -> np.ndarray:
    learner, prior = LEARNERS[name], equal(moments, config)
    learned = _normalised(learner(moments, config), prior)
    again = np.array([_normalised(learner(part, config), prior) for part in parts])
    count = len(parts)
    variance = (count - 1) / count * np.square(again - again.mean(axis=0)).sum(axis=0)
    gap = learned - prior
    kept = np.where(gap != 0.0, np.maximum(1.0 - variance / np.where(gap != 0.0, np.square(gap), 1.0), 0.0), 0.0)
    bound = scipy.special.stdtrit(count - 1, 1.0 - (1.0 - LEVEL) / 2.0 / len(prior))
    weights = prior + kept * gap
    undecided = np.abs(learned) <= bound * np.sqrt(variance)
    return _normalised(np.where(undecided, np.maximum(weights, 0.0), weights), prior)


def _normalised(weights: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return weights whose sizes add up to 1; the prior where all are 0."""
    size = np.abs(weights).sum()
    return weights / size if size > 1e-300 and np.isfinite(size) else prior
