"""The stack's results in the form that the report shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, needed_purge
from factor_metrics import Evaluation, Gate, promoted, redundant_pairs
from factor_metrics.report import (
    DateSeries,
    Diversity,
    FloorRow,
    Overfit,
    ReportData,
    ResultRow,
    WeightTable,
)
from stages.ensemble import HorizonResult
from stages.judge import overfit_gap
from stages.params import EvaluateParams, Params
from stages.report_data import (
    Subject,
    attained_row,
    date_series,
    floor_rows,
    picture_of_folds,
    profile,
    quality_rules,
    result_row,
    row_counts,
    shared_facts,
    standard_error,
    universe,
)
from stages.run import read_json


def stack_report(
    results: Sequence[HorizonResult],
    valid: dict[str, Any],
    gates: Sequence[Gate],
    store: FeatureStore,
    params: Params,
    split: Path,
) -> ReportData:
    """Gather everything the report shows; `split` is the folder with dataset.json and quality.json."""
    dataset = read_json(split / "dataset.json")
    targets = store.targets("zscore")  # what the stack's weights are fitted to
    subjects = [
        subject(result, targets[:, head], store, params.evaluate) for head, result in enumerate(results)
    ]
    pairs = list(zip(results, subjects, strict=True))
    return ReportData(
        title="Factorcast: out-of-fold results",
        subtitle=f"{dataset['name']} · {len(params.models)} models and their stack",
        promoted=promoted(gates),
        facts=facts(results, store, params),
        gates=gates,
        rows=[row for result, one in pairs for row in result_rows(result, one)],
        floors=[row for result, one in pairs for row in beside_floors(result, one, params.evaluate)],
        attained=[
            row
            for result, one in pairs
            for name, judged in forecasts(result).items()
            for row in attained_row(name, judged, one)
        ],
        ic_series={result.horizon: series(result, "rank_ic", result.attainable) for result in results},
        standard_errors={one.horizon: standard_error(one) for one in subjects},
        spread_series={result.horizon: series(result, "spread") for result in results},
        turnover_series={result.horizon: series(result, "turnover") for result in results},
        profiles={one.horizon: one.profile for one in subjects},
        weights={
            result.horizon: WeightTable(
                folds=[f"fold {fold}" for fold in result.weights.folds],
                models=params.models,
                matrix=result.weights.weights,
            )
            for result in results
        },
        diversity={result.horizon: diversity(result, params) for result in results},
        overfit=[line for result in results for line in overfit(result.horizon, valid, params)],
        fold_picture=picture_of_folds(split, store),
        universe=universe(dataset),
        row_counts=[one.row_counts for one in subjects],
        quality=quality_rules(split),
    )


def subject(result: HorizonResult, target: NDArray, store: FeatureStore, config: EvaluateParams) -> Subject:
    """The stack at one horizon; `target` (num_rows,) is in the unit of its prediction."""
    prediction, horizon, dates = result.prediction, result.horizon, result.dates
    return Subject(
        name="stack",
        horizon=horizon,
        dates=dates,
        judged=result.stack,
        floors=result.floors,
        attainable=result.attainable,
        profile=profile(prediction, store.matrix(target, dates), horizon, dates, store, config),
        row_counts=row_counts(prediction, horizon, dates, store),
    )


def forecasts(result: HorizonResult) -> dict[str, Evaluation]:
    return {"stack": result.stack, **result.models}


def facts(results: Sequence[HorizonResult], store: FeatureStore, params: Params) -> dict[str, str]:
    first = results[0]
    return {
        "Folds": f"{len(first.weights.folds)}; the first one only teaches the stack its weights",
        "Purge and embargo": purge_and_embargo(params, store),
        "Training": f"seed {params.train.seed}, ZeRO stage {params.train.zero.stage}, loss {params.train.loss}",
        **shared_facts(first.dates, store, params.evaluate),
    }


def result_rows(result: HorizonResult, stack: Subject) -> list[ResultRow]:
    """Stack, models and floors of one horizon."""
    return [
        result_row("stack", "stack", result.stack, stack),
        *(result_row(name, "model", judged, stack) for name, judged in result.models.items()),
        *(result_row(name, "floor", judged, stack) for name, judged in result.floors.items()),
    ]


def beside_floors(result: HorizonResult, stack: Subject, config: EvaluateParams) -> list[FloorRow]:
    """The stack beside every floor, and each model beside the best one."""
    best = {stack.best_floor: result.floors[stack.best_floor]}
    return [
        *floor_rows({"stack": result.stack}, result.floors, result.horizon, config),
        *floor_rows(result.models, best, result.horizon, config),
    ]


def series(result: HorizonResult, name: str, attainable: NDArray[np.float64] | None = None) -> DateSeries:
    """A series of the stack and every model, and what is attainable where that is known."""
    values = {forecast: getattr(judged, name) for forecast, judged in forecasts(result).items()}
    if attainable is not None:
        values["attainable"] = attainable
    return date_series(result.dates, values)


def diversity(result: HorizonResult, params: Params) -> Diversity:
    pairs = redundant_pairs(result.correlation, params.models, params.stack.gates.max_correlation)
    return Diversity(
        names=params.models,
        correlation=result.correlation,
        redundant=[(first, second) for first, second, _ in pairs],
    )


def overfit(horizon: int, valid: dict[str, Any], params: Params) -> list[Overfit]:
    return [
        Overfit(
            name=name,
            horizon=horizon,
            valid_rank_ic=metrics[f"h{horizon}"]["valid_rank_ic"],
            test_rank_ic=metrics[f"h{horizon}"]["rank_ic"],
            gap=overfit_gap(metrics[f"h{horizon}"]),
            threshold=params.stack.gates.max_overfit_gap,
        )
        for name, metrics in valid.items()
    ]


def purge_and_embargo(params: Params, store: FeatureStore) -> str:
    """What keeps the labels of segments apart; by default what the labels need."""
    folds = params.split.folds
    purge = needed_purge(store.horizons, store.delay) if folds.purge is None else folds.purge
    embargo = "the scheme's own embargo" if folds.embargo is None else f"an embargo of {folds.embargo}"
    return f"{purge} dates and {embargo} ({folds.scheme} folds)"
