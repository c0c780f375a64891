"""Cutting one fold out of a calendar, and what keeps labels apart: purge and embargo.

The label of date t is made of what comes up to t + reach (positions on the calendar). With a purge of at least the
longest reach, no training label is made of a date that is validated or tested.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from factor_data.folds.fold import Dates, Fold, iso

Mask = NDArray[np.bool_]
MAY_BE_ZERO = ("purge", "embargo", "valid", "valid_months")


def check_purge(purge: int, reach: int) -> None:
    """Refuse a purge that lets a training label, which is made of `reach` later dates, into the next segment."""
    if reach < 1:
        raise ValueError(f"reach must be at least 1 date, got {reach}")
    if purge < reach:
        raise ValueError(f"purge must be at least the longest reach of a label, {reach} dates, got {purge}")


def as_calendar(dates: Dates) -> Dates:
    """Return the dates as datetime64[ns]; ValueError unless they are sorted and unique."""
    calendar = np.asarray(dates)
    if calendar.dtype.kind != "M":  # what came from readers or a panel needs no pandas
        from factor_data.panel.stamps import as_stamps

        calendar = as_stamps(dates, "dates")
    calendar = calendar.astype("datetime64[ns]")
    if np.any(calendar[1:] <= calendar[:-1]):
        raise ValueError("dates must be sorted and unique")
    return calendar


def check_lengths(**lengths: int) -> None:
    """Refuse a negative purge, embargo or length of validation, and any other length below 1."""
    for name, value in lengths.items():
        lowest = 0 if name in MAY_BE_ZERO else 1
        if value < lowest:
            raise ValueError(f"{name} must be at least {lowest}, got {value}")


def positions(length: int, first: int, end: int) -> Mask:
    """(length,) True on positions `first` up to but not including `end`."""
    mask = np.zeros(length, dtype=bool)
    mask[max(first, 0) : max(end, 0)] = True
    return mask


def within(mask: Mask, before: int, after: int) -> Mask:
    """(num_dates,) True on the positions of `mask`, on `before` positions before each and `after` behind."""
    edges = np.diff(np.r_[0, mask.astype(np.int64), 0])
    first, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    cover = np.zeros(len(mask) + 1, dtype=np.int64)
    np.add.at(cover, np.maximum(first - before, 0), 1)
    np.add.at(cover, np.minimum(end + after, len(mask)), -1)
    return np.cumsum(cover[:-1]) > 0


def cut_fold(
    calendar: Dates,
    index: int,
    *,
    train: Mask,
    valid: Mask,
    test: Mask,
    purge: int,
    embargo: int,
    embargoed: Mask | None = None,
) -> Fold:
    """Make a fold of three sets of dates by taking out of training and validation what is too near.

    Parameters
    ----------
    calendar : (num_dates,) datetime64[ns]
    train, valid, test : (num_dates,) bool, no date in two of them
    purge : dates on both sides of the test dates that leave training and validation, and on both sides of the
        validation dates that leave training
    embargo : further dates after the test dates that leave training and validation
    embargoed : dates that leave training because they follow the test range of an earlier fold

    Raises
    ------
    ValueError if a segment that had dates has none left
    """
    purged = within(test, purge, purge)
    after_test = within(test, 0, purge + embargo) & ~purged
    kept_valid = valid & ~purged & ~after_test
    purged_train = purged | within(kept_valid, purge, purge)
    embargoed_train = after_test if embargoed is None else after_test | embargoed
    kept_train = train & ~purged_train & ~embargoed_train
    for name, asked, kept in (("train", train, kept_train), ("valid", valid, kept_valid)):
        if asked.any() and not kept.any():
            raise ValueError(
                f"fold {index}: purge {purge} and embargo {embargo} leave none of the {int(asked.sum())} {name} dates"
            )
    left_out = (train & ~kept_train) | (valid & ~kept_valid)
    by_purge = left_out & purged_train
    return Fold(
        index=index,
        train=calendar[kept_train],
        valid=calendar[kept_valid],
        test=calendar[test],
        purge=calendar[by_purge],
        embargo=calendar[left_out & ~by_purge],
    )


def check_labels_apart(folds: Sequence[Fold], dates: Dates, reach: int) -> None:
    """Refuse folds in which dates of one segment are in the labels of another.

    A label of t takes the dates after t up to t + reach. No such date of a training or validation label may be tested,
    none of a training label may be validated, and no date of a test label may be trained or validated on.

    Raises
    ------
    ValueError naming the fold, the two segments and the first two dates that meet
    """
    calendar = as_calendar(dates)
    for fold in folds:
        masks = {"train": fold.train, "valid": fold.valid, "test": fold.test}
        found = {name: np.isin(calendar, segment) for name, segment in masks.items()}
        for first, second in (("train", "valid"), ("train", "test"), ("valid", "test")):
            for labelled, other in ((first, second), (second, first)):
                meet = found[other] & within(found[labelled], 0, reach)
                if meet.any():
                    at = int(np.flatnonzero(meet)[0])
                    start = int(np.flatnonzero(found[labelled][: at + 1])[-1])
                    raise ValueError(
                        f"fold {fold.index}: the {labelled} label of {iso(calendar[start])} takes prices up to "
                        f"{reach} dates later, and {other} has {iso(calendar[at])}"
                    )
