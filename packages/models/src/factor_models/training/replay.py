"""Updating a model in use: when it is due, and which dates it learns from.

A model that is trained on new dates alone forgets the old ones; so a share of the dates of an update is drawn from
those it was trained on before ("experience replay", Rolnick et al. 2019). An update is due when the live IC has fallen
well below what the model showed before it went live.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from factor_models.checks import check_at_least


def replay_dates(
    new: np.ndarray, old: np.ndarray, share: float, *, seed: int, priority: np.ndarray | None = None
) -> np.ndarray:
    """The dates of an update: all new ones, and old ones drawn without replacement, sorted.

    Parameters
    ----------
    new, old : dates, without a date in common
    share : of all dates of the update, how many are old ones, in [0, 1). Their number is the nearest integer to
        share / (1 - share) * len(new), halves up
    seed : decides which old ones
    priority : (len(old),) a date is drawn with a chance that grows with it, > 0: its loss, for example. None: all alike

    Raises
    ------
    ValueError : there are not enough old dates, or an argument breaks its rule
    """
    if not 0 <= share < 1:
        raise ValueError(f"share = {share}: must be in [0, 1)")
    if len(new) == 0:
        raise ValueError("new is empty: an update needs new dates")
    if len(both := np.intersect1d(new, old)):
        raise ValueError(f"new and old have {len(both)} dates in common, the first is {both[0]}")
    num_old = math.floor(share / (1 - share) * len(new) + 0.5)
    if num_old > len(old):
        raise ValueError(
            f"share = {share} of an update with {len(new)} new dates takes {num_old} old ones: there are {len(old)}"
        )
    chances = None
    if priority is not None:
        if priority.shape != (len(old),) or not (np.isfinite(priority) & (priority > 0)).all():
            raise ValueError(f"priority must be {len(old)} finite numbers > 0, one per old date")
        chances = priority / priority.sum()
    drawn = np.random.default_rng(seed).choice(len(old), num_old, replace=False, p=chances)
    return np.sort(np.concatenate([np.asarray(new), np.asarray(old)[drawn]]))


@dataclass(frozen=True, kw_only=True)
class UpdateRule:
    """When the live IC calls for an update, in shares of the IC that was expected."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    window: int = 20
    """Dates over which the live IC is averaged; before that many are known no update is due."""
    fall_to: float = 0.5
    """An update is due when the mean falls below this share of the expected IC."""
    recover_to: float = 0.8
    """It stays due until the mean is at or above this share again."""

    def __post_init__(self) -> None:
        check_at_least(self, {"window": 1})
        if not self.fall_to <= self.recover_to:
            raise ValueError(
                f"recover_to = {self.recover_to}: must be >= fall_to = {self.fall_to}, "
                "or an update that is due would be over while the mean still falls"
            )


def update_due(live_ic: np.ndarray, expected_ic: float, rule: UpdateRule) -> np.ndarray:
    """(num_dates,) bool: whether an update is due, knowing the IC up to the date: from a fall on until a recovery.

    Parameters
    ----------
    live_ic : (num_dates,) in order of time, each at the date its label became known; NaN = undefined: not counted, it
        leaves things as they are
    expected_ic : mean IC on dates the model was not fitted to, > 0
    rule : see `UpdateRule`
    """
    if not (expected_ic > 0 and math.isfinite(expected_ic)):
        raise ValueError(f"expected_ic = {expected_ic}: must be a finite number > 0")
    due = np.zeros(len(live_ic), bool)
    known = np.flatnonzero(np.isfinite(live_ic))
    if len(known) < rule.window:
        return due
    means = np.lib.stride_tricks.sliding_window_view(live_ic[known], rule.window).mean(axis=1)
    is_due = False
    for date, mean in zip(known[rule.window - 1 :], means / expected_ic, strict=True):
        is_due = bool(mean < (rule.recover_to if is_due else rule.fall_to))
        due[date:] = is_due
    return due
