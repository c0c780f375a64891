"""What a date says of the models: how each goes with the label, and each with each. All that weights are made of.

Models and label are standardised per date, so these are correlations; means over dates are the moments of a regression
in which every date weighs the same. A model that is absent on a date is absent (NaN) from that date's moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from factor_models.stacking.grid import column_counts, column_products, column_ranks, standardised_columns


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
    def definite_gram(self) -> np.ndarray:
        """(num_models, num_models) mean products over all dates without negative eigenvalues (`definite`)."""
        return definite(self._plain_mean[1])

    @cached_property
    def _plain_mean(self) -> tuple[np.ndarray, np.ndarray]:
        return self._mean(None)

    def _mean(self, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
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


def date_moments(values: np.ndarray, present: np.ndarray, label: np.ndarray, dates: np.ndarray) -> Moments:
    """Return the moments of every group of rows: the date of a fold.

    Parameters
    ----------
    values : (num_models, num_places, num_groups) forecasts standardised per group, 0 = absent
    present : of the same shape, whether they are there
    label : (num_places, num_groups) NaN = unknown. It is standardised here, on rows that some model forecasts; a group
        whose labels are all the same has NaN for moments
    dates : (num_groups,) position of each group's date in the calendar
    """
    known = np.isfinite(label) & present.any(axis=0)
    target = standardised_columns(np.where(known, label, np.nan).astype(np.float64))
    rows = np.isfinite(target)
    there = _on_rows(present, rows)
    target = np.where(rows, target, 0.0)
    counts = _Counts(there)
    ics = [counts.mean(column_products(row, target), place, place) for place, row in enumerate(values)]
    return Moments(dates=dates, ics=np.stack(ics, axis=1), grams=_grams(values, rows, counts))


def direction_moments(values: np.ndarray, present: np.ndarray, direction: np.ndarray, dates: np.ndarray) -> Moments:
    """Return moments as `date_moments` does, with 2 AUC - 1 in the place of the IC.

    That is the mean rank of the ups less that of the downs, over half the number of rows: a moment of first order in
    the ranks, as an IC is. Ranks are taken anew among the rows whose direction is known; ties count half.

    Parameters
    ----------
    direction : (num_places, num_groups) 1 up, 0 down, NaN unknown. A group of one class has NaN for its AUC
    """
    rows = np.isfinite(direction) & present.any(axis=0)
    up, there = direction > 0.0, _on_rows(present, rows)
    gains, scaled = [], []
    for row, here in zip(values, there, strict=True):
        ranks = column_ranks(np.where(here, row, np.nan).T)
        numbers = np.where(here, ranks, 0.0)
        lead = _mean_of(column_products(numbers, up), column_counts(here & up))
        lead -= _mean_of(column_products(numbers, ~up), column_counts(here & ~up))
        gains.append(2.0 * lead / np.maximum(column_counts(here), 1))
        scaled.append(standardised_columns(ranks))
    tells = np.isfinite(np.stack(scaled))
    filled = np.where(tells, np.stack(scaled), 0.0)
    return Moments(dates=dates, ics=np.stack(gains, axis=1), grams=_grams(filled, rows, _Counts(tells)))


def joined(parts: Sequence[Moments]) -> Moments:
    """Return the moments of groups that follow each other."""
    return Moments(
        dates=np.concatenate([one.dates for one in parts]),
        ics=np.concatenate([one.ics for one in parts]),
        grams=np.concatenate([one.grams for one in parts]),
    )


class _Counts:
    """On how many rows of each group two models are both there; counted once for models that are there alike."""

    def __init__(self, there: np.ndarray) -> None:
        self.there = there
        self.alike = [next(at for at, other in enumerate(there) if np.array_equal(one, other)) for one in there]
        self.found: dict[tuple[int, int], np.ndarray] = {}

    def mean(self, total: np.ndarray, first: int, second: int) -> np.ndarray:
        """Return (num_groups,) sums over the rows of two models divided by their number; NaN without any."""
        key = self.alike[first], self.alike[second]
        if key not in self.found:
            self.found[key] = column_counts(self.there[key[0]] & self.there[key[1]])
        return _mean_of(total, self.found[key])


def _on_rows(present: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return present if rows.all() else present & rows


def _mean_of(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _grams(values: np.ndarray, rows: np.ndarray, counts: _Counts) -> np.ndarray:
    """Return (num_groups, num_models, num_models) mean products of forecasts, 0 = absent, on these rows."""
    num_models = len(values)
    grams = np.full((values.shape[2], num_models, num_models), np.nan)
    seen = values if rows.all() else np.where(rows, values, 0.0)
    for first in range(num_models):
        for second in range(first, num_models):
            grams[:, first, second] = counts.mean(column_products(seen[first], seen[second]), first, second)
            grams[:, second, first] = grams[:, first, second]
    return grams


def definite(gram: np.ndarray) -> np.ndarray:
    """Return the nearest matrix without negative eigenvalues: means over unlike sets of dates may have some."""
    values, vectors = np.linalg.eigh(gram)
    return gram if values[0] >= 0.0 else (vectors * np.maximum(values, 0.0)) @ vectors.T


def _mean(values: np.ndarray, weights: np.ndarray | None, without: np.ndarray) -> np.ndarray:
    """Return the mean over dates, weighted where there are weights; `without` where no date is known."""
    known = np.isfinite(values)
    filled = values if known.all() else np.where(known, values, 0.0)
    if weights is None:
        total, whole = known.sum(axis=0).astype(np.float64), filled.sum(axis=0)
    else:
        weight = np.where(known, weights.reshape(-1, *[1] * (values.ndim - 1)), 0.0)
        total, whole = weight.sum(axis=0), (weight * filled).sum(axis=0)
    return np.where(total > 0.0, whole / np.where(total > 0.0, total, 1.0), without)
