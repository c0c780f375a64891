"""Out-of-fold stacking, nested in time: the weights of a fold see earlier folds only.

Per date every model's predictions become average ranks with mean 0 and variance 1; the label is standardised
(mean 0, variance 1) on its own scale. A ridge regression of label on predictions, each date with the same
weight, gives the weights: minimise mean over dates of mean over symbols (y - w'z)^2 + alpha |w|^2. The idea
is Wolpert (1992), "Stacked Generalization"; the penalty is Breiman (1996), "Stacked Regressions".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize


@dataclass(frozen=True, kw_only=True)
class StackResult:
    """Outcome of `stack_oof`."""

    prediction: np.ndarray
    """(num_rows,) float64; NaN in the first fold, outside folds, and where a model is missing."""
    weights: np.ndarray
    """(num_folds, num_models) float64; NaN for a fold without earlier rows to learn from."""
    folds: np.ndarray
    """(num_folds,) the fold ids, ascending: the rows of `weights`."""
    num_rows: np.ndarray
    """(num_folds,) rows the weights of each fold were fitted on."""


def stack_oof(
    predictions: np.ndarray,
    label: np.ndarray,
    date_code: np.ndarray,
    fold: np.ndarray,
    *,
    alpha: float = 1.0,
    purge: int = 0,
    positive: bool = False,
    equal: bool = False,
) -> StackResult:
    """Combine models on out-of-fold predictions of one horizon.

    Parameters
    ----------
    predictions : (num_models, num_rows), NaN = missing. A row is stacked only where every model has a
        prediction that is not constant over the date's row set
    label : (num_rows,) realised label, NaN = unknown (such rows are predicted, not learnt from)
    date_code : (num_rows,) integer position in the calendar
    fold : (num_rows,) fold id of each out-of-fold row, ascending in time; -1 = not out of fold, never used
    alpha : ridge penalty per date, > 0
    purge : a row teaches fold k only if its date_code + purge lies before fold k's first date. Give delay +
        horizon, so that every label used was known before the fold began
    positive : weights >= 0
    equal : the same weight for every model in every fold, the first one included: nothing is learned

    Returns
    -------
    StackResult : the weights of fold k are a function of rows of folds < k alone. That is of the past only where the
        models of those folds were: where they were trained on dates of fold k (combinatorial folds), take `equal`
    """
    _check(predictions, label, date_code, fold, alpha, purge)
    ranks = rank_standardise(np.asarray(predictions, np.float64), date_code, fold)
    usable = (fold >= 0) & np.isfinite(ranks).all(axis=0)
    teachable = usable & np.isfinite(label)
    folds = np.unique(fold[fold >= 0])
    weights = np.full((len(folds), len(predictions)), np.nan)
    num_rows = np.zeros(len(folds), np.int64)
    stacked = np.full(predictions.shape[1], np.nan)
    for position, this in enumerate(folds):
        if equal:
            weights[position] = 1.0 / len(predictions)
        else:
            start = date_code[fold == this].min()
            known = teachable & (fold < this) & (date_code + purge < start)
            num_rows[position] = known.sum()
            if not known.any():
                continue
            weights[position] = _ridge(ranks[:, known], label[known], date_code[known], alpha, positive)
        here = usable & (fold == this)
        stacked[here] = _dot_in_order(weights[position], ranks[:, here])
    return StackResult(prediction=stacked, weights=weights, folds=folds, num_rows=num_rows)


def rank_standardise(values: np.ndarray, date_code: np.ndarray, fold: np.ndarray | None = None) -> np.ndarray:
    """Average ranks per date (and fold), shifted and scaled to mean 0 and variance 1.

    Parameters
    ----------
    values : (num_models, num_rows); NaN stays NaN and has no rank
    date_code, fold : (num_rows,) integers

    Returns
    -------
    (num_models, num_rows) float64; NaN for a whole date whose values are all equal: a constant carries no
    order
    """
    date = date_code.astype(np.int64) - date_code.min(initial=0)
    group = _number(date if fold is None else fold * (date.max(initial=0) + 1) + date)
    return np.stack([_standardise(_average_ranks(row, group), group) for row in values])


def _number(labels: np.ndarray) -> np.ndarray:
    """Replace labels by 0, 1, 2 ... in ascending order."""
    return np.unique(labels, return_inverse=True)[1].ravel()


def _average_ranks(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    ranks = np.full(len(values), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.lexsort((values[known], group[known]))]
    if len(order) == 0:
        return ranks
    sorted_group, sorted_value = group[order], values[order]
    new_group = np.r_[True, sorted_group[1:] != sorted_group[:-1]]
    new_tie = new_group | np.r_[True, sorted_value[1:] != sorted_value[:-1]]
    place = np.arange(len(order)) - np.flatnonzero(new_group)[np.cumsum(new_group) - 1]
    tie = np.cumsum(new_tie) - 1
    ranks[order] = (np.bincount(tie, place) / np.bincount(tie))[tie]
    return ranks


def _standardise(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 per group; NaN where a group is constant."""
    known = np.isfinite(values)
    count = np.maximum(np.bincount(group, known), 1)
    mean = (np.bincount(group, np.where(known, values, 0.0)) / count)[group]
    centred = np.where(known, values - mean, 0.0)
    deviation = np.sqrt(np.bincount(group, centred**2) / count)[group]
    usable = known & (deviation > 1e-12 * np.abs(mean))
    return np.where(usable, centred / np.where(usable, deviation, 1.0), np.nan)


def _ridge(ranks: np.ndarray, label: np.ndarray, date_code: np.ndarray, alpha: float, positive: bool) -> np.ndarray:
    """(num_models,) weights; each date weighs the same. Dates with a constant label are left out."""
    target = _standardise(label.astype(np.float64), _number(date_code))
    usable = np.isfinite(target)
    if not usable.any():
        return np.full(len(ranks), np.nan)
    group = _number(date_code[usable])
    count = np.bincount(group)
    root_weight = 1.0 / np.sqrt(count[group] * float(len(count)))
    x, y = ranks[:, usable] * root_weight, target[usable] * root_weight
    gram = np.array([[np.sum(a * b) for b in x] for a in x]) + alpha * np.eye(len(x))
    moment = np.array([np.sum(a * y) for a in x])
    if not positive:
        return scipy.linalg.solve(gram, moment, assume_a="pos")
    upper = scipy.linalg.cholesky(gram)
    return scipy.optimize.nnls(upper, scipy.linalg.solve_triangular(upper, moment, trans="T"))[0]


def _dot_in_order(weights: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    total = np.zeros(ranks.shape[1])
    for weight, row in zip(weights, ranks, strict=True):
        total += weight * row
    return total


def _check(
    predictions: np.ndarray,
    label: np.ndarray,
    date_code: np.ndarray,
    fold: np.ndarray,
    alpha: float,
    purge: int,
) -> None:
    if predictions.ndim != 2 or len(predictions) == 0:
        raise ValueError(f"predictions have shape {predictions.shape}: must be (num_models >= 1, num_rows)")
    for name, values in (("label", label), ("date_code", date_code), ("fold", fold)):
        if values.shape != predictions.shape[1:]:
            raise ValueError(f"{name} has shape {values.shape}: must be (num_rows={predictions.shape[1]},)")
    if not alpha > 0:
        raise ValueError(f"alpha = {alpha}: must be > 0")
    if purge < 0:
        raise ValueError(f"purge = {purge}: must be >= 0")
