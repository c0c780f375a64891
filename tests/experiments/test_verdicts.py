"""The verdict over many sweeps of 20 trials: rank ICs are drawn, dependent as those of overlapping labels are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments_samples import DATES
from factor_experiments.ledger import Trial
from factor_experiments.series import Series
from factor_experiments.trials import Verdict, judge_label

SEEDS, NUM_TRIALS, NUM_DATES, OVERLAP = 30, 20, 400, 5


def rank_ics(seed: int, together: float, best: float) -> NDArray[np.float64]:
    """(num_dates, num_trials) with a share that all have in common; the last trial has the mean `best`."""
    generator = np.random.default_rng(seed)
    shocks = generator.normal(size=(NUM_DATES + OVERLAP, NUM_TRIALS + 1))
    sums = np.cumsum(shocks, axis=0)
    values = (sums[OVERLAP:] - sums[:-OVERLAP]) / np.sqrt(OVERLAP)
    mixed = np.sqrt(together) * values[:, :1] + np.sqrt(1.0 - together) * values[:, 1:]
    mixed = 0.1 * mixed
    mixed[:, -1] += best
    return mixed


def verdicts(together: float, best: float) -> list[Verdict]:
    found = []
    for seed in range(SEEDS):
        values = rank_ics(seed, together, best)
        trials = [
            Trial(
                name=f"trial{number}",
                table=str(number),
                time=f"2026-01-01T00:{number:02d}:00+00:00",
                series={"h5": Series(dates=DATES.astype("datetime64[ns]"), overlap=OVERLAP, rank_ic=column)},
            )
            for number, column in enumerate(values.T)
        ]
        names = {trial.id: trial.name for trial in trials}
        found.append(judge_label(trials, names, "h5", trials[0], num_bootstrap=500, seed=seed))
    return found


def above_zero(one: Verdict) -> bool:
    return one.rank_ic > 0.0 and one.naive_p_value / 2.0 <= 0.05


def test_without_a_signal_the_naive_best_looks_significant_and_does_not_survive() -> None:
    found = verdicts(together=0.0, best=0.0)
    assert np.mean([above_zero(one) for one in found]) > 0.5
    assert np.mean([one.finding == "survives" for one in found]) <= 0.10
    assert {one.effective_trials for one in found} == {NUM_TRIALS}


@pytest.mark.parametrize("together", [0.3, 0.6, 0.9])
def test_trials_that_go_together_do_not_survive_either(together: float) -> None:
    found = verdicts(together=together, best=0.0)
    assert np.mean([one.finding == "survives" for one in found]) <= 0.10


def test_a_true_signal_among_twenty_is_found() -> None:
    found = verdicts(together=0.3, best=0.06)
    assert np.mean([one.finding == "survives" and one.best == "trial19" for one in found]) >= 0.80
