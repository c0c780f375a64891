"""Loss in the tail of a return series, from history alone. Too short a history has no tail: NaN, never 0."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Series, as_series, check_share


def value_at_risk(returns: ArrayLike, confidence: float = 0.95) -> float:
    """Return the historical value at risk of one date: the loss (positive) at the 1 - confidence quantile.

    The ceil(n (1 - confidence))-th worst return with the sign turned, an order statistic that was really seen.
    NaN with fewer than 1 / (1 - confidence) dates (20 at 95 %): so short a history holds no such tail, and a
    risk that was never measured is not a risk of 0.
    """
    worst, share = _tail(returns, confidence)
    return -float(worst[math.ceil(share) - 1]) if len(worst) else math.nan


def conditional_value_at_risk(returns: ArrayLike, confidence: float = 0.95) -> float:
    """Return the mean loss (positive) of the worst n (1 - confidence) dates, the last of them counted in part.

    Acerbi and Tasche (2002), "On the coherence of expected shortfall". NaN where `value_at_risk` is.
    """
    worst, share = _tail(returns, confidence)
    if not len(worst):
        return math.nan
    whole = math.floor(share)
    total = float(worst[:whole].sum())
    if share > whole:
        total += (share - whole) * float(worst[whole])
    return -total / share


def _tail(returns: ArrayLike, confidence: float) -> tuple[Series, float]:
    """Known returns, worst first, and how many of them are the tail; none where it is less than one date."""
    check_share("confidence", confidence)
    values = as_series("returns", returns)
    values = np.sort(values[~np.isnan(values)])
    share = round(len(values) * (1.0 - confidence), 9)
    return (values, share) if share >= 1.0 else (values[:0], share)
