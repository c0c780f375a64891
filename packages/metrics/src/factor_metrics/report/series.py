"""The arithmetic of the charts over time: rolling means, running sums, means by month."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from factor_metrics.information_coefficient.ic_decay import rolling_mean_ic

WINDOW = 60
MAX_POINTS = 1200
"""A longer series is drawn every so many dates: a page is not wider than that."""
FEW_POINTS = 400
"""Points of a running sum or an equity, which no date stands out of."""


def rolling_window(num_dates: int) -> int:
    """Return the length of the rolling mean: 60 dates, fewer where the run is short."""
    return max(1, min(WINDOW, num_dates // 3))


def rolling_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Average the last `window` numbers; NaN where fewer than half of them are there."""
    return rolling_mean_ic(values, window, _enough(window))


def rolling_error(values: NDArray[np.float64], window: int, standard_error: float) -> NDArray[np.float64]:
    """Return the standard error of each rolling mean, given that of the mean over all dates.

    The error of a mean falls with the root of the number of dates: se * sqrt(N / n). It takes the variance of the
    whole period for that of the window, which says more than one measured on sixty overlapping outcomes.
    """
    seen = _window_counts(values, window)
    num_dates = np.isfinite(values).sum()
    return np.where(seen >= _enough(window), standard_error * np.sqrt(num_dates / np.maximum(seen, 1)), np.nan)


def _window_counts(values: NDArray[np.float64], window: int) -> NDArray[np.int64]:
    """Return how many of the last `window` numbers are known."""
    count = np.concatenate([[0], np.cumsum(np.isfinite(values))])
    end = np.arange(1, len(values) + 1)
    return count[end] - count[np.maximum(end - window, 0)]


def _enough(window: int) -> int:
    return max(1, (window + 1) // 2)


def cumulative(values: NDArray[np.float64], overlap: int) -> NDArray[np.float64]:
    """Sum the spread over dates, divided by how long an outcome lasts; a missing date adds nothing."""
    real = np.isfinite(values)
    if not real.any():
        return np.full(len(values), np.nan)
    return np.cumsum(np.where(real, values, 0.0)) / max(overlap, 1)


def drawn(num_dates: int, most: int = MAX_POINTS) -> NDArray[np.int64]:
    """Return the positions that are drawn: all, or every so many, the last one always; `most` of them at most."""
    stride = max(1, -(-num_dates // most))
    return np.arange(num_dates - 1, -1, -stride, dtype=np.int64)[::-1]


def monthly_means(dates: Sequence[str], values: NDArray[np.float64]) -> dict[int, dict[int, tuple[float, int]]]:
    """Return {year: {month: (mean, number of dates)}} of ISO dates; year's own mean at month 0.

    A month without a finite value is absent.
    """
    grouped: dict[int, dict[int, list[float]]] = {}
    for date, value in zip(dates, values, strict=True):
        if np.isfinite(value):
            year = grouped.setdefault(int(date[:4]), {})
            for month in (0, int(date[5:7])):
                year.setdefault(month, []).append(float(value))
    return {
        year: {month: (float(np.mean(found)), len(found)) for month, found in months.items()}
        for year, months in grouped.items()
    }
