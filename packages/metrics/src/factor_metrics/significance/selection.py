"""The best of all trials, judged as what it is: the best of many. Every correction over one table of series."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import as_series, check_at_least
from factor_metrics.dispersion import no_dispersion, no_dispersion_by_date
from factor_metrics.inline import inline_html, inline_table
from factor_metrics.labels import same_labels
from factor_metrics.significance.distributions import moments
from factor_metrics.significance.mean_test import mean_test
from factor_metrics.significance.multiple_testing import adjusted_p_values
from factor_metrics.significance.superior_ability import superior_predictive_ability
from factor_metrics.significance.trials import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    probability_of_backtest_overfitting,
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One experiment that was looked at, on the dates that all of them share."""

    name: str
    """As given."""
    mean: float
    """Mean over dates (of the IC, or of the return)."""
    sharpe: float
    """mean / standard deviation per date; for ICs this is the ICIR."""
    t_stat: float
    """t of the mean, see `mean_test`; NaN where the dates are too few."""
    p_value: float
    """Two-sided, of this trial alone."""
    adjusted_p_value: float
    """Benjamini-Hochberg over all trials."""
    effective_dates: float
    """Independent dates that would give the mean the same error."""


@dataclass(frozen=True, kw_only=True)
class TrialSelection:
    """Significance of the best of all trials, given that all of them were looked at. NaN = undefined."""

    trials: tuple[Trial, ...]
    """All trials, highest Sharpe ratio first."""
    best: str
    """Name of the first."""
    deflated_sharpe: float
    """Probability that the best trial is truly positive, see `deflated_sharpe_ratio`."""
    expected_maximum_sharpe: float
    """Sharpe ratio that the best of as many trials without skill is expected to show."""
    probability_of_overfitting: float
    """See `probability_of_backtest_overfitting`; NaN with one trial or too few dates."""
    superior_p_value: float
    """p-value of the hypothesis "no trial is better than the benchmark", see `superior_predictive_ability`."""
    num_trials: int
    """Number of looks that were counted."""
    num_dates: int
    """Dates on which every trial has a value."""

    def _repr_html_(self) -> str:
        facts = {
            "best": self.best,
            "of looks": self.num_trials,
            "deflated Sharpe ratio": self.deflated_sharpe,
            "probability of overfitting": self.probability_of_overfitting,
            "p of superior ability": self.superior_p_value,
            "dates": self.num_dates,
        }
        columns = ["trial", "mean", "Sharpe", "t", "p", "adjusted p"]
        rows = [[one.name, one.mean, one.sharpe, one.t_stat, one.p_value, one.adjusted_p_value] for one in self.trials]
        return inline_html("TrialSelection", facts, inline_table(columns, rows))


@same_labels("series", "benchmark")
def judge_trials(
    series: Mapping[str, ArrayLike],
    horizon: int = 1,
    *,
    benchmark: ArrayLike | None = None,
    num_trials: int | None = None,
    num_blocks: int = 16,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> TrialSelection:
    """Return the best of all trials with every correction for having looked at all of them.

    Overlapping labels of horizon h leave T / h independent dates (the variance of a mean of h-fold overlapping
    sums is h times that of independent ones): the deflated Sharpe ratio counts those.

    Parameters
    ----------
    series
        Per trial (num_dates,) rank IC or return over the same dates. NaN dates of any trial are dropped for all.
    horizon
        Bars from entry to exit of the label.
    benchmark
        (num_dates,) of the best floor or the market for the superior ability test; default 0.
    num_trials
        Looks to be counted, where more were made than have a series here; default their number.
    num_blocks
        Blocks of dates for the probability of backtest overfitting.
    num_bootstrap, seed
        Resamples of the superior ability test and their seed.

    Raises
    ------
    ValueError
        No trial; lengths differ; fewer than two common dates; a trial is constant on them.
    """
    names = list(series)
    looks = len(names) if num_trials is None else num_trials
    check_at_least("num_trials", looks, len(names))
    values, reference = _on_common_dates(series, benchmark)
    num_dates = len(values)
    sharpe = values.mean(axis=0) / values.std(axis=0, ddof=1)
    trials_std = float(sharpe.std(ddof=1)) if len(names) > 1 else 0.0
    order = np.argsort(-sharpe, kind="stable")
    best = int(order[0])
    return TrialSelection(
        trials=_ranked(names, values, sharpe, order, horizon),
        best=names[best],
        deflated_sharpe=deflated_sharpe_ratio(
            float(sharpe[best]), max(num_dates // horizon, 2), looks, trials_std, *moments(values[:, best])
        ),
        expected_maximum_sharpe=expected_maximum_sharpe(looks, trials_std),
        probability_of_overfitting=_overfitting(values, num_blocks),
        superior_p_value=_superior(values - reference[:, None], horizon, num_bootstrap, seed),
        num_trials=looks,
        num_dates=num_dates,
    )


def _on_common_dates(series: Mapping[str, ArrayLike], benchmark: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """(num_dates, num_trials) and the benchmark on the dates where all are known."""
    if not series:
        raise ValueError("series must name at least one trial, got none")
    names = list(series)
    columns = [as_series(name, values) for name, values in series.items()]
    reference = np.zeros(len(columns[0])) if benchmark is None else as_series("benchmark", benchmark)
    for name, column in zip([*names, "benchmark"], [*columns, reference], strict=True):
        if len(column) != len(columns[0]):
            raise ValueError(f"{name} has {len(column)} dates, {names[0]} has {len(columns[0])}")
    values = np.column_stack([*columns, reference])
    values = values[~np.isnan(values).any(axis=1)]
    values, reference = values[:, :-1], values[:, -1]
    if len(values) < 2:
        raise ValueError(f"series must share at least 2 dates on which all are known, got {len(values)}")
    constant = [name for name, column in zip(names, values.T, strict=True) if no_dispersion(column)]
    if constant:
        raise ValueError(f"{len(constant)} trial(s) are constant on the common dates: {', '.join(constant[:3])}")
    return values, reference


def _ranked(
    names: list[str], values: np.ndarray, sharpe: np.ndarray, order: np.ndarray, horizon: int
) -> tuple[Trial, ...]:
    tests = [mean_test(column, horizon) for column in values.T]
    adjusted = adjusted_p_values([test.p_value for test in tests])
    return tuple(
        Trial(
            name=names[index],
            mean=tests[index].mean,
            sharpe=float(sharpe[index]),
            t_stat=tests[index].t_stat,
            p_value=tests[index].p_value,
            adjusted_p_value=float(adjusted[index]),
            effective_dates=tests[index].effective_dates,
        )
        for index in map(int, order)
    )


def _overfitting(values: np.ndarray, num_blocks: int) -> float:
    num_dates, num_trials = values.shape
    if num_trials < 2 or num_dates < 2 * num_blocks:
        return math.nan
    return probability_of_backtest_overfitting(values, num_blocks)


def _superior(differences: np.ndarray, horizon: int, num_bootstrap: int, seed: int) -> float:
    """NaN where a trial equals the benchmark up to a constant, or with fewer dates than two blocks."""
    if len(differences) < max(4, 2 * horizon) or no_dispersion_by_date(differences.T, scale=1.0).any():
        return math.nan
    return superior_predictive_ability(differences, horizon, num_bootstrap, seed).p_value
