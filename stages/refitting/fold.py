"""The dates of a refit: training as late as labels are known, valid dates behind it, the last date as its test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_data import Fold
from factor_data.folds.cut import cut_fold, positions
from stages.params.refit import RefitParams
from stages.running.stage import StageError


def refit_fold(calendar: NDArray[np.datetime64], judged: Fold, params: RefitParams, purge: int, growing: bool) -> Fold:
    """Return the fold of a refit, laid out as `train | purge | valid | purge | last date`.

    Every label of training and of the valid dates is known on the last date, and no label of one reaches into the
    other: nothing after the last date can have a part in it.

    Parameters
    ----------
    calendar : (num_dates,) sorted
    judged : the last fold of the run, whose members were judged out of fold
    purge : dates between segments, at least the reach of the farthest label
    growing : whether training starts at the first date of the last fold's, else it is as long

    Raises
    ------
    StageError : a last date that is none, too few dates before it, or training that would end no later than that of
        the judged members
    """
    last = len(calendar) - 1
    if params.until is not None:
        last = int(np.searchsorted(calendar, np.datetime64(params.until, "ns"), side="right")) - 1
        if last < 0:
            raise StageError(f"params.yaml: refit.until: {params.until} is before the first date, {calendar[0]!s:.19}")
    first_train, last_train = (int(np.searchsorted(calendar, judged.train[place])) for place in (0, -1))
    valid = params.valid or len(judged.valid)
    span = params.train or (None if growing else last_train - first_train + 1)
    valid_start = last - purge - valid
    train_end = valid_start - purge
    train_start = first_train if span is None else train_end - span
    if min(train_start, train_end - 1) < 0:
        raise StageError(
            f"params.yaml: refit: train {span or 1} + purge {purge} + valid {valid} + purge {purge} + the last date "
            f"need {(span or 1) + valid + 2 * purge + 1} dates, {last + 1} are there"
        )
    if train_end - 1 <= last_train:
        raise StageError(
            f"params.yaml: refit: training would end on {calendar[train_end - 1]!s:.19}, no later than that of the "
            f"last fold ({judged.train[-1]!s:.19}): there is nothing newer to learn from; fewer "
            "refit.valid move it later"
        )
    length = len(calendar)
    return cut_fold(
        calendar,
        0,
        train=positions(length, train_start, train_end),
        valid=positions(length, valid_start, last - purge),
        test=positions(length, last, last + 1),
        purge=purge,
        embargo=0,
    )
