"""Average ranks along rows, the base of rank IC, quantiles and diversity.

Equal to ``scipy.stats.rankdata(row, method="average", nan_policy="omit")`` row by row, but for a whole matrix
at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 64  # keeps the temporaries of a block in cache; no influence on the result


def rank_rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of every value within its row, 1 = smallest, ties share their average rank.

    Parameters
    ----------
    values
        (num_dates, num_symbols) float64. NaN is not ranked and stays NaN; the others are ranked among
        themselves.

    Returns
    -------
    numpy.ndarray
        (num_dates, num_symbols) float64, multiples of 1/2, exact.

    Examples
    --------
    >>> rank_rows(np.array([[0.3, 0.1, np.nan, 0.3]]))
    array([[2.5, 1. , nan, 2.5]])
    """
    ranks = np.empty(values.shape)
    for first in range(0, len(values), _ROWS_AT_ONCE):
        block = slice(first, first + _ROWS_AT_ONCE)
        ranks[block] = _rank_block(values[block])
    return ranks


def _rank_block(values: NDArray[np.float64]) -> NDArray[np.float64]:
    num_rows, num_columns = values.shape
    if num_columns == 0:
        return values.copy()
    missing = np.isnan(values)
    # Sorting is several times faster without NaN; infinity sorts last as well and is no legal value.
    filled = np.where(missing, np.inf, values)
    order = np.argsort(filled, axis=1)  # how ties are ordered does not matter below
    ordered = np.take_along_axis(filled, order, axis=1)

    starts_run = np.ones(ordered.shape, dtype=bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=starts_run[:, 1:])
    # Runs of equal values over the flattened matrix; every row starts a new run, so runs never cross rows.
    run_start = np.flatnonzero(starts_run)
    run_length = np.diff(np.append(run_start, num_rows * num_columns))
    run_rank = run_start % num_columns + (run_length + 1) / 2.0
    ordered_ranks = np.repeat(run_rank, run_length).reshape(ordered.shape)

    ranks = np.empty_like(ordered_ranks)
    np.put_along_axis(ranks, order, ordered_ranks, axis=1)
    ranks[missing] = np.nan
    return ranks
