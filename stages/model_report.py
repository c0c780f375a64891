"""One model's results in the form that the report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore
from factor_metrics import compare_samples
from factor_metrics.report import DateSeries, FloorRow, Overfit, ReportData, ResultRow
from stages.params import Params
from stages.report_data import (
    Subject,
    attained_row,
    date_series,
    picture_of_folds,
    quality_rules,
    result_row,
    shared_facts,
    standard_error,
    universe,
)
from stages.run import read_json


def model_report(
    subjects: Sequence[Subject],
    floors: Sequence[FloorRow],
    folds: NDArray[np.int64],
    valid: Mapping[int, NDArray[np.float64]],
    store: FeatureStore,
    params: Params,
    split: Path,
) -> ReportData:
    """Gather what the page of one model shows.

    `folds` (num_dates,) says which fold tests a date; `valid` holds by horizon the rank IC on valid dates, a row per
    fold; `split` is the folder with dataset.json, quality.json and folds.json.
    """
    dataset, name = read_json(split / "dataset.json"), subjects[0].name
    return ReportData(
        title=f"Factorcast: {name}",
        subtitle=f"{dataset['name']} · out-of-fold predictions of one model",
        subject=name,
        facts=facts(name, subjects[0], folds, store, params),
        rows=[row for one in subjects for row in result_rows(one)],
        floors=floors,
        attained=[row for one in subjects for row in attained_row(name, one.judged, one)],
        ic_series={one.horizon: beside_floor(one, "rank_ic", one.attainable) for one in subjects},
        standard_errors={one.horizon: standard_error(one) for one in subjects},
        spread_series={one.horizon: beside_floor(one, "spread") for one in subjects},
        turnover_series={one.horizon: beside_floor(one, "turnover") for one in subjects},
        profiles={one.horizon: one.profile for one in subjects},
        overfit=[row for one in subjects for row in overfit(one, folds, valid[one.horizon])],
        fold_picture=picture_of_folds(split, store),
        universe=universe(dataset),
        row_counts=[one.row_counts for one in subjects],
        quality=quality_rules(split),
    )


def facts(
    name: str, subject: Subject, folds: NDArray[np.int64], store: FeatureStore, params: Params
) -> dict[str, str]:
    """How the model was made and scored."""
    settings = ", ".join(f"{key} {value}" for key, value in asdict(params.zoo[name]).items())
    training = f"target {params.train.target}, seed {params.train.seed}"
    return {
        "Model": f"{name}: {settings}" if settings else name,
        "Training": f"{training}, loss {params.train.loss}, per fold",
        "Folds": f"{len(np.unique(folds))}, every date predicted by the fold that did not see it",
        **shared_facts(subject.dates, store, params.evaluate),
    }


def result_rows(subject: Subject) -> list[ResultRow]:
    return [
        result_row(subject.name, "model", subject.judged, subject),
        *(result_row(name, "floor", judged, subject) for name, judged in subject.floors.items()),
    ]


def beside_floor(subject: Subject, series: str, attainable: NDArray[np.float64] | None = None) -> DateSeries:
    """A series of the model and of its best floor, and what is attainable where that is known."""
    floor = subject.best_floor
    values = {subject.name: getattr(subject.judged, series), floor: getattr(subject.floors[floor], series)}
    if attainable is not None:
        values["attainable"] = attainable
    return date_series(subject.dates, values)


def overfit(subject: Subject, folds: NDArray[np.int64], valid: NDArray[np.float64]) -> list[Overfit]:
    """Valid beside test rank IC: of all folds, then of each."""
    test, horizon = subject.judged.rank_ic, subject.horizon
    compared = {"all folds": compare_samples(valid[np.isfinite(valid)], test, horizon)}
    for position, fold in enumerate(np.unique(folds)):
        compared[f"fold {fold}"] = compare_samples(valid[position], test[folds == fold], horizon)
    return [
        Overfit(
            name=name,
            horizon=horizon,
            valid_rank_ic=one.in_sample,
            test_rank_ic=one.out_of_sample,
            gap=one.degradation,
            t_stat=one.degradation_t_stat,
        )
        for name, one in compared.items()
    ]
