"""Out-of-fold stacking, nested in time: the weights of a fold see earlier folds only.

Per date every model's predictions become average ranks with mean 0 and variance 1, so that scales agree; the label is
standardised on its own scale. A meta learner (`factor_models.stacking.learners`) makes weights of what earlier folds
showed, which are drawn to equal ones as far as they are not known (`factor_models.stacking.evidence`). The first fold
learns from dates `before` all folds, such as its models' valid dates; without any it is stacked with equal weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from factor_models.stacking.choice import choose_learner
from factor_models.stacking.config import StackConfig
from factor_models.stacking.evidence import can_learn, learned_weights
from factor_models.stacking.members import Members
from factor_models.stacking.moments import Moments
from factor_models.stacking.pruning import Pruned, kept_models, prune_models

PRIOR_SCALE, LEAST_SCALE = 0.05, 0.005
"""Correlations with the label: what a fold with nothing to learn from assumes, and the least that others go by."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StackResult:
    """Outcome of `stack_oof`."""

    prediction: np.ndarray
    """(num_rows,) float64 in standard deviations of the label of a date; NaN outside folds and where no model is
    present."""
    weights: np.ndarray
    """(num_folds, num_models) float64, sizes that add up to 1; 0 for a model that is left out of the fold."""
    folds: np.ndarray
    """(num_folds,) the fold ids, ascending: the rows of `weights`."""
    num_dates: np.ndarray
    """(num_folds,) dates the weights of each fold were learned on."""
    learners: tuple[str, ...]
    """(num_folds,) the meta learner of each fold; equal where there was too little to learn from."""
    scales: np.ndarray
    """(num_folds,) factor that forecasts of variance 1 are given: their IC on the dates that taught, which makes them
    the expectation of the standardised label. It changes no order."""
    present: np.ndarray
    """(num_folds, num_models) share of the fold's stacked rows on which a model takes part."""
    pruned: tuple[Pruned, ...]
    """Models that were left out of folds as too much like another one."""


def stack_oof(
    predictions: np.ndarray,
    label: np.ndarray,
    date_code: np.ndarray,
    fold: np.ndarray,
    *,
    config: StackConfig | None = None,
    purge: int = 0,
    direction: np.ndarray | None = None,
    before: Members | None = None,
) -> StackResult:
    """Combine models on out-of-fold predictions of one label.

    Parameters
    ----------
    predictions : (num_models, num_rows), NaN = missing. A row is stacked where any model has a prediction that is not
        constant over its date, with the weights of those that have
    label : (num_rows,) realised label, NaN = unknown (such rows are predicted, not learnt from)
    date_code : (num_rows,) integer position in the calendar
    fold : (num_rows,) fold id of each out-of-fold row, ascending in time; -1 = not out of fold, never used
    config : the meta learner and its settings; None: `auto`
    purge : a row teaches fold k only if its date_code + purge lies before fold k's first date. Give delay +
        horizon, so that every label used was known before the fold began
    direction : (num_rows,) 1 up, 0 down, NaN unknown, known when the label is; needed and read where `config` learns by
        the AUC
    before : forecasts of the same models on dates before all folds that none was fitted on; they teach, and are not
        stacked

    Returns
    -------
    StackResult : the weights of fold k are a function of rows of folds < k, and of `before`, alone. That is of the past
        only where the models of those folds were: where they were trained on dates of fold k (combinatorial folds),
        take `equal`

    Raises
    ------
    ValueError : shapes differ, there is no model, purge is negative, or there is no direction to learn by

    Examples
    --------
    >>> label = np.tile([0.0, 1.0, 2.0, 3.0], 3)
    >>> stacked = stack_oof(np.stack([label, -label]), label, np.repeat([0, 1, 2], 4), np.repeat([0, 1, 2], 4))
    >>> stacked.learners, stacked.weights[0].tolist()
    (('equal', 'equal', 'equal'), [0.5, 0.5])
    """
    config = config or StackConfig()
    _check(predictions, label, date_code, fold, purge)
    if config.learn_by == "ic":
        direction = None
    elif direction is None or direction.shape != label.shape:
        raise ValueError(f"direction must be (num_rows={len(label)},), since learn_by is {config.learn_by}")
    return stack_members(Members(predictions, label, date_code, fold, direction, before), config, purge)


def stack_members(
    members: Members, config: StackConfig, purge: int, without: int | None = None, overlap: int | None = None
) -> StackResult:
    """Return `stack_oof` of members that are ranked already; `without` the member at that position, if given.

    `overlap` counts the cross-sections over which labels overlap; None: each date is one, and they are as many as
    `purge`.
    """
    num_overlapping = purge if overlap is None else overlap
    num_models = members.num_models
    wanted = np.arange(num_models) != without
    prediction = np.full(members.num_rows, np.nan)
    weights = np.zeros((len(members.folds), num_models))
    scales, counts = np.full(len(members.folds), PRIOR_SCALE), np.zeros(len(members.folds), dtype=np.int64)
    present = np.zeros_like(weights)
    learners, pruned = [], list[Pruned]()
    for place, number in enumerate(members.folds):
        teaching = members.teaching(place, purge)
        gone = _too_alike(teaching, wanted, config, int(number))
        chosen = wanted & kept_models(gone, num_models)
        taught = teaching.of_models(chosen)
        name = choose_learner(taught, config, purge, overlap) if config.weights == "auto" else config.weights
        weights[place, chosen] = learned_weights(name, taught, config, num_overlapping)
        shown = members.ics_of(weights[place], place, purge)
        counts[place] = np.isfinite(shown).sum()
        if counts[place]:
            scales[place] = max(float(np.nanmean(shown)), LEAST_SCALE)
        rows, combined = members.combine(place, weights[place], wanted)
        prediction[rows] = scales[place] * combined
        present[place] = members.shares(place, wanted)
        learners.append(name if can_learn(taught, num_overlapping) else "equal")
        pruned += gone
    return StackResult(
        prediction=prediction,
        weights=weights,
        folds=members.folds,
        num_dates=counts,
        learners=tuple(learners),
        scales=scales,
        present=present,
        pruned=tuple(pruned),
    )


def _too_alike(teaching: Moments, wanted: np.ndarray, config: StackConfig, fold: int) -> list[Pruned]:
    """Return the models that a fold goes without; none before there are dates to tell."""
    if config.prune is None or not np.isfinite(teaching.ics).any():
        return []
    places = np.flatnonzero(wanted)
    return [
        Pruned(
            fold=fold,
            model=int(places[one.model]),
            like=int(places[one.like]),
            correlation=one.correlation,
            ic=one.ic,
            like_ic=one.like_ic,
        )
        for one in prune_models(teaching.of_models(places), config.prune, fold)
    ]


def _check(predictions: np.ndarray, label: np.ndarray, date_code: np.ndarray, fold: np.ndarray, purge: int) -> None:
    if predictions.ndim != 2 or len(predictions) == 0:
        raise ValueError(f"predictions have shape {predictions.shape}: must be (num_models >= 1, num_rows)")
    for name, values in (("label", label), ("date_code", date_code), ("fold", fold)):
        if values.shape != predictions.shape[1:]:
            raise ValueError(f"{name} has shape {values.shape}: must be (num_rows={predictions.shape[1]},)")
    if purge < 0:
        raise ValueError(f"purge = {purge}: must be >= 0")
