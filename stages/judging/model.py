"""One model judged per label, beside floors that need no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Panel
from factor_metrics import (
    EvaluationConfig,
    OrderedMatrix,
    best_floor_rank_ic,
    direction_scores,
    rank_ic,
)
from factor_metrics.report import FloorRow, Subject, floor_rows
from stages.judging.floors import floor_signals, floors_beside, kept_floors, volatility_bars
from stages.judging.judge import (
    attainable_rank_ic,
    kept_labels,
    mean_of_known,
    ordered_outcomes,
    profile,
    row_counts,
    target_on,
)
from stages.judging.time_series import (
    OPPOSITE,
    Ordered,
    View,
    is_over_time,
    outcomes_of,
    pooled_scores,
    scoring_view,
    valid_auc,
)
from stages.predictions import OutOfFold
from stages.running.files import RESULTS, stored
from stages.running.planned import Plan
from stages.universe import check_forecasts


def judge_heads(
    name: str,
    forecasts: Mapping[str, tuple[NDArray[np.datetime64], NDArray]],
    view: View,
    store: FeatureStore,
    panel: Panel,
    plan: Plan,
    config: EvaluationConfig,
) -> tuple[list[Subject], dict[str, Ordered]]:
    """Return the model and its floors for every label, as params.yaml lists them, and by label what `Ordered` says.

    `forecasts` has each label's on the same test dates, (num_dates, num_symbols), which `view` scores.
    """
    kind, listed = plan.value("train.target"), plan.value("labels")
    dates = forecasts[listed[0]][0]
    kinds = {volatility_bars(label): label for label in store.heads.values()}
    kept, of_labels = kept_floors(plan), kept_labels(plan)

    @cache
    def signals(bars: tuple[int, int] | None) -> dict[str, OrderedMatrix]:
        found = floor_signals(panel, dates, config.seed, kinds[bars])
        return {name: view.ordered(signal) for name, signal in found.items()}

    outcomes = ordered_outcomes(listed, dates, store, view)
    subjects, ordered = [], {}
    for label in listed:
        how, outcome = store.heads[label], outcomes[label]
        forecast, target = forecasts[label][1], target_on(dates, store, kind, label, of_labels)
        prediction = view.ordered(forecast)
        ordered[label] = prediction, outcome
        check_forecasts(name, label, config, prediction.values, outcome.values)
        subjects.append(
            Subject(
                name=name,
                label=label,
                overlap=view.overlap(store.overlap(label)),
                dates=view.dates,
                judged=view.judge(prediction, outcome, store.overlap(label), config),
                floors=floors_beside(
                    partial(signals, volatility_bars(how)),
                    prediction,
                    outcome,
                    how,
                    store.overlap(label),
                    config,
                    view,
                    kept,
                ),
                attainable=None
                if is_over_time(config)
                else attainable_rank_ic(stored("split", "truth.parquet"), how, dates),
                profile=profile(prediction, target, label, outcomes, store, config, view),
                row_counts=row_counts(forecast, label, dates, store, panel, of_labels),
            )
        )
    return subjects, ordered


def beside_floors(subject: Subject, config: EvaluationConfig) -> list[FloorRow]:
    """Return the model beside every floor, compared date by date."""
    return floor_rows(
        {subject.name: subject.judged}, subject.floors, label=subject.label, overlap=subject.overlap, config=config
    )


def model_metrics(
    subjects: Sequence[Subject],
    valid: Mapping[str, NDArray[np.float64]],
    oof: OutOfFold,
    store: FeatureStore,
    plan: Plan,
    config: EvaluationConfig,
) -> dict[str, dict[str, Any]]:
    """metrics.json: the scores of every label; of a direction also how well its sign is called."""
    metrics: dict[str, dict[str, Any]] = {
        one.label: {
            **one.judged.scores().to_dict(),
            "valid_rank_ic": mean_of_known(valid[one.label]),
            "best_floor_rank_ic": best_floor_rank_ic(one.floors),
        }
        for one in subjects
    }
    if plan.value("train.target") == "direction":
        for one in subjects:
            outcome, _ = outcomes_of(one.label, oof.dates("test"), store)
            overlap = store.overlap(one.label)
            called = direction_scores(oof.matrix(one.label, "test"), outcome, horizon=overlap, config=config)
            metrics[one.label] |= called.to_dict()
    if is_over_time(config):
        panel = Panel.load(RESULTS / "split" / "panel")
        opposite = floor_signals(panel, oof.dates("test"), config.seed)[OPPOSITE]
        for one in subjects:
            metrics[one.label] |= over_time_metrics(one.label, oof, store, config, opposite)
    return metrics


def over_time_metrics(
    label: str, oof: OutOfFold, store: FeatureStore, config: EvaluationConfig, opposite: NDArray
) -> dict[str, float]:
    """Scores over all cells of the test dates, beside the opposite of the last move; and the AUC on valid dates."""
    dates = oof.dates("test")
    scores = pooled_scores(oof.matrix(label, "test"), label, dates, store, config, opposite)
    valid = valid_auc(store, oof, label)
    return {**scores, "valid_auc": valid, "auc_gap": valid - scores["auc"]}


def valid_rank_ic(store: FeatureStore, oof: OutOfFold, label: str, config: EvaluationConfig) -> NDArray[np.float64]:
    """(num_folds, num_valid_dates) rank IC on the valid dates, or blocks, for the overfit gap; never a result."""
    dates = oof.dates("valid")
    view = scoring_view(config, dates, np.zeros(len(dates), dtype=np.int64))
    outcome = view(store.matrix(store.label(label), dates))
    folds = [view(oof.matrix(label, "valid", fold)) for fold in oof.folds()]
    return np.stack([_rank_ic_of_known(prediction, outcome, config.min_symbols) for prediction in folds])


def _rank_ic_of_known(prediction: NDArray, outcome: NDArray, min_symbols: int) -> NDArray[np.float64]:
    """Return `rank_ic`, of rows with a forecast alone: a fold has none on the valid dates of the others."""
    there, found = np.isfinite(prediction).any(axis=1), np.full(len(prediction), np.nan)
    if there.any():
        found[there] = rank_ic(prediction[there], outcome[there], min_symbols)
    return found
