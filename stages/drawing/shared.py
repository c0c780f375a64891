"""What the page of a model and the page of the stack have in common: words, facts of the data, the picture of folds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import checked, fold_picture, read_folds
from factor_metrics.report import DateSeries, QualityRule, Subject, date_series
from stages.json_files import read_json
from stages.params.evaluate import EvaluateParams
from stages.running.planned import Plan, plan_path
from stages.scoring import TIME_SERIES


def picture_of_folds(split: Path, calendar: NDArray[np.datetime64]) -> str:
    """When each fold trains, validates and tests, as inline SVG."""
    return fold_picture(read_folds(checked(split, "folds.json")), calendar)


def quality_rules(split: Path) -> list[QualityRule]:
    """Return what each cleaning rule found, from the results of `split`."""
    return [
        QualityRule(
            rule=rule["name"],
            description=rule["description"],
            action=rule["effect"],
            count=rule["count"],
            share=rule["share"],
        )
        for rule in read_json(checked(split, "quality.json"))["rules"]
    ]


def shared_facts(subjects: Sequence[Subject], config: EvaluateParams) -> dict[str, str]:
    """What was forecast, and how any forecast was scored."""
    dates = subjects[0].dates
    return {
        **{f"Label {one.label}": one.row_counts.rule for one in subjects},
        "Dates that are scored": f"{len(dates)}, {dates[0]!s:.10} to {dates[-1]!s:.10}",
        **over_time_fact(config),
        "Prediction": "made at the close of t",
        "Intervals": f"{config.confidence:.0%}, block bootstrap with {config.bootstrap} resamples",
        "Costs": "none are taken off a spread; books pay them (After costs)",
    }


def quantile_series(subject: Subject) -> DateSeries:
    """Return the mean label of each quantile of the forecast per date, lowest first."""
    columns = subject.judged.quantile_returns.T
    return date_series(subject.dates, {f"q{place}": column for place, column in enumerate(columns, 1)})


def origin_facts(origin: Mapping[str, str], plan: Plan) -> dict[str, str]:
    """Return the digests of what the results were made of, and how to find the commit that they belong to."""
    drawn = hashlib.md5(plan_path(plan.stage).read_bytes(), usedforsecurity=False).hexdigest()
    return {
        "Plan of this page": f"md5 {drawn}",
        "Commits with this page": f"git log --oneline -S {drawn} -- dvc.lock",
        "Code of the results": f"sha256 {origin['code']}",
        **{f"Digest of {name}": f"sha256 {value}" for name, value in origin.items() if name != "code"},
    }


def parameters(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return every setting by its dotted name, as `dvc exp run -S` takes it."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= parameters(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value)
    return found


def over_time_fact(config: EvaluateParams) -> dict[str, str]:
    """Say where each point stands for a block of dates; nothing where it is a date."""
    if config.scoring != TIME_SERIES:
        return {}
    said = f"blocks of {config.block_dates} dates, all symbols and dates of which are ordered against each other"
    return {"Scored over time": f"{said}; what is called a date on this page is a block, dated by its first"}


def auc_facts(metrics: Mapping[str, Mapping[str, float | None]]) -> dict[str, str]:
    """A line per label that was scored over time: how well directions were told apart and called."""
    return {f"AUC {label}": direction_in_words(one) for label, one in metrics.items() if "auc_low" in one}


def direction_in_words(scores: Mapping[str, float | None]) -> str:
    """AUC, accuracy, MCC and F1 over all cells with their intervals, beside the floors."""
    named = (("AUC", "auc"), ("accuracy", "accuracy"), ("MCC", "mcc"), ("F1", "f1"))
    said = [f"{word} {interval_of(scores, name)}" for word, name in named]
    floors = f"always the commoner {number(scores['majority_accuracy'])}, opposite of the last move: AUC "
    return (
        f"{', '.join(said)}; {floors}{number(scores['opposite_auc'])}, accuracy {number(scores['opposite_accuracy'])}"
    )


def interval_of(scores: Mapping[str, float | None], name: str) -> str:
    """Return a score with its interval as text."""
    return f"{number(scores[name])} [{number(scores[f'{name}_low'])}, {number(scores[f'{name}_high'])}]"


def number(value: float | None) -> str:
    """Return three decimals; - for what is undefined."""
    return "-" if value is None else f"{value:.3f}"


def universe(dataset: dict[str, Any]) -> str:
    """How the symbols were picked and prices adjusted, as `dataset.yaml` says it."""
    return f"{dataset['universe']}. Prices: {dataset['adjustment']}."


def book_rule(config: EvaluateParams) -> str:
    """Return in words how a forecast becomes a book, and what it pays."""
    book, costs = config.portfolio, config.portfolio.costs
    kinds = {
        "quantiles": f"the top of {config.quantiles} quantiles long, the bottom one short, in equal weights",
        "rank": "long and short in proportion to the rank of the forecast",
        "long_only": f"the top of {config.quantiles} quantiles in equal weights",
        "top_k": f"the {book.held} highest forecasts"
        + ("" if book.max_replaced is None else f", at most {book.max_replaced} replaced a date"),
    }
    limits = ", ".join(f"{name} {value:g}" for name, value in book.limits.given.items())
    against = "the universe in equal weights, free of costs" if book.benchmark == "universe" else book.benchmark
    ranked = ", forecasts ranked inside sectors" if book.sector_neutral else ""
    bounds = f"; limits: {limits}" if limits else ""
    return (
        f"The book: {kinds[book.kind]}{ranked}, {book.gross:g} of equity in all{bounds}. "
        f"Costs a side: {costs.commission:g} basis points of commission, {costs.half_spread:g} of half spread, and "
        f"{costs.impact:g} x volatility x sqrt(share of what {costs.volume_bars} bars trade on average) for a book of "
        f"{book.money:,.0f}; {costs.borrow:g} basis points a year for what is short. Benchmark: {against}."
    )
