"""Whether numbers are distributed as they were: population stability index, and Kolmogorov and Smirnov's distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Series, as_series, check_at_least
from factor_metrics.kernel_cache import kernel

_MAX_TERMS = 101


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One sample beside its reference. NaN = one of them has no value."""

    psi: float
    """Population stability index: below 0.1 stable, above 0.25 another population, by the usual rule of thumb."""
    distance: float
    """Largest distance of the two distribution functions, 0 to 1."""
    p_value: float
    """Probability of such a distance if nothing had changed."""


def drift(
    reference: ArrayLike, sample: ArrayLike, *, num_bins: int = 10, independent: tuple[float, float] | None = None
) -> Drift:
    """Return how far `sample` has moved from `reference`.

    The index is the sum over bins of (q - p) log(q / p), the bins being quantiles of the reference, and one for each
    value that fills a whole bin; a share of 0 counts as half a value. The p-value is the asymptotic one of Kolmogorov
    and Smirnov with the correction of Stephens (1970), "Use of the Kolmogorov-Smirnov, Cramer-von Mises and related
    statistics without extensive tables".

    Parameters
    ----------
    reference, sample
        (num_values,) each, NaN = missing: dropped.
    num_bins
        Bins of the index, at least 2; values that tie share one, so there may be fewer.
    independent
        How many independent values each side is worth, such as its dates: the rows of a date move together, and
        taken as independent every drift would be significant. None: all of them.

    Examples
    --------
    >>> found = drift([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0], num_bins=2)
    >>> round(found.distance, 2), found.psi > 0.25
    (0.5, True)
    """
    check_at_least("num_bins", num_bins, 2)
    before, after = (np.sort(_known(name, values)) for name, values in (("reference", reference), ("sample", sample)))
    if not (len(before) and len(after)):
        return Drift(psi=math.nan, distance=math.nan, p_value=math.nan)
    distance = float(_largest_distance(before, after))
    worth = (float(len(before)), float(len(after))) if independent is None else independent
    effective = worth[0] * worth[1] / (worth[0] + worth[1])
    root = math.sqrt(effective)
    return Drift(
        psi=_stability_index(before, after, num_bins),
        distance=distance,
        p_value=_kolmogorov(distance * (root + 0.12 + 0.11 / root)),
    )


def _known(name: str, values: ArrayLike) -> np.ndarray:
    array = as_series(name, values)
    return array[~np.isnan(array)]


@kernel(nogil=True)
def _largest_distance(one: Series, other: Series) -> float:
    """Return the largest distance of two distribution functions; both samples are sorted, and gone through once.

    Beyond the end of one of them the distance shrinks.
    """
    below, under, largest = 0, 0, 0.0
    while below < len(one) and under < len(other):
        value = min(one[below], other[under])
        while below < len(one) and one[below] == value:
            below += 1
        while under < len(other) and other[under] == value:
            under += 1
        largest = max(largest, abs(below / len(one) - under / len(other)))
    return largest


def _stability_index(before: np.ndarray, after: np.ndarray, num_bins: int) -> float:
    edges = np.unique(np.quantile(before, np.arange(1, num_bins) / num_bins))
    first, last = (np.searchsorted(before, edges, side=side) for side in ("left", "right"))
    # What lies above a value of many ties, such as the 0 of a flag, is another bin.
    edges = np.union1d(edges, np.nextafter(edges[(last - first) * num_bins > len(before)], np.inf))
    ends = [np.concatenate([[0], np.searchsorted(side, edges), [len(side)]]) for side in (before, after)]
    counts = np.diff(np.array(ends), axis=1)
    counts = counts[:, counts.any(axis=0)]  # between tied values a bin is empty on both sides
    p, q = np.maximum(counts, 0.5) / np.array([[len(before)], [len(after)]])
    return float(((q - p) * np.log(q / p)).sum())


def _kolmogorov(x: float) -> float:
    """Return P(K > x) of the Kolmogorov distribution: 2 sum (-1)^(k-1) exp(-2 k^2 x^2)."""
    if x < 0.2:  # the sum alternates too slowly, and 1 is right to 1e-12
        return 1.0
    total = sum((-1.0) ** (k - 1) * math.exp(-2.0 * (k * x) ** 2) for k in range(1, _MAX_TERMS))
    return min(max(2.0 * total, 0.0), 1.0)
