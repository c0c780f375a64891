"""Combinatorial purged cross-validation (Lopez de Prado, Advances in Financial Machine Learning, 2018, chapter 12)."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from factor_data.folds.cut import as_calendar, check_lengths, cut_fold
from factor_data.folds.fold import Dates, FoldList


def combinatorial_purged(
    dates: Dates, *, num_groups: int, num_test_groups: int, valid_groups: int, purge: int, embargo: int
) -> FoldList:
    """Test every choice of `num_test_groups` out of `num_groups` groups of dates, and train on the others.

    The calendar is cut into groups of dates in a row whose sizes differ by one at most, the larger ones first. There
    is one fold per choice, in lexicographic order. `purge` dates on both sides of every test range, and then
    `embargo` dates after it, leave training and validation. With `valid_groups` = 1, the first group after the
    last tested one (the first group that is not tested, if there is none after it) validates, purged from training
    on both sides too; with 0, `valid` is empty.

    Training dates may lie after tested ones: such folds answer how good a model is, not what it would have earned.
    Every date is tested in several folds; `cpcv_paths` arranges the folds into paths that test each date once.
    """
    calendar = as_calendar(dates)
    check_lengths(num_groups=num_groups, num_test_groups=num_test_groups, purge=purge, embargo=embargo)
    if valid_groups not in (0, 1):
        raise ValueError(f"valid_groups must be 0 or 1, got {valid_groups}")
    if num_test_groups + valid_groups >= num_groups:
        raise ValueError(
            f"num_groups {num_groups} leaves nothing to train on: {num_test_groups} are tested, "
            f"{valid_groups} validates"
        )
    if len(calendar) < num_groups:
        raise ValueError(f"{len(calendar)} dates cannot be cut into {num_groups} groups")
    sizes = np.full(num_groups, len(calendar) // num_groups)
    sizes[: len(calendar) % num_groups] += 1
    group = np.repeat(np.arange(num_groups), sizes)
    folds = FoldList()
    for index, tested in enumerate(combinations(range(num_groups), num_test_groups)):
        test = np.isin(group, tested)
        valid = group == _validating(tested, num_groups) if valid_groups else np.zeros(len(group), dtype=bool)
        folds.append(
            cut_fold(calendar, index, train=~test & ~valid, valid=valid, test=test, purge=purge, embargo=embargo)
        )
    return folds


def _validating(tested: tuple[int, ...], num_groups: int) -> int:
    free = [group for group in range(num_groups) if group not in tested]
    return next((group for group in free if group > tested[-1]), free[0])


def cpcv_paths(num_groups: int, num_test_groups: int) -> NDArray[np.int64]:
    """Return (num_paths, num_groups) int64: per path and group the fold whose test of the group is on the path.

    Each of the `num_test_groups / num_groups * C(num_groups, num_test_groups)` paths tests every date once, and each
    test of a group is on one path: path p takes, for every group, the p-th fold that tests it.

    >>> cpcv_paths(4, 2)
    array([[0, 0, 1, 2],
           [1, 3, 3, 4],
           [2, 4, 5, 5]])
    """
    choices = list(combinations(range(num_groups), num_test_groups))
    columns = [[index for index, tested in enumerate(choices) if group in tested] for group in range(num_groups)]
    return np.array(columns, dtype=np.int64).T
