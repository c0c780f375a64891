"""The stack held against its gates, label by label; how many results were looked at, as far as a stage can know.

A stage's result is a function of its inputs, so it counts the looks of its own run alone. `make gates` counts those
that git and DVC know as well (`stages.judging.looks`), at the time it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from factor_data import FeatureStore
from factor_metrics import EvaluationConfig, Gate, check_thresholds, evaluate_gates, surely_lost
from stages.judging.ensemble import LabelResult
from stages.judging.model import valid_rank_ic
from stages.judging.pages import looks_of_run
from stages.judging.stack_over_time import auc_gates
from stages.judging.time_series import tested_auc, valid_auc
from stages.params.stack import StackParams
from stages.predictions import OutOfFold

Measured = Mapping[str, Mapping[str, float]]
Metrics = Mapping[str, Mapping[str, float | None]]
"""metrics.json: None is undefined."""


def hold_against_gates(
    results: Sequence[LabelResult],
    models: Mapping[str, OutOfFold],
    store: FeatureStore,
    params: StackParams,
    config: EvaluationConfig,
    measured: Measured | None = None,
    alone: Mapping[str, Metrics] | None = None,
) -> tuple[Gate, ...]:
    """Return every condition for promotion, of the labels that `stack.gate_labels` names, by default of the first.

    What is too good to be true is looked for in all labels. `measured` has per label further numbers that
    `stack.gates.measured` may bound, beside the scores of the stack; `alone`
    per model and label the numbers of its own evaluation, of which the calibration error of a direction is held against
    a gate.
    """
    chosen = [one for one in results if one.label in params.gate_labels] or list(results[:1])
    gates = []
    for result in chosen:
        scores = (
            result.stack.scores().to_dict() | attained_share(result) | dict(result.pooled) | dict(result.directions)
        )
        scores |= dict((measured or {}).get(result.label, {}))
        gates += [
            *label_gates(
                result,
                results,
                gaps(result, models, store, config),
                calibration_errors(alone or {}, result.label),
                params,
            ),
            *over_time_gates(result, models, store, params),
            *check_thresholds(scores, params.gates_of(result.label).measured),
        ]
        if params.gate_labels:
            gates = [gate if gate.label else replace(gate, label=result.label) for gate in gates]
    return tuple(gates)


def label_gates(
    result: LabelResult,
    results: Sequence[LabelResult],
    lost: Mapping[str, float],
    calibration: Mapping[str, float],
    params: StackParams,
) -> tuple[Gate, ...]:
    """Return the gates of one label."""
    rank_ics = {name: value for one in results for name, value in one.mean_rank_ics().items()}
    attained = {
        name: value / one.mean_attainable
        for one in results
        if one.mean_attainable > 0.0
        for name, value in one.mean_rank_ics().items()
    }
    names = list(result.models)
    return evaluate_gates(
        params.gates_of(result.label),
        num_oof_rows=int(np.isfinite(result.prediction).sum()),
        stack_ic=result.stack.rank_ic,
        floor_ics={name: floor.rank_ic for name, floor in result.floors.items()},
        overfit_gaps=lost,
        constant_shares={"stack": result.constant_share},
        correlation=result.correlation,
        model_names=names,
        label=result.label,
        horizon=result.overlap,
        num_looks=looks_of_run(len(names), len(results)),
        rank_ics=rank_ics,
        attained=attained,
        equal_ic=result.equal.rank_ic,
        absent_shares={name: 1.0 - float(share) for name, share in zip(names, result.present, strict=True)},
        calibration_errors=calibration,
    )


def calibration_errors(alone: Mapping[str, Metrics], label: str) -> dict[str, float]:
    """Return the calibration error of each model that is fitted to directions; NaN where it has none."""
    found = {name: metrics[label] for name, metrics in alone.items() if "calibration_error" in metrics[label]}
    return {name: np.nan if (error := one["calibration_error"]) is None else error for name, one in found.items()}


def over_time_gates(
    result: LabelResult, models: Mapping[str, OutOfFold], store: FeatureStore, params: StackParams
) -> tuple[Gate, ...]:
    """Return the gates in terms of the AUC; none where forecasts are scored by cross-section."""
    if not result.pooled:
        return ()
    lost = {
        name: valid_auc(store, model, result.label) - tested_auc(store, model, result.label)
        for name, model in models.items()
    }
    return auc_gates(result.pooled, lost, result.label, params.gates_of(result.label))


def gaps(
    result: LabelResult, models: Mapping[str, OutOfFold], store: FeatureStore, config: EvaluationConfig
) -> dict[str, float]:
    """Return per model by how much its rank IC was surely higher on valid dates than out of fold."""
    return {
        name: surely_lost(
            valid_rank_ic(store, model, result.label, config).ravel(),
            result.models[name].rank_ic,
            result.overlap,
            config.confidence,
        )
        for name, model in models.items()
    }


def attained_share(result: LabelResult) -> dict[str, float]:
    """Return what the stack attained of the attainable, where that is known."""
    known = result.mean_attainable > 0.0
    return {"attained": result.stack.rank_ic_summary.mean / result.mean_attainable} if known else {}
