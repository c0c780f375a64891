"""A stack of forecasts that are compared over time, and its gates in terms of the AUC.

Weights are learned on blocks of earlier folds, as on dates elsewhere. They are applied to forecasts less the mean and
over the deviation of the same model's forecasts on the valid dates of the same fold: nothing of the test dates scales
a forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore
from factor_metrics import Gate, GateConfig, constant_dates, rank_ic
from factor_models import Members, StackConfig, StackResult, combine_levels, stack_members
from stages.judging.members import members_of
from stages.judging.time_series import View
from stages.predictions import OutOfFold


class StackOverTime:
    """Models of one label on their test dates, to be combined.

    `forecasts` (num_models, num_dates, num_symbols), `outcome` and, where weights are learned by the AUC, `direction`
    are on `dates`, which `view` puts into blocks; what is `before` teaches (`lessons_before`).
    """

    def __init__(
        self,
        label: str,
        models: Mapping[str, OutOfFold],
        forecasts: NDArray,
        outcome: NDArray,
        dates: NDArray[np.datetime64],
        view: View,
        store: FeatureStore,
        direction: NDArray | None = None,
        before: Members | None = None,
    ) -> None:
        assert view.point_of_date is not None
        last, self.outcome = view.last_places(len(dates)), view(outcome)
        first = np.append(0, last[:-1] + 1)
        begun, ended = (np.searchsorted(store.dates, dates[place]) for place in (first, last))
        self.view, self.fold_of_date = view, view.fold[view.point_of_date]
        self.members = members_of(view, dates, forecasts, outcome, direction, store, before)
        # A block is dated by its last date, so a fold begins up to a block before the date of its first one; a block
        # reaches over the dates in it that nobody forecasts.
        self.purge = store.dates_ahead(label) + int((ended - begun).max())
        self.overlap = view.overlap(store.dates_ahead(label))
        self.forecasts, self.names, folds = forecasts, tuple(models), np.unique(self.fold_of_date)
        found = np.array([[level_on_valid(model, label, int(fold)) for fold in folds] for model in models.values()])
        self.level_of_fold = found  # (num_models, num_folds, 2)
        self.level_of_date = found[:, np.searchsorted(folds, self.fold_of_date)]

    def stack(self, config: StackConfig, without: int | None = None) -> StackResult:
        """Return the stack, of all models but the one at `without`; predictions are (num_dates * num_symbols,).

        They are above 0 where models say more than on their valid dates.
        """
        learned = stack_members(self.members, config, self.purge, without=without, overlap=self.overlap)
        weights = learned.weights[np.searchsorted(learned.folds, self.fold_of_date)].T
        kept = np.arange(len(self.forecasts)) != without
        num_symbols = self.forecasts.shape[2]
        means, deviations = (np.repeat(self.level_of_date[kept, :, place], num_symbols, axis=1) for place in (0, 1))
        flat = self.forecasts[kept].reshape(int(kept.sum()), -1)
        combined = combine_levels(flat, np.repeat(weights[kept], num_symbols, axis=1), means, deviations)
        return replace(learned, prediction=combined)

    @property
    def last_levels(self) -> dict[str, tuple[float, float]]:
        """Mean and deviation of each model's forecasts on the valid dates of the last fold."""
        last = self.level_of_fold[:, -1].tolist()
        return {name: (mean, deviation) for name, (mean, deviation) in zip(self.names, last, strict=True)}

    def rank_ics_without(self, config: StackConfig, min_symbols: int) -> NDArray[np.float64]:
        """Return (num_models, num_blocks) rank IC of the stack without each model; NaN where there is no other."""
        num_models, num_dates = len(self.forecasts), len(self.fold_of_date)
        if num_models == 1:
            return np.full((1, len(self.outcome)), np.nan)
        others = (self.stack(config, without=place).prediction.reshape(num_dates, -1) for place in range(num_models))
        return np.stack([rank_ic(self.view(one), self.outcome, min_symbols) for one in others])


def level_on_valid(model: OutOfFold, label: str, fold: int) -> tuple[float, float]:
    """Mean and deviation of a model's forecasts on the valid dates of a fold; NaN and 0 where it has none.

    Forecasts that are all the same up to rounding have a deviation of 0: to divide by rounding would drown the others.
    """
    valid = model.matrix(label, "valid", fold).astype(np.float64)
    valid = valid[np.isfinite(valid)]
    if not len(valid):
        return float("nan"), 0.0
    constant = bool(constant_dates(valid[None], np.float32)[0])
    return float(valid.mean()), 0.0 if constant else float(valid.std())


def auc_gates(
    scores: Mapping[str, float], gaps: Mapping[str, float], label: str, config: GateConfig
) -> tuple[Gate, ...]:
    """Return what a stack that is scored over time has to show in terms of the AUC.

    `scores` are its `pooled_scores`, `gaps` per model the valid less the test AUC, NaN where one is unknown.
    """
    opposite = scores["opposite_auc"]
    floor = max(0.5, opposite) if np.isfinite(opposite) else 0.5
    sizes = {name: abs(gap) if np.isfinite(gap) else np.inf for name, gap in gaps.items()}
    worst = max(sizes, key=lambda name: sizes[name])
    gap = abs(gaps[worst])
    return (
        Gate(
            name="auc_interval",
            passed=bool(scores["auc_low"] > floor),
            value=float(scores["auc_low"]),
            threshold=float(floor),
            rule=f"the interval of the stack's AUC for {label} must lie above 1/2 and the opposite of the last move",
        ),
        Gate(
            name="auc_gap",
            passed=bool(gap <= config.max_auc_gap),
            value=float(gap),
            threshold=config.max_auc_gap,
            rule=f"valid and test AUC of any model must differ by {config.max_auc_gap:g} at most (most: {worst})",
            is_maximum=True,
        ),
    )
