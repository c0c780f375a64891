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
from factor_metrics import Gate, GateConfig, rank_ic
from factor_models import Members, StackConfig, StackResult, stack_members
from stages.judging.time_series import View
from stages.predictions import OutOfFold


class StackOverTime:
    """Models of one label on their test dates, to be combined.

    `forecasts` (num_models, num_dates, num_symbols) and `outcome` are on `dates`, which `view` puts into blocks.
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
    ) -> None:
        assert view.point_of_date is not None
        blocks, self.outcome = np.stack([view(one) for one in forecasts]), view(outcome)
        last = np.append(np.flatnonzero(np.diff(view.point_of_date)), len(dates) - 1)
        num_cells = self.outcome.shape[1]
        self.view, self.fold_of_date = view, view.fold[view.point_of_date]
        self.members = Members(
            blocks.reshape(len(blocks), -1),
            self.outcome.reshape(-1),
            np.repeat(np.searchsorted(store.dates, dates[last]), num_cells),
            np.repeat(view.fold, num_cells),
        )
        # A block is dated by its last date, so a fold begins up to a block before the date of its first one.
        self.purge = store.dates_ahead(label) + view.block_dates - 1
        named = zip(models.values(), forecasts, strict=True)
        self.scaled = np.stack([scaled_by_valid(label, model, one, self.fold_of_date) for model, one in named])

    def stack(self, config: StackConfig, without: int | None = None) -> StackResult:
        """Return the stack, of all models but the one at `without`; predictions are (num_dates * num_symbols,).

        They are above 0 where models say more than on their valid dates.
        """
        learned = stack_members(self.members, config, self.purge, without=without)
        weights = learned.weights[np.searchsorted(learned.folds, self.fold_of_date)]
        present = np.isfinite(self.scaled)
        if without is not None:
            present[without] = False
        used = np.where(present, weights.T[:, :, None], 0.0)
        used = np.where(np.abs(used).sum(axis=0) > 0.0, used, present)
        size, total = np.abs(used).sum(axis=0), (np.where(present, self.scaled, 0.0) * used).sum(axis=0)
        combined = np.divide(total, size, out=np.full(size.shape, np.nan), where=size > 0.0)
        return replace(learned, prediction=combined.reshape(-1))

    def rank_ics_without(self, config: StackConfig, min_symbols: int) -> NDArray[np.float64]:
        """Return (num_models, num_blocks) rank IC of the stack without each model; NaN where there is no other."""
        num_models, num_dates = len(self.scaled), len(self.fold_of_date)
        if num_models == 1:
            return np.full((1, len(self.outcome)), np.nan)
        others = (self.stack(config, without=place).prediction.reshape(num_dates, -1) for place in range(num_models))
        return np.stack([rank_ic(self.view(one), self.outcome, min_symbols) for one in others])


def scaled_by_valid(
    label: str, model: OutOfFold, forecast: NDArray, fold_of_date: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Forecasts (num_dates, num_symbols) less mean and over deviation on the fold's valid dates; NaN without any."""
    scaled = np.full(forecast.shape, np.nan)
    for fold in np.unique(fold_of_date):
        valid = model.matrix(label, "valid", int(fold)).astype(np.float64)
        deviation = np.nanstd(valid) if np.isfinite(valid).any() else 0.0
        if deviation > 0.0:
            mine = fold_of_date == fold
            scaled[mine] = (forecast[mine] - np.nanmean(valid)) / deviation
    return scaled


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
        ),
    )
