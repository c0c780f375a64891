"""`auto`: the meta learner that earlier dates favour, and equal weights where none is better than their noise.

The dates that teach a fold are walked through in time: on each block after the first, every meta learner forecasts with
weights from the blocks before (less the dates whose labels were not known yet). The rule is that of one standard error
(Breiman, Friedman, Olshen and Stone, 1984): of the meta learners whose mean IC is within one standard error of the
best, the one nearest to equal weights. The error is that of the paired difference over stretches of ten dates, or of
as many as labels overlap.
"""

from __future__ import annotations

import math

import numpy as np

from factor_models.stacking.config import StackConfig
from factor_models.stacking.evidence import Lessons
from factor_models.stacking.learners import LEARNERS
from factor_models.stacking.moments import Moments

NUM_STEPS = 6
LEAST_STRETCHES, LEAST_STRETCH = 6, 10
"""Stretches that a standard error is taken from, and dates in each: on 40 dates the best of seven is best by luck."""


def choose_learner(moments: Moments, config: StackConfig, purge: int, overlap: int | None = None) -> str:
    """Return the name of the meta learner to use after the dates of `moments`; equal where they are too few to tell.

    A date's label is known `purge` dates later: it teaches no block that begins before. `overlap` counts the rows of
    `moments` over which labels overlap; None: each date of the calendar has a row, and they are as many as `purge`.
    """
    rows = purge if overlap is None else overlap
    taught = moments.take(np.isfinite(moments.ics).any(axis=1))
    blocks = np.array_split(np.arange(len(taught.dates)), NUM_STEPS)
    if len(blocks[-1]) == 0 or taught.ics.shape[1] < 2:
        return "equal"
    series: dict[str, list[np.ndarray]] = {name: [] for name in LEARNERS}
    for block in blocks[1:]:
        known = taught.take(taught.dates + purge < taught.dates[block[0]])
        ahead, lessons = taught.take(block), Lessons(known, config, rows)
        for name, found in series.items():
            found.append(ahead.ics_of(lessons.weights(name)))
    return nearest_to_equal({name: np.concatenate(found) for name, found in series.items()}, rows)


def nearest_to_equal(series: dict[str, np.ndarray], overlap: int) -> str:
    """Return the first name whose IC series (num_dates,) is within one standard error of the best one's mean.

    Names come in the order in which they are preferred. The first where there are fewer than six stretches of
    ten dates, or of as many as labels overlap.
    """
    best = max(series, key=lambda name: _mean(series[name]))
    for name, values in series.items():
        difference = series[best] - values
        stretches = np.array_split(difference, len(difference) // max(overlap, LEAST_STRETCH) or 1)
        if len(stretches) < LEAST_STRETCHES:
            return name
        means = np.array([_mean(one) for one in stretches])
        means = means[np.isfinite(means)]
        error = means.std(ddof=1) / math.sqrt(len(means)) if len(means) > 1 else math.inf
        if not _mean(difference) > error:
            return name
    return best


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else -math.inf
