"""Folds as scikit-learn asks for them: row numbers, of purged folds, wherever an argument is called `cv`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator

from factor_data.folds.config import FoldConfig, make_folds
from factor_data.folds.cut import as_calendar
from factor_data.folds.fold import Dates, FoldList, iso
from factor_data.panel.stamps import as_stamps

Rows = NDArray[np.int64]


class FoldSplitter(BaseCrossValidator):
    """The folds of any scheme as a scikit-learn splitter, purged and embargoed by dates.

    The date of each row is `groups`, as in `GridSearchCV(model, grid, cv=splitter).fit(X, y, groups=dates)`; without
    them it is the level of stamps in the index of X, where X is a pandas frame. Rows may come in any order, and all
    rows of a date are in one segment.

    Parameters
    ----------
    config : how the dates are cut, by any scheme. For `cross_val_predict`, which wants every row tested once, take
        `cpcv` with one test group
    reach : dates after t that a label of t is made of: the least purge, as in `make_folds`
    valid : "train" gives the valid dates, where the scheme has some, to training; "drop" to nobody. Either way dates
        that were purged between the two stay out
    calendar : (num_dates,) datetime64, the dates that are cut; None: those of the rows

    Examples
    --------
    >>> config = FoldConfig(scheme="rolling", train=3, valid=0, test=2, step=2)
    >>> days = np.repeat(np.arange("2020-01-01", "2020-01-09", dtype="datetime64[D]"), 2)
    >>> [(train.tolist(), test.tolist()) for train, test in FoldSplitter(config, reach=1).split(days, groups=days)]
    [([0, 1, 2, 3, 4, 5], [8, 9, 10, 11]), ([4, 5, 6, 7, 8, 9], [12, 13, 14, 15])]
    """

    # With scikit-learn's metadata routing the dates are asked for by this name, as its own group splitters do.
    __metadata_request__split = {"groups": True}  # noqa: RUF012 -- read by scikit-learn from the class

    def __init__(
        self,
        config: FoldConfig,
        *,
        reach: int,
        valid: Literal["train", "drop"] = "train",
        calendar: Dates | None = None,
    ) -> None:
        if valid not in ("train", "drop"):
            raise ValueError(f"valid must be 'train' or 'drop', got {valid!r}")
        self.config = config
        self.reach = reach
        self.valid = valid
        self.calendar = calendar

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:
        """Yield per fold the numbers of the rows to train on and of those to test on, both ascending.

        ValueError where the dates of the rows are not known or not on the calendar, or a fold has no row to train on
        or to test.
        """
        of_row = _dates_of_rows(X, groups)
        if len(of_row) != _num_rows(X):
            raise ValueError(f"groups must be the date of each of the {_num_rows(X)} rows of X, got {len(of_row)}")
        for fold in self.folds(of_row):
            segments = [fold.train, fold.valid] if self.valid == "train" else [fold.train]
            rows = [np.flatnonzero(np.isin(of_row, dates)) for dates in (np.concatenate(segments), fold.test)]
            for name, found in zip(("train", "test"), rows, strict=True):
                if not len(found):
                    raise ValueError(f"fold {fold.index}: X has no row on its {name} dates")
            yield rows[0], rows[1]

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds; ValueError where neither rows nor a calendar tell the dates, which decide it."""
        if self.calendar is not None:
            return len(self.folds(self.calendar))
        return len(self.folds(_dates_of_rows(X, groups)))

    def folds(self, dates: Any) -> FoldList:
        """Return the folds of the calendar, or of the dates of the rows where there is none."""
        occurring = np.unique(as_stamps(dates, "dates"))
        if self.calendar is None:
            return make_folds(occurring, self.config, reach=self.reach)
        calendar = as_calendar(self.calendar)
        if (outside := ~np.isin(occurring, calendar)).any():
            raise ValueError(
                f"{outside.sum()} dates of rows are not on the calendar, first {iso(occurring[outside][0])}"
            )
        return make_folds(calendar, self.config, reach=self.reach)


def _num_rows(X: Any) -> int:
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def _dates_of_rows(X: Any, groups: Any) -> Dates:
    """Return the (num_rows,) date of each row."""
    if groups is not None:
        return as_stamps(groups, "groups")
    index: Any = getattr(X, "index", None)
    levels = [index.get_level_values(number) for number in range(index.nlevels)] if hasattr(index, "nlevels") else []
    found = [level for level in levels if level.dtype.kind == "M"]
    if len(found) != 1:
        had = [f"{level.name!r} of {level.dtype}" for level in levels]
        raise ValueError(
            "folds are cut by dates: give groups, the date of each row, or X as a pandas frame with one level of "
            f"stamps in its index; X is a {type(X).__name__}" + (f" with the index {', '.join(had)}" if had else "")
        )
    return as_stamps(found[0], "the index of X")
