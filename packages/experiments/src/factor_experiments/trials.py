"""What the best of all trials is worth, given that all of them were looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from factor_experiments.gathering import Gathered
from factor_experiments.layout import STACK
from factor_experiments.ledger import Trial
from factor_metrics import (
    TrialSelection,
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    judge_trials,
    mean_test,
    reality_check,
    superior_predictive_ability,
    to_json_safe,
)
from factor_metrics.significance.distributions import moments

SHARE = 0.8
"""Share of the judged dates that a trial must have to be judged on them."""
ALIKE = 0.5
"""Average correlation of daily rank ICs from which trials count as one look."""
LEVEL = 0.05
ENOUGH = 0.95
"""Deflated Sharpe ratio that is demanded."""
LEAST_DISPERSION = 1e-12
MOST_DRAWS = 20_000
"""Draws of the bootstrap at most."""

Finding = Literal["survives", "luck", "undefined"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """The best of all trials of one label, with every correction. NaN = undefined."""

    label: str
    finding: Finding
    """survives: corrected p at most 5 % and deflated Sharpe ratio at least .95; luck; or undefined."""
    sentence: str
    best: str
    """Name of the best trial, by the ratio of mean and standard deviation of its daily rank IC."""
    rank_ic: float
    """Its mean rank IC on the judged dates."""
    naive_p_value: float
    """Its two-sided p, as if it were the only trial."""
    corrected_p_value: float
    """One-sided p of "no trial is better than nothing": Hansen's test over all judged trials, Sidak beyond them."""
    deflated_sharpe: float
    """Probability that the best is truly positive, with the effective number of trials."""
    overfitting: float
    """Probability of backtest overfitting."""
    floor_p_value: float
    """p of "no trial is better than the best floor" (Hansen)."""
    reality_check_p_value: float
    """The same by White's reality check."""
    luck: float
    """Mean rank IC that the best of as many trials without skill is expected to show."""
    num_trials: int
    """Trials of this label that count as looks."""
    effective_trials: float
    """Looks that they are worth: clusters of the judged ones, and every other one by itself."""
    num_judged: int
    """Trials that have the judged dates."""
    num_partial: int
    """Trials with some of these dates, and those that cannot vary: counted, each as a look by itself."""
    num_bare: int
    """Trials whose series are lost: counted, each as a look by itself."""
    num_elsewhere: int
    """Trials on other dates alone: no look at these ones, not counted."""
    num_dates: int
    """Dates on which every judged trial has a rank IC."""
    selection: TrialSelection | None
    """Every judged trial, best first; None where none can be judged."""
    path: Mapping[str, Sequence[Any]]
    """By trial in the order of time: `time`, `name`, `rank_ic`, `best` so far, `luck` of so many."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return {name: to_json_safe(getattr(self, name)) for name in self.__dataclass_fields__}


def judge(gathered: Gathered, label: str | None = None, *, num_bootstrap: int = 2000, seed: int = 0) -> Verdict:
    """Return what the best of all trials of a label is worth, by default of the first label of the working tree.

    Judged are the dates of the working tree's stack (else of its first model, else of the newest trial), and on them
    every trial that has at least 80 % of them. ValueError where no trial has the label.
    """
    reference = _reference(gathered)
    if label is None:
        label = next(iter(reference.series or {}))
    return judge_label(gathered.trials, gathered.names, label, reference, num_bootstrap=num_bootstrap, seed=seed)


def _reference(gathered: Gathered) -> Trial:
    known = [trial for trial in gathered.trials if trial.series]
    if not known:
        raise ValueError(f"none of {len(gathered.trials)} trials has series that can be judged")
    current = [trial for trial in known if trial.id in gathered.current]
    stacks = [trial for trial in current if trial.name == STACK]
    return (stacks or current[:1] or known)[-1]


def judge_label(
    trials: Sequence[Trial],
    names: Mapping[str, str],
    label: str,
    reference: Trial,
    *,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> Verdict:
    """Return the verdict over the dates of `reference`; see `judge`."""
    chosen = (reference.series or {}).get(label)
    if chosen is None:
        raise ValueError(f"label {label!r} is not in {names[reference.id]}: it has {', '.join(reference.series or {})}")
    dates = chosen.dates[np.isfinite(chosen.rank_ic)]
    if not len(dates):
        raise ValueError(
            f"{names[reference.id]} has no rank IC of {label} on any date, so no trial can be judged by it"
        )
    judged, partial, elsewhere = _sorted_out(trials, label, dates)
    if not judged:
        raise ValueError(f"the rank IC of {label} does not vary in {names[reference.id]}, so no trial can be judged")
    bare = [trial for trial in trials if trial.series is None]
    values = np.column_stack([trial.series[label].on(dates) for trial in judged if trial.series])
    common = np.isfinite(values).all(axis=1)
    values, overlap = values[common], chosen.overlap
    if not len(values):
        raise ValueError(
            f"the {len(judged)} trials with at least {SHARE:.0%} of the {len(dates)} dates of {names[reference.id]} "
            f"have a rank IC of {label} on no date in common, so they cannot be judged together"
        )
    beyond = len(partial) + len(bare)
    groups = clusters(values)
    num_groups = len(np.unique(groups))
    effective = num_groups + beyond
    # Draws bound the smallest p from below: looks beyond the judged ones need more of them.
    num_bootstrap = min(MOST_DRAWS, num_bootstrap * math.ceil(effective / max(num_groups, 1)))
    series = {names[trial.id]: column for trial, column in zip(judged, values.T, strict=True)}
    selection = judge_trials(series, overlap, num_trials=len(judged) + beyond, num_bootstrap=num_bootstrap, seed=seed)
    best, top = selection.trials[0], series[selection.best]
    sharpes = [one.sharpe for one in selection.trials]
    spread = float(np.std(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
    deflated = deflated_sharpe_ratio(
        best.sharpe, max(len(values) // overlap, 2), max(round(effective), 1), spread, *moments(top)
    )
    corrected = beyond_judged(selection.superior_p_value, effective, num_groups)
    errors = np.array([mean_test(column, overlap).standard_error for column in values.T])
    beside = _beside_floors(judged, label, dates[common], values)
    floor = _superior(beside, overlap, num_bootstrap, seed)
    path = _path(judged, names, values, groups, errors, [trial.time for trial in (*partial, *bare)])
    verdict = Verdict(
        label=label,
        finding=_finding(best.mean, corrected, deflated),
        sentence="",
        best=best.name,
        rank_ic=best.mean,
        naive_p_value=best.p_value,
        corrected_p_value=corrected,
        deflated_sharpe=deflated,
        overfitting=selection.probability_of_overfitting,
        floor_p_value=floor[0],
        reality_check_p_value=floor[1],
        luck=luck_of(effective, errors),
        num_trials=len(judged) + beyond,
        effective_trials=effective,
        num_judged=len(judged),
        num_partial=len(partial),
        num_bare=len(bare),
        num_elsewhere=len(elsewhere),
        num_dates=len(values),
        selection=selection,
        path=path,
    )
    return _with_sentence(verdict)


def _sorted_out(
    trials: Sequence[Trial], label: str, dates: NDArray[np.datetime64]
) -> tuple[list[Trial], list[Trial], list[Trial]]:
    """Return the trials of a label that have the dates, that have some of them or are constant, and that have none."""
    judged, partial, elsewhere = [], [], []
    for trial in trials:
        if not trial.series or label not in trial.series:
            continue
        values = trial.series[label].on(dates)
        known = values[np.isfinite(values)]
        if not len(known):
            elsewhere.append(trial)
        elif len(known) >= SHARE * len(dates) and float(np.ptp(known)) > LEAST_DISPERSION:
            judged.append(trial)
        else:
            partial.append(trial)
    return judged, partial, elsewhere


def clusters(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number (from 1) of each trial's group: those whose daily rank ICs (num_dates, num_trials) go together.

    Average linkage over 1 - correlation, cut where groups correlate by less than .5 on average. Negative correlation
    keeps apart.
    """
    num_trials = values.shape[1]
    if num_trials < 2:
        return np.ones(num_trials, dtype=np.int64)
    distance = np.clip(1.0 - np.corrcoef(values.T), 0.0, 2.0)
    np.fill_diagonal(distance, 0.0)
    groups = fcluster(linkage(squareform(distance, checks=False), "average"), 1.0 - ALIKE, "distance")
    return groups.astype(np.int64)


def beyond_judged(p_value: float, effective: float, judged: float) -> float:
    """Return a p over `judged` looks as one over `effective` looks: 1 - (1 - p)^(effective / judged), after Sidak."""
    return 1.0 - (1.0 - p_value) ** (effective / judged) if judged else math.nan


def luck_of(effective: float, errors: NDArray[np.float64]) -> float:
    """Return the mean rank IC expected of the best of so many trials without skill; `errors` are those of the means."""
    known = errors[np.isfinite(errors)]
    if not len(known):
        return math.nan
    return expected_maximum_sharpe(max(round(effective), 1), float(np.median(known)))


def _beside_floors(
    judged: Sequence[Trial], label: str, dates: NDArray[np.datetime64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (num_dates, num_trials) of rank IC less that of the best floor, of the trials that have one."""
    columns = []
    for trial, column in zip(judged, values.T, strict=True):
        floor = trial.series[label].floor_on(dates) if trial.series else None
        if floor is not None and np.isfinite(floor).any():
            columns.append(column - floor)
    if not columns:
        return np.empty((0, 0))
    beside = np.column_stack(columns)
    return beside[np.isfinite(beside).all(axis=1)]


def _superior(beside: NDArray[np.float64], overlap: int, num_bootstrap: int, seed: int) -> tuple[float, float]:
    """Return p by Hansen's test and by the reality check; NaN with too few dates, or where nothing varies."""
    varies = beside.size and (np.ptp(beside, axis=0) > LEAST_DISPERSION).all()
    if not varies or len(beside) < max(4, 2 * overlap):
        return math.nan, math.nan
    hansen = superior_predictive_ability(beside, overlap, num_bootstrap, seed).p_value
    return hansen, reality_check(beside, overlap, num_bootstrap, seed).p_value


def _path(
    judged: Sequence[Trial],
    names: Mapping[str, str],
    values: NDArray[np.float64],
    groups: NDArray[np.int64],
    errors: NDArray[np.float64],
    beyond: Sequence[str],
) -> dict[str, list[Any]]:
    """Return the best so far against what luck would give, trial by trial in the order of time.

    Luck is that of the groups that had a trial by then, and of the looks that cannot be judged, made at `beyond`.
    """
    means = values.mean(axis=0)
    first = np.unique(groups, return_index=True)[1]
    seen = np.isin(np.arange(len(groups)), first).cumsum()
    return {
        "time": [trial.time for trial in judged],
        "name": [names[trial.id] for trial in judged],
        "rank_ic": means.tolist(),
        "best": np.maximum.accumulate(means).tolist(),
        "luck": [
            luck_of(count + sum(time <= trial.time for time in beyond), errors)
            for count, trial in zip(seen.tolist(), judged, strict=True)
        ],
    }


def _finding(rank_ic: float, corrected: float, deflated: float) -> Finding:
    if not math.isfinite(corrected) or not math.isfinite(deflated):
        return "undefined"
    return "survives" if rank_ic > 0.0 and corrected <= LEVEL and deflated >= ENOUGH else "luck"


def _with_sentence(found: Verdict) -> Verdict:
    looked = f"Of {found.num_trials} trials, worth {found.effective_trials:.0f} looks, the best at {found.label}"
    told = f"{looked}, {found.best}, has a rank IC of {found.rank_ic:+.4f}"
    numbers = f"corrected p {_p(found.corrected_p_value)}, deflated Sharpe {found.deflated_sharpe:.2f}"
    if math.isfinite(found.overfitting):
        numbers += f", probability of overfitting {found.overfitting:.2f}"
    luck = f"luck alone would show {found.luck:+.4f}"
    if found.finding == "undefined":
        sentence = f"{told}: {found.num_dates} dates are too few to say what it is worth."
    elif found.finding == "luck":
        sentence = f"{told} and does not survive the number of looks ({numbers}); {luck}."
    else:
        sentence = f"{told} and survives ({numbers}); {luck}{_floor_words(found.floor_p_value)}."
    return Verdict(**{**{name: getattr(found, name) for name in found.__dataclass_fields__}, "sentence": sentence})


def _floor_words(p_value: float) -> str:
    if not math.isfinite(p_value):
        return ""
    verb = "it beats" if p_value <= LEVEL else "it is not proven to beat"
    return f"; {verb} the best floor (p {_p(p_value)})"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
