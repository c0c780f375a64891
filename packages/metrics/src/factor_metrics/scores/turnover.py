"""How much of the traded book changes from one rebalancing to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Series, check_at_least, check_quantiles
from factor_metrics.ordering.ordered import as_rows
from factor_metrics.ordering.quantiles import quantile_of
from factor_metrics.ordering.ranks import row_blocks


def turnover(prediction: ArrayLike, num_quantiles: int = 5, horizon: int = 1) -> Series:
    """Return the share of the book (top and bottom quantile) that is new against `horizon` dates ago.

    0 = the same symbols on the same sides, 1 = everything was bought or sold anew. A symbol that moves from
    the top to the bottom counts as changed.

    Parameters
    ----------
    prediction
        (num_dates, num_symbols), NaN = missing. Quantiles among the symbols present, see `quantile_of`.
    num_quantiles
        From 2 to num_symbols.
    horizon
        Dates between rebalancings.

    Returns
    -------
    numpy.ndarray
        (num_dates,) float64 in [0, 1]; NaN for the first `horizon` dates and where either date has no book.

    Examples
    --------
    >>> turnover([[1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]], num_quantiles=2)
    array([nan, 0.5])
    """
    check_at_least("horizon", horizon, 1)
    prediction_DS = as_rows("prediction", prediction)
    check_quantiles(num_quantiles, prediction_DS.shape[1])
    side = np.empty(prediction_DS.shape, dtype=np.int8)  # of all dates, so one byte a symbol; quantiles by block
    for block in row_blocks(*prediction_DS.shape):
        quantile = quantile_of(prediction_DS[block], num_quantiles)
        side[block] = (quantile == num_quantiles - 1).astype(np.int8) - (quantile == 0)
    shares = np.full(len(side), np.nan)
    if len(side) <= horizon:
        return shares
    today, before = side[horizon:], side[:-horizon]
    size = (today != 0).sum(axis=1)
    changed = ((today != 0) & (today != before)).sum(axis=1)
    np.divide(changed, size, out=shares[horizon:], where=(size > 0) & (before != 0).any(axis=1))
    return shares
