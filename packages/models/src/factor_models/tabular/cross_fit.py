"""Rows to fit on and rows to forecast, block of dates by block: forecasts of training rows that no fit has seen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def cross_fit_rows(
    date_code: NDArray[np.integer], blocks: int, gap: int
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """(rows to fit on, rows to forecast), each (num_rows,) bool, of each block of dates.

    Parameters
    ----------
    date_code : (num_rows,) place of each row's date in the calendar
    blocks : runs of consecutive dates that the distinct dates are cut into, as equal as can be
    gap : rows within so many dates of a block are in neither mask, so a label of up to `gap` dates (delay and horizon)
        of a fitted row does not overlap with one of the block

    Raises
    ------
    ValueError : a block leaves no row to fit on
    """
    dates = np.unique(date_code)
    for block in np.array_split(dates, blocks):
        taught = np.isin(date_code, block)
        fitted = (date_code < block[0] - gap) | (date_code > block[-1] + gap) if len(block) else taught
        if not fitted.any():
            raise ValueError(
                f"blocks = {blocks}: {len(dates)} dates leave none to fit on, {gap} dates away from each block"
            )
        yield fitted, taught
