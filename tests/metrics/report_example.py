"""A full report with missing numbers in every section, for the tests that build, parse or open one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from factor_metrics import (
    Anatomy,
    BookResult,
    Estimates,
    EvaluationConfig,
    Gate,
    Importance,
    Profile,
    Scores,
    anatomy,
    judge_book,
    profile_forecast,
)
from factor_metrics.report import (
    Attained,
    Contribution,
    DateSeries,
    Diversity,
    DriftRow,
    FloorRow,
    Overfit,
    QualityRule,
    ReportData,
    ResultRow,
    RowCounts,
    WeightTable,
)

DATES = [f"2020-{month:02d}-{day:02d}" for month in (1, 2, 3) for day in range(1, 29)]

OVERLAPS = {"h1": 1, "h5": 5}


def series(*names: str) -> DateSeries:
    """Noise with one gap for each name."""
    generator = np.random.default_rng(3)
    values = {name: generator.normal(size=len(DATES)) for name in names}
    values[names[0]][4:9] = np.nan
    return DateSeries(dates=DATES, values=values)


def profile() -> Profile:
    """A weak forecast of two labels on a small market."""
    generator = np.random.default_rng(4)
    label = generator.normal(size=(len(DATES), 30))
    prediction = 0.3 * label + generator.normal(size=label.shape)
    labels = {"h1": label, "h5": label + generator.normal(size=label.shape)}
    return profile_forecast(prediction, labels, "h1", label, overlaps=OVERLAPS, num_bootstrap=50)


def book() -> BookResult:
    """A noisy book over the dates of the example."""
    generator = np.random.default_rng(5)
    price = np.exp(np.cumsum(0.01 * generator.normal(size=(len(DATES), 10)), axis=0))
    forecast, dates = generator.normal(size=price.shape), np.array(DATES, dtype="datetime64[ns]")
    return judge_book(forecast, price, 1e6 * price, dates, 0.01 * generator.normal(size=len(DATES)), horizon=3)


def taken_apart() -> Anatomy:
    """A weak forecast, taken apart."""
    generator = np.random.default_rng(6)
    label = generator.normal(size=(len(DATES), 30))
    forecast = 0.3 * label + generator.normal(size=label.shape)
    known = {"volatility": generator.normal(size=label.shape), "money traded": generator.normal(size=label.shape)}
    up = generator.random(len(DATES)) < 0.5
    dates = np.array(DATES, dtype="datetime64[ns]")
    config = EvaluationConfig(bootstrap=50)
    return anatomy(forecast, label, dates, known, {"up": up, "down": ~up}, overlap=1, config=config)


def rested_on(name: str) -> Importance:
    """Two inputs, of which one was in no fold."""
    lost = Estimates(names=(name, "z"), mean=np.array([0.02, math.nan]), low=np.zeros(2), high=np.full(2, math.nan))
    return Importance(groups=lost, inputs=lost, num_dates=40, gain={name: 0.7, "z": 0.3})


def added(name: str, difference: float) -> Contribution:
    return Contribution(
        name=name,
        weight=0.5,
        present=0.7,
        rank_ic=0.03,
        without=math.nan,
        difference=difference,
        low=difference - 0.02,
        high=difference + 0.02,
    )


def example(model: str = "ridge", **changes: Any) -> ReportData:
    """A stack's report, `model` being the name of one of its models."""
    nan = math.nan
    reached = Scores(rank_ic=0.071, ci_low=0.064, ci_high=0.078)
    stack = ResultRow(name="stack", kind="stack", label="h1", scores=replace(reached, num_dates=600))
    rows = [
        ResultRow(name="momentum", kind="floor", label="h1", scores=Scores(rank_ic=0.031, num_dates=600)),
        ResultRow(name=model, kind="model", label="h1", scores=Scores(rank_ic=-0.02), below_floor=True),
        ResultRow(name="empty", kind="model", label="h1", scores=Scores(rank_ic=nan)),
        stack,
        replace(stack, label="h5", scores=replace(reached, rank_ic=nan, ci_low=nan)),
    ]
    floor = FloorRow(
        name="stack",
        floor="momentum",
        label="h1",
        rank_ic=0.071,
        floor_rank_ic=0.031,
        difference=0.04,
        low=0.03,
        high=0.05,
    )
    data = ReportData(
        title="Report",
        subtitle="synthetic",
        promoted=False,
        facts={"Seed": "7", model: model},
        gates=[
            Gate(name="beats floor", passed=True, value=0.04, threshold=0.0, rule="stack above floor"),
            Gate(name=model, passed=False, value=nan, threshold=0.0, rule=model),
        ],
        rows=rows,
        floors=[
            floor,
            replace(floor, floor="reversal", low=-0.01),
            replace(floor, name=model, difference=-0.01, low=-0.02, high=0.0),
            replace(floor, floor=model, label="h5", difference=nan, low=nan, high=None, p_value=nan),
        ],
        attained=[
            Attained(name="stack", label="h1", rank_ic=0.071, attainable_rank_ic=0.096, ratio=0.74),
            Attained(name=model, label="h5", rank_ic=nan, attainable_rank_ic=None, ratio=nan),
        ],
        ic_series={"h1": series(model, "stack", "attainable"), "h5": series(model, "stack")},
        standard_errors={"h1": 0.1, "h5": nan},
        spread_series={"h1": series("stack", model), "h5": series(model, "stack")},
        turnover_series={"h1": series("stack"), "h5": series("stack")},
        overlaps=OVERLAPS,
        profiles={"h1": profile(), "h5": profile()},
        quantile_series={"h1": series("q1", "q2", model)},
        drift=[
            DriftRow(what="input", name=model, fold=0, psi=0.3, distance=0.4, adjusted_p_value=0.01),
            DriftRow(what="forecast", name="h1", fold=1, psi=nan, distance=nan, adjusted_p_value=nan),
        ],
        anatomies={"h1": taken_apart()},
        importances={"h1": rested_on(model)},
        books={"h1": book()},
        no_books={"h5": f"{model} is no return"},
        book_rule=f"made of {model}",
        weights={"h1": WeightTable(folds=["a", "b"], models=[model, "z"], matrix=[[0.4, nan], [nan, nan]])},
        diversity={
            "h1": Diversity(
                names=[model, "z"],
                correlation=[[1, nan], [nan, 1]],
                redundant=[(model, "z")],
                errors=[[1, 0.5], [0.5, nan]],
                clusters=[(model, "z")],
                effective=1.25,
                contributions=[added(model, 0.01), added("z", nan)],
                pruned=[f"z in fold 1: like {model}"],
            )
        },
        overfit=[
            Overfit(name=model, label="h1", valid_rank_ic=0.1, test_rank_ic=0.0, gap=0.1, threshold=0.02),
            Overfit(name="z", label="h1", valid_rank_ic=nan, test_rank_ic=nan, gap=nan),
        ],
        fold_picture='<svg viewBox="0 0 10 10"><rect width="5" height="5" fill="currentColor"/></svg>',
        universe=f"all that {model} knows",
        row_counts=[
            RowCounts(
                label="h1",
                bars=100,
                in_universe=80,
                without_prediction=10,
                without_price=5,
                after_the_end=1,
                scored=64,
                delisted=3,
                rule=f"{model} over 1 bar",
            )
        ],
        curves={"loss": DateSeries(dates=["epoch 1", "epoch 2"], values={"fold 0": [1.0, 0.9], model: [nan, nan]})},
        origin={"Plan of this page": f"md5 of {model}"},
        parameters={"train.lr": "0.003", model: model},
        quality=[QualityRule(rule=model, description=model, action="drop", count=3, share=nan)],
    )
    return replace(data, **changes)
