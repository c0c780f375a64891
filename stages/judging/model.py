"""One model judged per horizon, beside floors that need no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import DirectionRule, FeatureStore, Panel, directions, training_targets
from factor_metrics import (
    EvaluationConfig,
    best_floor_rank_ic,
    direction_scores,
    evaluate_predictions,
    rank_ic,
)
from factor_metrics.report import FloorRow, Subject, floor_rows
from stages.judging.judge import attainable_rank_ic, floor_signals, judge_floors, profile, row_counts
from stages.predictions import OutOfFold
from stages.running.files import RESULTS, stored
from stages.running.planned import Plan
from stages.universe import check_forecasts


def judge_heads(name: str, oof: OutOfFold, store: FeatureStore, plan: Plan, config: EvaluationConfig) -> list[Subject]:
    """The model and its floors at every horizon."""
    targets = training_targets(store, plan.value("train.target"), direction_rule(plan))
    dates = oof.dates("test")
    signals = floor_signals(Panel.load(RESULTS / "split" / "panel"), dates, config.seed)
    subjects = []
    for head, horizon in enumerate(store.horizons):
        prediction, label = oof.matrix(horizon, "test"), store.matrix(store.labels[:, head], dates)
        target = store.matrix(targets[:, head], dates)
        check_forecasts(name, horizon, config, prediction, label)
        subjects.append(
            Subject(
                name=name,
                horizon=horizon,
                dates=dates,
                judged=evaluate_predictions(prediction, label, horizon=horizon, config=config),
                floors=judge_floors(signals, prediction, label, horizon, config),
                attainable=attainable_rank_ic(stored("split", "truth.parquet"), horizon, dates),
                profile=profile(prediction, target, horizon, dates, store, config),
                row_counts=row_counts(prediction, horizon, dates, store),
            )
        )
    return subjects


def direction_rule(plan: Plan) -> DirectionRule:
    """Return the rule that makes directions of returns."""
    return plan.section("train.direction", DirectionRule)


def beside_floors(subject: Subject, config: EvaluationConfig) -> list[FloorRow]:
    """Return the model beside every floor, compared date by date."""
    return floor_rows({subject.name: subject.judged}, subject.floors, horizon=subject.horizon, config=config)


def model_metrics(
    subjects: Sequence[Subject],
    valid: Mapping[int, NDArray[np.float64]],
    oof: OutOfFold,
    store: FeatureStore,
    plan: Plan,
    config: EvaluationConfig,
) -> dict[str, dict[str, Any]]:
    """metrics.json: the scores of every horizon; of a direction also how well its sign is called."""
    metrics: dict[str, dict[str, Any]] = {
        f"h{one.horizon}": {
            **one.judged.scores().to_dict(),
            "valid_rank_ic": float(np.nanmean(known)) if np.isfinite(known := valid[one.horizon]).any() else np.nan,
            "best_floor_rank_ic": best_floor_rank_ic(one.floors),
        }
        for one in subjects
    }
    if plan.value("train.target") == "direction":
        outcomes = directions(store, direction_rule(plan))
        for head, one in enumerate(subjects):
            outcome, logit = store.matrix(outcomes[:, head], one.dates), oof.matrix(one.horizon, "test")
            called = direction_scores(logit, outcome, horizon=one.horizon, config=config)
            metrics[f"h{one.horizon}"] |= called.to_dict()
    return metrics


def valid_rank_ic(store: FeatureStore, oof: OutOfFold, head: int, min_symbols: int) -> NDArray[np.float64]:
    """(num_folds, num_valid_dates) rank IC on the valid dates, for the overfit gap; never a result."""
    label = store.matrix(store.labels[:, head], oof.dates("valid"))
    folds = [oof.matrix(store.horizons[head], "valid", fold) for fold in oof.folds()]
    return np.stack([rank_ic(prediction, label, min_symbols) for prediction in folds])
