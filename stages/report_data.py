"""What the report of a model and the report of the stack have in common, in the form that the report shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, fold_picture, read_folds
from factor_metrics import (
    Evaluation,
    Profile,
    best_floor,
    floor_table,
    newey_west_t,
    profile_forecast,
)
from factor_metrics.report import (
    Attained,
    DateSeries,
    FloorRow,
    QualityRule,
    ResultRow,
    RowCounts,
)
from stages.judge import best_floor_rank_ic, summary
from stages.params import EvaluateParams
from stages.run import read_json

Kind = Literal["model", "stack", "floor"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The forecast that a page is about, at one horizon: judged, and what it is judged by."""

    name: str
    horizon: int
    dates: NDArray[np.datetime64]
    judged: Evaluation
    floors: dict[str, Evaluation]
    attainable: NDArray[np.float64] | None
    """(num_dates,) rank IC of the true expectation, on a simulated market with a signal."""
    profile: Profile
    row_counts: RowCounts

    @property
    def best_floor(self) -> str:
        return best_floor({name: floor.rank_ic for name, floor in self.floors.items()})


def result_row(name: str, kind: Kind, judged: Evaluation, subject: Subject) -> ResultRow:
    """The scores of a forecast; what does not beat the best floor is marked."""
    below = kind != "floor" and not judged.rank_ic_summary.mean > best_floor_rank_ic(subject.floors)
    return ResultRow(name=name, kind=kind, horizon=subject.horizon, below_floor=below, **summary(judged))


def floor_rows(
    forecasts: Mapping[str, Evaluation],
    floors: Mapping[str, Evaluation],
    horizon: int,
    config: EvaluateParams,
) -> list[FloorRow]:
    """Each forecast beside each floor, date by date."""
    table = floor_table(
        {name: judged.rank_ic for name, judged in forecasts.items()},
        {name: judged.rank_ic for name, judged in floors.items()},
        horizon,
        config.confidence,
        config.bootstrap,
        config.seed,
    )
    return [FloorRow.of(line, horizon) for line in table]


def attained_row(name: str, judged: Evaluation, subject: Subject) -> list[Attained]:
    """What was reached of what is attainable; nothing where that is not known."""
    if subject.attainable is None:
        return []
    reached, attainable = judged.rank_ic_summary.mean, float(np.nanmean(subject.attainable))
    return [
        Attained(
            name=name,
            horizon=subject.horizon,
            rank_ic=reached,
            attainable_rank_ic=attainable,
            ratio=reached / attainable,
        )
    ]


def date_series(dates: NDArray[np.datetime64], values: Mapping[str, NDArray[np.float64]]) -> DateSeries:
    """Series over the dates; of bars of a day the time is left out."""
    texts = [str(date)[:19] for date in dates]
    whole_days = all(text.endswith("T00:00:00") for text in texts)
    return DateSeries(dates=[text[:10] for text in texts] if whole_days else texts, values=dict(values))


def standard_error(subject: Subject) -> float:
    """Of the mean rank IC, by Newey and West."""
    return newey_west_t(subject.judged.rank_ic, subject.horizon).standard_error


def profile(
    prediction: NDArray,
    target: NDArray,
    horizon: int,
    dates: NDArray[np.datetime64],
    store: FeatureStore,
    config: EvaluateParams,
) -> Profile:
    """Quantiles, decay and calibration of a prediction; `target` is what it was fitted to, in its unit.

    Both are (num_dates, num_symbols).
    """
    labels = {h: store.matrix(store.labels[:, head], dates) for head, h in enumerate(store.horizons)}
    return profile_forecast(
        prediction,
        labels,
        horizon,
        target,
        num_quantiles=config.quantiles,
        min_symbols=config.min_symbols,
        confidence=config.confidence,
        num_bootstrap=config.bootstrap,
        seed=config.seed,
    )


def row_counts(
    prediction: NDArray, horizon: int, dates: NDArray[np.datetime64], store: FeatureStore
) -> RowCounts:
    """Where the rows of the scored dates go."""
    on_dates = np.isin(store.dates, dates)[store.date_code]
    in_universe = int((on_dates & store.in_universe).sum())
    predicted = np.isfinite(prediction)
    known = np.isfinite(store.matrix(store.labels[:, store.horizons.index(horizon)], dates))
    ended = np.searchsorted(store.dates, dates) + store.delay + horizon >= len(store.dates)
    return RowCounts(
        horizon=horizon,
        bars=int(on_dates.sum()),
        in_universe=in_universe,
        without_prediction=in_universe - int(predicted.sum()),
        without_price=int((predicted & ~known)[~ended].sum()),
        after_the_end=int(predicted[ended].sum()),
        scored=int((predicted & known).sum()),
    )


def picture_of_folds(split: Path, store: FeatureStore) -> str:
    """When each fold trains, validates and tests, as inline SVG."""
    return fold_picture(read_folds(split / "folds.json"), store.dates)


def quality_rules(split: Path) -> list[QualityRule]:
    return [
        QualityRule(
            rule=rule["name"],
            description=rule["description"],
            action=rule["effect"],
            count=rule["count"],
            share=rule["share"],
        )
        for rule in read_json(split / "quality.json")["rules"]
    ]


def shared_facts(
    dates: NDArray[np.datetime64], store: FeatureStore, config: EvaluateParams
) -> dict[str, str]:
    """How any forecast was scored."""
    return {
        "Dates that are scored": f"{len(dates)}, {dates[0]!s:.10} to {dates[-1]!s:.10}",
        "Prediction": f"made at the close of t, entered {store.delay} bar(s) later",
        "Intervals": f"{config.confidence:.0%}, block bootstrap with {config.bootstrap} resamples",
        "Costs": "none are taken off; a spread is before costs",
    }


def universe(dataset: dict[str, Any]) -> str:
    """How the symbols were picked and prices adjusted, as `dataset.yaml` says it."""
    return f"{dataset['universe']}. Prices: {dataset['adjustment']}."
