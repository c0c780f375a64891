"""IC over time, over horizons and over delays: how long a prediction stays worth something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, Series, as_float_array, as_series, check_at_least
from factor_metrics.information_coefficient.ic import (
    checked_rows,
    mean_over_dates,
    rank_ic,
    rank_ic_by_horizon,
)
from factor_metrics.labels import same_labels


@dataclass(frozen=True, kw_only=True)
class ICDecay:
    """Rank IC at several horizons or delays."""

    steps: tuple[int, ...]
    """Horizons or delays in bars, ascending."""
    ic: Matrix
    """(num_steps, num_dates) rank IC per date, NaN where undefined."""

    @property
    def mean(self) -> Series:
        """Mean rank IC per step over the dates where it is defined, (num_steps,); NaN where there is none."""
        return mean_over_dates(self.ic)

    @property
    def num_dates(self) -> tuple[int, ...]:
        """Dates where the rank IC is defined, per step."""
        return tuple(int(count) for count in (~np.isnan(self.ic)).sum(axis=1))

    @property
    def half_life(self) -> float:
        """Bars until the mean has fallen to half of that of the first step, on straight lines between steps.

        Counted from the first step. NaN where the first mean is not positive or half is never reached.
        """
        means = self.mean
        half = means[0] / 2.0
        if not half > 0.0:
            return float("nan")
        for place in range(1, len(means)):
            if means[place] <= half:
                share = (means[place - 1] - half) / (means[place - 1] - means[place])
                width = self.steps[place] - self.steps[place - 1]
                return float(self.steps[place - 1] + share * width - self.steps[0])
        return float("nan")


@same_labels("prediction", "labels")
def horizon_decay(prediction: ArrayLike, labels: ArrayLike, horizons: Sequence[int], min_symbols: int = 10) -> ICDecay:
    """Return the rank IC of one prediction against labels of growing horizons.

    Parameters
    ----------
    prediction
        (num_dates, num_symbols).
    labels
        (num_horizons, num_dates, num_symbols): forward returns from the same entry to each horizon.
    horizons
        Bars from entry to exit of each label, ascending, each at least 1.
    """
    steps = _ascending("horizons", horizons, 1)
    labels_HDS = as_float_array("labels", labels, 3)
    if len(labels_HDS) != len(steps):
        raise ValueError(f"labels must hold one label per horizon, {len(steps)}, got {len(labels_HDS)}")
    return ICDecay(steps=steps, ic=rank_ic_by_horizon(prediction, labels_HDS, min_symbols))


@same_labels("prediction", "label")
def delay_decay(prediction: ArrayLike, label: ArrayLike, delays: Sequence[int], min_symbols: int = 10) -> ICDecay:
    """Return the rank IC of predictions that are `delays` dates old: prediction of t - delay, label of t.

    Delay 0 is `rank_ic`; later ones say what waiting costs. The first `delay` dates are NaN. Both matrices
    are (num_dates, num_symbols), delays ascending, each at least 0.
    """
    steps = _ascending("delays", delays, 0)
    prediction_DS, label_DS = checked_rows(prediction, label, min_symbols)
    ics = np.full((len(steps), len(label_DS)), np.nan)
    for place, delay in enumerate(steps):
        if delay < len(label_DS):
            old = prediction_DS[: len(label_DS) - delay]
            ics[place, delay:] = rank_ic(old, label_DS[delay:], min_symbols)
    return ICDecay(steps=steps, ic=ics)


def prediction_autocorrelation(prediction: ArrayLike, lag: int = 1, min_symbols: int = 10) -> Series:
    """Return the rank correlation of each date's prediction with that of `lag` dates before, (num_dates,).

    Near 1 = the ranking hardly moves and costs little to trade. Ranked among the symbols predicted on both
    dates; the first `lag` dates are NaN.

    Examples
    --------
    >>> prediction_autocorrelation([[1, 2, 3], [1, 2, 3], [3, 2, 1]], min_symbols=3)
    array([nan,  1., -1.])
    """
    check_at_least("lag", lag, 1)
    return delay_decay(prediction, prediction, [lag], min_symbols).ic[0]


def rolling_mean_ic(ic_series: ArrayLike, window: int, min_dates: int | None = None) -> Series:
    """Return the mean of the last `window` dates of an IC series, the present date included.

    Parameters
    ----------
    ic_series
        (num_dates,) in time order; NaN dates are left out of the mean but take their place in the window.
    window
        Dates looked back on, at least 1.
    min_dates
        Windows with fewer defined dates are NaN, so the first ones of the series are. Default: `window`
        itself.

    Examples
    --------
    >>> rolling_mean_ic([0.25, 0.75, float("nan"), 0.5], window=2, min_dates=1)
    array([0.25, 0.5 , 0.75, 0.5 ])
    """
    check_at_least("window", window, 1)
    least = window if min_dates is None else min_dates
    check_at_least("min_dates", least, 1)
    if least > window:
        raise ValueError(f"min_dates must be at most window = {window}, got {least}")
    values = as_series("ic_series", ic_series)
    padded = np.concatenate([np.full(window, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[1:]
    defined = ~np.isnan(windows)
    count = defined.sum(axis=1)
    total = np.where(defined, windows, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count >= least)


def _ascending(name: str, steps: Sequence[int], minimum: int) -> tuple[int, ...]:
    checked = tuple(steps)
    if not checked:
        raise ValueError(f"{name} must hold at least one number of bars, got none")
    for step in checked:
        check_at_least(name, step, minimum)
    if any(later <= earlier for earlier, later in pairwise(checked)):
        raise ValueError(f"{name} must be ascending, got {list(checked)}")
    return tuple(int(step) for step in checked)
