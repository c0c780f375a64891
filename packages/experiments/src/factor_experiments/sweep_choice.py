"""Which trial of a sweep comes next, and which is stopped early: those of a list in order, or what Optuna proposes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

from factor_experiments.sweep_run import Job
from factor_experiments.sweeps import Sweep, drawn_value, trial_name

MOST_REPEATS = 50
"""Proposals one after another that were made before: then the space is taken to be used up."""
LEAST_STARTUP = 5
"""Random trials before Optuna begins to propose, and trials with folds before one is stopped, unless few are wanted."""


class Choice(Protocol):
    """The trials of a sweep as they are chosen."""

    jobs: list[Job]
    """All that were chosen so far."""

    def next(self) -> Job | None:
        """Return the next trial that is to run; None where there is none."""

    def stops(self, job: Job) -> bool:
        """Return whether a trial that runs is to be stopped, by the scores of its folds so far."""

    def ended(self, job: Job) -> None:
        """Take in how a trial has ended, with its score."""


class Listed:
    """Trials that are all known beforehand."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = list(jobs)

    def next(self) -> Job | None:
        """Return the first one that waits."""
        return next((job for job in self.jobs if job.status == "waiting"), None)

    def stops(self, job: Job) -> bool:
        """Return False: what was listed runs to its end."""
        return False

    def ended(self, job: Job) -> None:
        """Do nothing: the others do not depend on it."""


class Guided:
    """Trials that Optuna proposes, each after those that have ended: TPE, and pruning below the median of the others.

    Parameters
    ----------
    sweep
        A sweep of method optuna.
    name
        Name of the sweep, with which those of its experiments begin.
    prepare
        Called for each trial that is proposed: sets its status where it is refused, or has ended in an earlier run. The
        same seed proposes the same trials after the same results, so a sweep goes on by going through it again.
    known
        Points of an earlier run in the order in which they ended, proposed before any other: where trials ran beside
        one another, what was proposed followed from which of them ended first. Those outside the space are left out.

    ValueError where Optuna is not installed.
    """

    def __init__(
        self, sweep: Sweep, name: str, prepare: Callable[[Job], None], known: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        try:
            import optuna
        except ImportError:
            raise ValueError(
                "method optuna needs the package optuna: pip install 'optuna>=4', or 'factor-experiments[optuna]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep, self.name, self.prepare = sweep, name, prepare
        self.jobs: list[Job] = []
        self._states = optuna.trial.TrialState
        self._trials: dict[str, Any] = {}
        self._reported: dict[str, int] = {}
        self._is_used_up = False
        startup = min(LEAST_STARTUP, max(2, (sweep.trials or 0) // 3))
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(
                seed=sweep.seed, n_startup_trials=startup, multivariate=True, constant_liar=sweep.jobs > 1
            ),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=startup, n_warmup_steps=(sweep.stop_after or 1) - 1, n_min_trials=startup - 1
            ),
        )
        self._space = {key: _distribution(optuna, values) for key, values in sweep.parameters.items()}
        for point in known:
            if set(point) == set(sweep.parameters) and all(_has(sweep.parameters[key], point[key]) for key in point):
                self._study.enqueue_trial({key: _drawn(sweep.parameters[key], value) for key, value in point.items()})

    def next(self) -> Job | None:
        """Return the next trial that is to run; those that have ended before are taken in on the way."""
        repeats = MOST_REPEATS if self._is_used_up else 0
        while len(self.jobs) < (self.sweep.trials or 0) and repeats < MOST_REPEATS:
            trial = self._study.ask(self._space)
            point = {key: _value(values, trial.params[key]) for key, values in self.sweep.parameters.items()}
            job = Job(name=trial_name(self.name, point), point=point)
            if job.name in self._trials:
                repeats += 1
                self._tell(trial, next(one for one in self.jobs if one.name == job.name))
                continue
            repeats = 0
            self._trials[job.name] = trial
            self.jobs.append(job)
            self.prepare(job)
            if job.status == "waiting":
                return job
            self.ended(job)
        self._is_used_up = repeats >= MOST_REPEATS  # nothing new is proposed before another trial has ended
        return None

    def stops(self, job: Job) -> bool:
        """Return whether the mean of its folds so far is below the median of the others after as many folds."""
        self._report(job)
        if self.sweep.stop_after is None or len(job.folds) < self.sweep.stop_after:
            return False
        return bool(self._trials[job.name].should_prune())

    def ended(self, job: Job) -> None:
        """Tell Optuna the score of a trial, or that it has none."""
        self._report(job)
        self._tell(self._trials[job.name], job)
        self._is_used_up = False

    def _report(self, job: Job) -> None:
        trial, known = self._trials[job.name], self._reported.get(job.name, 0)
        for position in range(known, len(job.folds)):
            trial.report(sum(job.folds[: position + 1]) / (position + 1), position)
        self._reported[job.name] = max(known, len(job.folds))

    def _tell(self, trial: Any, job: Job) -> None:
        if job.status == "done" and math.isfinite(job.score):
            self._study.tell(trial, job.score)
        elif job.status == "stopped" and trial is self._trials[job.name]:
            self._study.tell(trial, state=self._states.PRUNED)
        else:
            self._study.tell(trial, state=self._states.FAIL)


def _distribution(optuna: Any, values: Any) -> Any:
    """Return how Optuna draws a parameter: of a list that rises its place, of another list any, of a range a number."""
    kinds = optuna.distributions
    if isinstance(values, list):
        if _rises(values):
            return kinds.IntDistribution(0, len(values) - 1)
        return kinds.CategoricalDistribution(tuple(range(len(values))))
    low, high, log = values["low"], values["high"], values.get("scale") == "log"
    if isinstance(low, int) and isinstance(high, int):
        return kinds.IntDistribution(low, high, log=log)
    return kinds.FloatDistribution(float(low), float(high), log=log)


def _rises(values: Sequence[Any]) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers and all(a < b for a, b in pairwise(values))


def _has(values: Any, value: Any) -> bool:
    return value in values if isinstance(values, list) else bool(values["low"] <= value <= values["high"])


def _drawn(values: Any, value: Any) -> Any:
    """Return what Optuna has drawn where a value is tried."""
    return values.index(value) if isinstance(values, list) else value


def _value(values: Any, drawn: Any) -> Any:
    return values[drawn] if isinstance(values, list) else drawn_value(values, drawn)
