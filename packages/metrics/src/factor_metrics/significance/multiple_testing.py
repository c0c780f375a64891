"""p-values after several looks: Bonferroni, Holm, Benjamini-Hochberg."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Series, as_series

Correction = Literal["bonferroni", "holm", "benjamini_hochberg"]


def adjusted_p_values(p_values: ArrayLike, method: Correction = "benjamini_hochberg") -> Series:
    """Return p-values that may be held against the level as they are, whatever the number of tests.

    With m tests and p(1) <= ... <= p(m):

    - "bonferroni": m p(i); chance of any false discovery at most the level, whatever the dependence.
    - "holm": max over j <= i of (m - j + 1) p(j); the same promise, never weaker (Holm, 1979, "A simple
      sequentially rejective multiple test procedure").
    - "benjamini_hochberg": min over j >= i of m p(j) / j; expected share of false discoveries at most the
      level for independent or positively dependent tests (Benjamini and Hochberg, 1995, "Controlling the false
      discovery rate").

    Parameters
    ----------
    p_values
        (num_tests,) in [0, 1], in any order. NaN = a test that could not be made: it stays NaN and does not
        count as a look.
    method
        Which promise.

    Returns
    -------
    numpy.ndarray
        (num_tests,) in [0, 1], in the order given. Ties stay ties.

    Examples
    --------
    >>> adjusted_p_values([0.01, 0.04, 0.03]).round(3)
    array([0.03, 0.04, 0.04])
    """
    values = as_series("p_values", p_values)
    if method not in get_args(Correction):
        raise ValueError(f"method must be one of {', '.join(get_args(Correction))}, got {method!r}")
    wrong = np.flatnonzero((values < 0.0) | (values > 1.0))
    if len(wrong):
        first = ", ".join(f"{values[place]:g} at {place}" for place in wrong[:3])
        raise ValueError(f"p_values must lie in [0, 1], got {len(wrong)} outside: {first}")
    adjusted = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    ordered, num_tests = values[order], len(order)
    position = np.arange(1, num_tests + 1)
    if method == "bonferroni":
        corrected = num_tests * ordered
    elif method == "holm":
        corrected = np.maximum.accumulate((num_tests - position + 1) * ordered)
    else:
        corrected = np.minimum.accumulate((num_tests / position * ordered)[::-1])[::-1]
    adjusted[order] = np.minimum(corrected, 1.0)
    return adjusted
