"""What a date says of the models: how each goes with the label, and each with each. All that weights are made of.

Models and label are standardised per date, so these are correlations; means over dates are the moments of a regression
in which every date weighs the same. A model that is absent on a date is absent (NaN) from that date's moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from factor_models.stacking.standardise import standardise


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Moments of consecutive dates, NaN where a model is absent."""

    dates: np.ndarray
    """(num_dates,) positions in the calendar, ascending."""
    ics: np.ndarray
    """(num_dates, num_models) correlation of each model with the label."""
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
        weights = np.ones(len(self.dates)) if weight is None else weight
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
    num_models, num_groups = len(forecasts), len(date_of_group)
    known = np.isfinite(label) & np.isfinite(forecasts).any(axis=0)
    target = standardise(np.where(known, label, np.nan).astype(np.float64), group)
    rows = np.isfinite(target)
    group, target = group[rows], target[rows]
    present = np.isfinite(forecasts[:, rows])
    values = np.where(present, forecasts[:, rows], 0.0)
    ics = np.full((num_groups, num_models), np.nan)
    grams = np.full((num_groups, num_models, num_models), np.nan)
    for first in range(num_models):
        ics[:, first] = _group_mean(values[first] * target, present[first], group, num_groups)
        for second in range(first, num_models):
            both = present[first] & present[second]
            grams[:, first, second] = _group_mean(values[first] * values[second], both, group, num_groups)
            grams[:, second, first] = grams[:, first, second]
    return Moments(dates=date_of_group, ics=ics, grams=grams)


def _group_mean(products: np.ndarray, counted: np.ndarray, group: np.ndarray, num_groups: int) -> np.ndarray:
    total = np.bincount(group, products, minlength=num_groups)
    count = np.bincount(group, counted, minlength=num_groups)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mean(values: np.ndarray, weights: np.ndarray, without: np.ndarray) -> np.ndarray:
    weight = np.where(np.isfinite(values), weights.reshape(-1, *[1] * (values.ndim - 1)), 0.0)
    total = weight.sum(axis=0)
    mean = np.sum(weight * np.where(np.isfinite(values), values, 0.0), axis=0) / np.where(total > 0.0, total, 1.0)
    return np.where(total > 0.0, mean, without)
