"""The stack's results in the form that the report shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from factor_data import FeatureStore
from factor_metrics import Evaluation, Gate, promoted, redundant_pairs
from factor_metrics.report import (
    Attained,
    DateSeries,
    Diversity,
    Overfit,
    QualityRule,
    ReportData,
    ResultRow,
    WeightTable,
)
from stages.ensemble import HorizonResult
from stages.judge import best_floor_rank_ic, overfit_gap, summary
from stages.params import Params
from stages.run import read_json


def report_data(
    results: Sequence[HorizonResult],
    valid: dict[str, Any],
    gates: Sequence[Gate],
    store: FeatureStore,
    params: Params,
    split: Path,
) -> ReportData:
    """Gather everything the report shows; `split` is the folder with dataset.json and quality.json."""
    dataset, quality = read_json(split / "dataset.json"), read_json(split / "quality.json")
    return ReportData(
        title="Factorcast: out-of-fold results",
        subtitle=f"{dataset['name']} · {len(params.models)} models and their stack",
        promoted=promoted(gates),
        facts=facts(results, dataset, store, params),
        gates=gates,
        rows=[row for result in results for row in result_rows(result)],
        attained=[line for result in results for line in attained(result)],
        ic_series={result.horizon: ic_series(result) for result in results},
        spread_series={result.horizon: spread_series(result) for result in results},
        weights={
            result.horizon: WeightTable(
                folds=[f"fold {fold}" for fold in result.weights.folds],
                models=params.models,
                matrix=result.weights.weights,
            )
            for result in results
        },
        diversity={
            result.horizon: Diversity(
                names=params.models,
                correlation=result.correlation,
                redundant=[
                    (first, second)
                    for first, second, _ in redundant_pairs(
                        result.correlation, params.models, params.stack.gates.max_correlation
                    )
                ],
            )
            for result in results
        },
        overfit=[line for result in results for line in overfit(result.horizon, valid, params)],
        quality=[
            QualityRule(
                rule=rule["name"],
                description=rule["description"],
                action=rule["effect"],
                count=rule["count"],
                share=rule["share"],
            )
            for rule in quality["rules"]
        ],
    )


def facts(
    results: Sequence[HorizonResult], dataset: dict[str, Any], store: FeatureStore, params: Params
) -> dict[str, str]:
    first = results[0]
    return {
        "Universe": str(dataset["universe"]),
        "Dates that are scored": f"{len(first.dates)}, {first.dates[0]!s:.10} to {first.dates[-1]!s:.10}",
        "Folds": f"{len(first.weights.folds)}; the first one only teaches the stack its weights",
        "Prediction": f"made at the close of t, entered {store.delay} bar(s) later",
        "Purge and embargo": f"{params.split.purge} and {params.split.embargo} dates",
        "Training": f"seed {params.train.seed}, ZeRO stage {params.train.zero.stage}, loss {params.train.loss}",
        "Intervals": f"{params.evaluate.confidence:.0%}, block bootstrap with {params.evaluate.bootstrap} resamples",
        "Costs": "none are taken off; a spread is before costs",
    }


def result_rows(result: HorizonResult) -> list[ResultRow]:
    """Stack, models and floors of one horizon; what does not beat the best floor is marked."""
    best = best_floor_rank_ic(result.floors)

    def row(name: str, kind: Literal["model", "stack", "floor"], judged: Evaluation) -> ResultRow:
        below = kind != "floor" and not judged.rank_ic_summary.mean > best
        return ResultRow(name=name, kind=kind, horizon=result.horizon, below_floor=below, **summary(judged))

    return [
        row("stack", "stack", result.stack),
        *(row(name, "model", judged) for name, judged in result.models.items()),
        *(row(name, "floor", judged) for name, judged in result.floors.items()),
    ]


def attained(result: HorizonResult) -> list[Attained]:
    if result.attainable is None:
        return []
    judged = {"stack": result.stack, **result.models}
    return [
        Attained(
            name=name,
            horizon=result.horizon,
            rank_ic=one.rank_ic_summary.mean,
            attainable_rank_ic=result.mean_attainable,
            ratio=one.rank_ic_summary.mean / result.mean_attainable,
        )
        for name, one in judged.items()
    ]


def ic_series(result: HorizonResult) -> DateSeries:
    values = {
        "stack": result.stack.rank_ic,
        **{name: judged.rank_ic for name, judged in result.models.items()},
    }
    if result.attainable is not None:
        values["attainable"] = result.attainable
    return DateSeries(dates=[str(date)[:19] for date in result.dates], values=values)


def spread_series(result: HorizonResult) -> DateSeries:
    values = {"stack": result.stack.spread, **{name: judged.spread for name, judged in result.models.items()}}
    return DateSeries(dates=[str(date)[:19] for date in result.dates], values=values)


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
