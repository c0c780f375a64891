"""What a date says of the models: how each goes with the label, and each with each. All that weights are made of.

Models and label are standardised per date, so these are correlations; means over dates are the moments of a regression
in which every date weighs the same. A model that is absent on a date is absent (NaN) from that date's moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from factor_models.stacking.standardise import average_ranks, standardise


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Moments of consecutive dates, NaN where a model is absent."""

    dates: np.ndarray
    """(num_dates,) positions in the calendar, ascending."""
    ics: np.ndarray
    """(num_dates, num_models) correlation of each model with the label; 2 AUC - 1 where directions are learned."""
    grams: np.ndarray
    """(num_dates, num_models, num_models) mean products of the models' standardised forecasts."""

    def take(self, chosen: np.ndarray) -> Moments:
        """Return the moments of some dates: a mask or positions (num_chosen,)."""
        return Moments(dates=self.dates[chosen], ics=self.ics[chosen], grams=self.grams[chosen])

    def of_models(self, chosen: np.ndarray) -> Moments:
        """Return the moments of some models: a mask or positions (num_chosen,)."""
        return Moments(dates=self.dates, ics=self.ics[:, chosen], grams=self.grams[:, chosen][:, :, chosen])

    def mean(self, weight: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return (num_models,) mean ICs and (num_models, num_models) mean products, over the dates that have them.

        `weight` (num_dates,) is what each date counts, by default the same. A model without a date has IC 0; two models
        that share none are taken as uncorrelated.
        """
        return self._plain_mean if weight is None else self._mean(weight)

    @cached_property
    def _plain_mean(self) -> tuple[np.ndarray, np.ndarray]:
        return self._mean(np.ones(len(self.dates)))

    def _mean(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ics = _mean(self.ics, weights, np.zeros(self.ics.shape[1]))
        return ics, _mean(self.grams, weights, np.eye(len(ics)))

    def ics_of(self, weights: np.ndarray) -> np.ndarray:
        """Return (num_dates,) correlations with the label of the models combined with `weights` (num_models,).

        An absent model takes no part on its date. NaN where no model with a weight is present.
        """
        present = np.isfinite(self.ics)
        used = np.where(present, weights, 0.0)
        moment = np.sum(used * np.where(present, self.ics, 0.0), axis=1)
        variance = np.einsum("da,dab,db->d", used, np.where(np.isfinite(self.grams), self.grams, 0.0), used)
        defined = variance > 1e-12
        return np.where(defined, moment / np.sqrt(np.where(defined, variance, 1.0)), np.nan)


def date_moments(forecasts: np.ndarray, label: np.ndarray, group: np.ndarray, date_of_group: np.ndarray) -> Moments:
    """Return the moments of every group of rows: the date of a fold.

    Parameters
    ----------
    forecasts : (num_models, num_rows) standardised per group, NaN = absent
    label : (num_rows,) NaN = unknown. It is standardised here, on rows that some model forecasts; a group whose labels
        are all the same has NaN for moments
    group : (num_rows,) whole numbers 0, 1, 2 ...
    date_of_group : (num_groups,) position of each group's date in the calendar
    """
    num_groups = len(date_of_group)
    known = np.isfinite(label) & np.isfinite(forecasts).any(axis=0)
    target = standardise(np.where(known, label, np.nan).astype(np.float64), group)
    rows = np.isfinite(target)
    group, target, forecasts = group[rows], target[rows], forecasts[:, rows]
    present = np.isfinite(forecasts)
    products = np.where(present, forecasts, 0.0) * target
    ics = [_group_mean(*both, group, num_groups) for both in zip(products, present, strict=True)]
    return Moments(dates=date_of_group, ics=np.stack(ics, axis=1), grams=_grams(forecasts, group, num_groups))


def direction_moments(
    forecasts: np.ndarray, direction: np.ndarray, group: np.ndarray, date_of_group: np.ndarray
) -> Moments:
    """Return moments as `date_moments` does, with 2 AUC - 1 in the place of the IC.

    That is the mean rank of the ups less that of the downs, over half the number of rows: a moment of first order in
    the ranks, as an IC is. Ranks are taken anew among the rows whose direction is known; ties count half.

    Parameters
    ----------
    direction : (num_rows,) 1 up, 0 down, NaN unknown. A group of one class has NaN for its AUC
    """
    num_groups = len(date_of_group)
    rows = np.isfinite(direction) & np.isfinite(forecasts).any(axis=0)
    group, up = group[rows], direction[rows] > 0.0
    ranks = np.stack([average_ranks(row, group) for row in forecasts[:, rows]])
    gains = []
    for row in ranks:
        here = np.isfinite(row)
        values, count = np.where(here, row, 0.0), np.bincount(group, here, minlength=num_groups)
        lead = _group_mean(values * up, here & up, group, num_groups)
        lead -= _group_mean(values * ~up, here & ~up, group, num_groups)
        gains.append(2.0 * lead / np.maximum(count, 1))
    scaled = np.stack([standardise(row, group) for row in ranks])
    return Moments(dates=date_of_group, ics=np.stack(gains, axis=1), grams=_grams(scaled, group, num_groups))


def _grams(forecasts: np.ndarray, group: np.ndarray, num_groups: int) -> np.ndarray:
    """Return (num_groups, num_models, num_models) mean products of forecasts (num_models, num_rows), NaN = absent."""
    num_models, present = len(forecasts), np.isfinite(forecasts)
    values = np.where(present, forecasts, 0.0)
    grams = np.full((num_groups, num_models, num_models), np.nan)
    for first in range(num_models):
        for second in range(first, num_models):
            both = present[first] & present[second]
            grams[:, first, second] = _group_mean(values[first] * values[second], both, group, num_groups)
            grams[:, second, first] = grams[:, first, second]
    return grams


def _group_mean(products: np.ndarray, counted: np.ndarray, group: np.ndarray, num_groups: int) -> np.ndarray:
    total = np.bincount(group, products, minlength=num_groups)
    count = np.bincount(group, counted, minlength=num_groups)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mean(values: np.ndarray, weights: np.ndarray, without: np.ndarray) -> np.ndarray:
    weight = np.where(np.isfinite(values), weights.reshape(-1, *[1] * (values.ndim - 1)), 0.0)
    total = weight.sum(axis=0)
    mean = np.sum(weight * np.where(np.isfinite(values), values, 0.0), axis=0) / np.where(total > 0.0, total, 1.0)
    return np.where(total > 0.0, mean, without)
