"""What the page of a model and the page of the stack have in common: words, facts of the data, the picture of folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import checked, fold_picture, read_folds
from factor_metrics.report import QualityRule, Subject
from stages.json_files import read_json
from stages.params.evaluate import EvaluateParams


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
        "Prediction": "made at the close of t",
        "Intervals": f"{config.confidence:.0%}, block bootstrap with {config.bootstrap} resamples",
        "Costs": "none are taken off; a spread is before costs",
    }


def universe(dataset: dict[str, Any]) -> str:
    """How the symbols were picked and prices adjusted, as `dataset.yaml` says it."""
    return f"{dataset['universe']}. Prices: {dataset['adjustment']}."
