"""Folds that move forward in time: rolling or expanding, by year, by fixed dates, by ratio."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from factor_data.folds.cut import as_calendar, check_lengths, cut_fold, positions
from factor_data.folds.fold import Dates, FoldList, iso

DateRange = tuple[str, str]


def walk_forward(
    dates: Dates,
    train: int,
    valid: int,
    test: int,
    step: int,
    purge: int,
    embargo: int,
    expanding: bool = False,
) -> FoldList:
    """Cut a calendar into folds that move forward in time.

    Fold k is laid out as `train | purge | valid | purge | test` and starts `k * step` dates after fold 0;
    with `expanding` its train range starts at the first date instead. Dates in a purge belong to no
    segment. Without a valid range (0) it is `train | purge | test`. From the train range the `embargo` dates right
    after each earlier fold's test range are taken out. Only folds whose test range fits in full are made.

    Parameters
    ----------
    dates : (num_dates,) datetime64, sorted and unique
    train, test : int >= 1, number of dates of the ranges (train before the embargo is taken out)
    valid : int >= 0, likewise; 0: nothing validates
    step : int >= 1, dates from one fold to the next
    purge, embargo : int >= 0, in dates. purge must be at least the reach of a label, see `check_purge`
    expanding : grow the train range instead of moving it

    Returns
    -------
    FoldList, at least one

    Raises
    ------
    ValueError on a length out of range, unsorted dates, or a history too short for one fold

    Examples
    --------
    >>> days = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]")
    >>> [f.test.astype("datetime64[D]").astype(str).tolist()
    ...  for f in walk_forward(days, train=3, valid=1, test=2, step=2, purge=1, embargo=0)]
    [['2020-01-07', '2020-01-08'], ['2020-01-09', '2020-01-10']]
    """
    calendar = as_calendar(dates)
    check_lengths(train=train, valid=valid, test=test, step=step, purge=purge, embargo=embargo)
    between = valid + purge if valid else 0
    length, needed = len(calendar), train + purge + between + test
    if length < needed:
        middle = f"valid {valid} + purge {purge} + " if valid else ""
        raise ValueError(
            f"history too short for one fold: train {train} + purge {purge} + {middle}test {test} need {needed} dates, "
            f"{length} are present"
        )
    folds = FoldList()
    embargoed = np.zeros(length, dtype=bool)
    for index, start in enumerate(range(0, length - needed + 1, step)):
        valid_start = start + train + purge
        test_start = valid_start + between
        fold = cut_fold(
            calendar,
            index,
            train=positions(length, 0 if expanding else start, valid_start),
            valid=positions(length, valid_start, test_start),
            test=positions(length, test_start, test_start + test),
            purge=purge,
            embargo=embargo,
            embargoed=embargoed,
        )
        folds.append(fold)
        embargoed |= positions(length, test_start + test, test_start + test + embargo)
    return folds


def yearly(
    dates: Dates,
    *,
    max_train_years: int | None,
    min_train_years: int,
    valid_months: int,
    min_test: int,
    purge: int,
    embargo: int,
) -> FoldList:
    """Walk forward by calendar years: one fold per year that can be tested.

    Year y is tested if at least `min_train_years` calendar years before y have dates and y itself has `min_test`.
    The `max_train_years` years before y (None: all) are the history of the fold; its last `valid_months` months
    validate (0: nothing validates), the rest trains. The last `purge` dates of both are taken out, as are the
    `embargo` dates after every year that was tested before.

    Returns
    -------
    FoldList, at least one; ValueError if no year can be tested
    """
    calendar = as_calendar(dates)
    check_lengths(min_train_years=min_train_years, valid_months=valid_months, min_test=min_test)
    check_lengths(purge=purge, embargo=embargo)
    if max_train_years is not None and max_train_years < min_train_years:
        raise ValueError(f"max_train_years {max_train_years} must be at least min_train_years {min_train_years}")
    if valid_months >= 12 * min_train_years:
        raise ValueError(f"valid_months {valid_months} leave nothing of min_train_years {min_train_years} to train on")
    year, month = calendar.astype("datetime64[Y]"), calendar.astype("datetime64[M]")
    folds = FoldList()
    embargoed = np.zeros(len(calendar), dtype=bool)
    for test_year in np.unique(year):
        test = year == test_year
        if len(np.unique(year[year < test_year])) < min_train_years or test.sum() < min_test:
            continue
        validates = month >= test_year.astype("datetime64[M]") - valid_months
        history = year < test_year
        if max_train_years is not None:
            history &= year >= test_year - max_train_years
        folds.append(
            cut_fold(
                calendar,
                len(folds),
                train=history & ~validates,
                valid=history & validates,
                test=test,
                purge=purge,
                embargo=embargo,
                embargoed=embargoed,
            )
        )
        end = int(np.flatnonzero(test)[-1]) + 1
        embargoed |= positions(len(calendar), end, end + embargo)
    if not folds:
        raise ValueError(
            f"no year can be tested: {min_train_years} earlier years and {min_test} dates are needed, the dates are "
            f"{_span(calendar)}"
        )
    return folds


def fixed_dates(
    dates: Dates, train: DateRange, valid: DateRange | None, test: DateRange, purge: int, embargo: int = 0
) -> FoldList:
    """Cut one fold by given dates.

    Each range is (first, last), both included; a last day includes all of its bars. Ranges that overlap or are out
    of order are refused, never corrected. The last `purge` dates of train before valid, and of valid before test,
    are taken out (fewer where there is a gap between the ranges). With None nothing validates.
    """
    calendar = as_calendar(dates)
    check_lengths(purge=purge, embargo=embargo)
    given = {"train": train, "test": test} if valid is None else {"train": train, "valid": valid, "test": test}
    bounds = {name: _bounds(name, dates_given) for name, dates_given in given.items()}
    for earlier, later in pairwise(given):
        if bounds[earlier][1] >= bounds[later][0]:
            raise ValueError(
                f"{earlier} {' .. '.join(given[earlier])} must end before {later} {' .. '.join(given[later])} begins"
            )
    masks = {name: (calendar >= first) & (calendar <= last) for name, (first, last) in bounds.items()}
    for name, mask in masks.items():
        if not mask.any():
            first, last = bounds[name]
            raise ValueError(f"{name} {iso(first)} .. {iso(last)} has no date; the dates are {_span(calendar)}")
    masks.setdefault("valid", np.zeros(len(calendar), dtype=bool))
    return FoldList([cut_fold(calendar, 0, **masks, purge=purge, embargo=embargo)])


def ratio(dates: Dates, shares: tuple[float, float, float], purge: int, embargo: int = 0) -> FoldList:
    """Cut one fold by shares of the dates: train first, then valid, then test; the shares add up to 1.

    A boundary is the whole number of dates below share times dates. The last `purge` dates of train and of valid
    are taken out. A test share of 0 halves the share of valid: the later half is tested, since no number is reported
    on dates that an epoch was chosen on. A valid share of 0: nothing validates.
    """
    calendar = as_calendar(dates)
    check_lengths(purge=purge, embargo=embargo)
    check_shares(shares)
    if shares[2] == 0:
        shares = (shares[0], shares[1] / 2, shares[1] / 2)
    length = len(calendar)
    # 0.7 * 10 is 7 dates, though the product in floating point is a hair less
    first, second = (int(np.floor(share * length + 1e-9)) for share in np.cumsum(shares)[:2])
    if not 0 < first <= second < length or (shares[1] > 0 and first == second):
        raise ValueError(f"{length} dates cannot be split by {list(shares)}: a segment would have none")
    return FoldList(
        [
            cut_fold(
                calendar,
                0,
                train=positions(length, 0, first),
                valid=positions(length, first, second),
                test=positions(length, second, length),
                purge=purge,
                embargo=embargo,
            )
        ]
    )


def check_shares(shares: tuple[float, float, float]) -> None:
    """Raise ValueError unless train is positive, of valid and test one at most is 0, and they add up to 1."""
    if len(shares) != 3 or min(shares) < 0 or not shares[0] or shares[0] >= 1 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(
            f"ratios must be three shares, train positive, valid and test positive or one of them 0, that add up to 1, "
            f"got {list(shares)}"
        )


def _bounds(name: str, given: DateRange) -> tuple[np.datetime64, np.datetime64]:
    """First and last instant of a range of ISO dates or timestamps."""
    try:
        first, last = (np.datetime64(text, "ns") for text in given)
    except ValueError as error:
        raise ValueError(f"{name}: {list(given)} must be two ISO dates or timestamps") from error
    if len(given[1]) == len("2020-01-31"):
        last += np.timedelta64(86_400 * 10**9 - 1, "ns")
    if first > last:
        raise ValueError(f"{name}: first {given[0]} is after last {given[1]}")
    return first, last


def _span(calendar: Dates) -> str:
    return f"{iso(calendar[0])} .. {iso(calendar[-1])} ({len(calendar)})" if len(calendar) else "none"
