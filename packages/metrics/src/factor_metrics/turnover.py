"""How much of the traded book changes from one rebalancing to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Series, as_matrix, check_at_least
from factor_metrics.quantiles import quantile_of


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
    quantile = quantile_of(as_matrix("prediction", prediction), num_quantiles)
    side = (quantile == num_quantiles - 1).astype(np.int8) - (quantile == 0).astype(np.int8)
    shares = np.full(len(side), np.nan)
    if len(side) <= horizon:
        return shares
    today, before = side[horizon:], side[:-horizon]
    size = (today != 0).sum(axis=1)
    changed = ((today != 0) & (today != before)).sum(axis=1)
    np.divide(changed, size, out=shares[horizon:], where=(size > 0) & (before != 0).any(axis=1))
    return shares
