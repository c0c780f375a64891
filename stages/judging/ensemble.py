"""One label's ensemble: models combined out of fold and judged, with floors, on the dates that have a stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Panel
from factor_metrics import (
    Evaluation,
    EvaluationConfig,
    auc,
    best_floor_rank_ic,
    constant_share,
    error_correlation,
    prediction_correlation,
)
from factor_metrics.report import Contribution
from factor_models import StackResult, stack_members
from stages.judging.diversity import contributions, rank_ics_without
from stages.judging.floors import floor_signals, floors_beside
from stages.judging.judge import attainable_rank_ic, mean_of_known
from stages.judging.kept import Kept
from stages.judging.members import lessons_before, members_of, without_constant_dates
from stages.judging.stack_over_time import StackOverTime
from stages.judging.time_series import (
    OPPOSITE,
    Ordered,
    View,
    is_over_time,
    outcomes_of,
    pooled_scores,
    scoring_view,
)
from stages.params.stack import StackParams
from stages.predictions import OutOfFold, tested_dates
from stages.running.files import stored
from stages.universe import check_forecasts


@dataclass(frozen=True, kw_only=True)
class LabelResult:
    """All there is to say of one label, on the dates that have a stack."""

    label: str
    overlap: int
    """Dates, or blocks of them, over which labels overlap."""
    dates: NDArray[np.datetime64]
    view: View
    """How these dates are scored."""
    prediction: NDArray[np.float64]
    """(num_dates, num_symbols) of the stack; NaN where no model has a forecast."""
    ordered: Ordered
    """The same in order as it is scored, and the label."""
    stack: Evaluation
    equal: Evaluation
    """The same models with equal weights: the floor of a stack."""
    models: dict[str, Evaluation]
    floors: dict[str, Evaluation]
    weights: StackResult
    correlation: NDArray[np.float64]
    """(num_models, num_models) between the models' forecasts."""
    errors: NDArray[np.float64]
    """(num_models, num_models) between the models' errors."""
    contributions: tuple[Contribution, ...]
    """What each model adds to the stack."""
    constant_share: float
    """Share of dates on which the stack forecasts the same for all symbols."""
    present: NDArray[np.float64]
    """(num_models,) share of the stack's rows on which each model takes part."""
    attainable: NDArray[np.float64] | None
    """Per date, on a simulated market with a signal."""
    levels: Mapping[str, tuple[float, float]]
    """Per model mean and deviation on the last fold's valid dates, where forecasts are compared over time."""
    pooled: Mapping[str, float]
    """Scores over all cells (date, symbol), where forecasts are scored over time; else empty."""
    directions: Mapping[str, float]
    """Where weights are learned by the AUC: its mean over dates, of the stack and beside it (`direction_aucs`); else
    empty."""

    @property
    def mean_attainable(self) -> float:
        """Mean rank IC of the true expectation; NaN where it is not known."""
        return float("nan") if self.attainable is None else float(np.nanmean(self.attainable))

    def mean_rank_ics(self) -> dict[str, float]:
        """Return the mean rank IC of the stack and of every model, by name and label."""
        judged = {"stack": self.stack, **self.models}
        return {f"{name} for {self.label}": one.rank_ic_summary.mean for name, one in judged.items()}

    def weights_by_fold(self) -> dict[str, dict[str, float]]:
        """Per fold the weight of each model."""
        return {
            f"fold {fold}": dict(zip(self.models, map(float, row), strict=True))
            for fold, row in zip(self.weights.folds, self.weights.weights, strict=True)
        }


def combine(
    label: str,
    store: FeatureStore,
    panel: Panel,
    models: dict[str, OutOfFold],
    stack: StackParams,
    config: EvaluationConfig,
    kept: Kept | None = None,
) -> LabelResult:
    """Stack one label and judge stack, models and floors on the dates that have a stack.

    Floors that are `kept` are not judged again.
    """
    how, overlap = store.heads[label], store.overlap(label)
    dates, fold = tested_dates(models.values())
    forecasts = [model.matrix(label, "test", dates=dates) for model in models.values()]
    predictions = np.stack([without_constant_dates(forecast) for forecast in forecasts])
    outcome = store.matrix(store.label(label), dates)
    direction = outcomes_of(label, dates, store)[0] if stack.learn_by == "auc" else None
    view, purge = scoring_view(config, dates, fold), store.dates_ahead(label)
    over_time, equally_weighted = is_over_time(config), replace(stack, weights="equal", prune=None)
    before = lessons_before(label, models, int(fold.min()), store, stack, config)
    if over_time:
        combined = StackOverTime(label, models, np.stack(forecasts), outcome, dates, view, store, direction, before)
        weights, equal = combined.stack(stack), combined.stack(equally_weighted)
        without, levels = combined.rank_ics_without(stack, config.min_symbols), combined.last_levels
    else:
        members = members_of(view, dates, predictions, outcome, direction, store, before)
        weights, equal = (stack_members(members, how, purge) for how in (stack, equally_weighted))
        without = rank_ics_without(members, stack, purge, view.ordered(outcome), config.min_symbols)
        levels = {}
    stacked = weights.prediction.reshape(outcome.shape)
    scored = np.isfinite(stacked).any(axis=1)
    if over_time:
        scored[:] = True  # dates without a stack stay in their blocks
    else:
        without = without[:, scored]
    stacked, outcome, dates = stacked[scored], outcome[scored], dates[scored]
    forecasts, view = [forecast[scored] for forecast in forecasts], scoring_view(config, dates, fold[scored])
    check_forecasts("the stack", label, config, view(stacked), view(outcome))
    equally = equal.prediction.reshape(len(scored), -1)[scored]
    whole, known = view.ordered(stacked), view.ordered(outcome)
    judged_whole = view.judge(whole, known, overlap, config)
    in_order = [view.ordered(forecast) for forecast in forecasts]
    judged = {name: view.judge(one, known, overlap, config) for name, one in zip(models, in_order, strict=True)}
    rows_by_fold = np.array([np.isfinite(stacked[fold[scored] == one]).sum() for one in weights.folds])
    shares = rows_by_fold @ weights.present / max(int(rows_by_fold.sum()), 1)

    @cache
    def signals() -> dict[str, NDArray[np.float64]]:
        return floor_signals(panel, dates, config.seed, how)

    compared = in_order
    if not over_time:  # the same values, less some dates: the order of the others is known
        compared = [
            one.in_this_order(values, ~np.isnan(values))
            for one, values in zip(in_order, predictions[:, scored], strict=True)
        ]
    return LabelResult(
        label=label,
        overlap=view.overlap(overlap),
        dates=dates,
        view=view,
        prediction=stacked,
        ordered=(whole, known),
        equal=view.judge(view.ordered(equally), known, overlap, config),
        stack=judged_whole,
        models=judged,
        floors=floors_beside(
            lambda: {name: view.ordered(signal) for name, signal in signals().items()},
            whole,
            known,
            how,
            overlap,
            config,
            view,
            kept,
        ),
        weights=weights,
        correlation=prediction_correlation(compared, config.min_symbols),
        errors=error_correlation(compared, known, config.min_symbols),
        contributions=contributions(judged_whole, judged, without, weights, shares, view.overlap(overlap), config),
        constant_share=constant_share(view(stacked), np.float32),
        present=shares,
        attainable=None if over_time else attainable_rank_ic(stored("split", "truth.parquet"), how, dates),
        levels=levels,
        pooled=pooled_scores(stacked, label, dates, store, config, signals()[OPPOSITE]) if over_time else {},
        directions={} if direction is None else direction_aucs(stacked, equally, forecasts, view, direction[scored]),
    )


def direction_aucs(
    stacked: NDArray, equally: NDArray, forecasts: Sequence[NDArray], view: View, direction: NDArray[np.float64]
) -> dict[str, float]:
    """Return the mean AUC over dates, or blocks, of the stack, of equal weights and of the best of the models."""
    called = view(direction)
    of_stack, of_equal, *of_models = [
        mean_of_known(auc(view(forecast), called)) for forecast in (stacked, equally, *forecasts)
    ]
    return {
        "auc_by_date": of_stack,
        "equal_weight_auc_by_date": of_equal,
        "best_model_auc_by_date": max(filter(np.isfinite, of_models), default=float("nan")),
    }


def pruned_in_words(result: LabelResult) -> tuple[str, ...]:
    """Say which models folds go without as too much like another one, and what earlier folds showed of both."""
    names = list(result.models)
    return tuple(
        f"{names[one.model]} in fold {one.fold}: rank correlation {one.correlation:.2f} with {names[one.like]}, whose "
        f"IC on earlier folds is {one.like_ic:+.3f} against {one.ic:+.3f}"
        for one in result.weights.pruned
    )


def stack_metrics(result: LabelResult) -> dict[str, Any]:
    """The summary of a label; on a simulated market with what was attainable on the same dates."""
    metrics = result.stack.scores().to_dict()
    metrics["best_floor_rank_ic"] = best_floor_rank_ic(result.floors)
    metrics["equal_weight_rank_ic"] = result.equal.rank_ic_summary.mean
    metrics |= result.pooled
    metrics |= result.directions
    if result.attainable is not None:
        metrics["attainable_rank_ic"] = result.mean_attainable
        metrics["attained"] = metrics["rank_ic"] / result.mean_attainable
    return metrics
