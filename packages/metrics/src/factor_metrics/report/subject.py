"""The forecast that a page is about, and the rows of its report; all that they need is its evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import Series
from factor_metrics.floors.comparison import best_floor, floor_table
from factor_metrics.judging.book_results import date_texts
from factor_metrics.judging.config import EvaluationConfig
from factor_metrics.judging.evaluation import Evaluation, best_floor_rank_ic
from factor_metrics.judging.profile import Profile
from factor_metrics.report.data import Attained, DateSeries, FloorRow, Kind, ResultRow, RowCounts
from factor_metrics.significance.mean_test import mean_test


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A forecast of one label: judged, and what it is held against."""

    name: str
    """Name of the model, or of the stack."""
    label: str
    """Name of the label."""
    overlap: int
    """Dates over which the labels of neighbouring dates overlap."""
    dates: NDArray[np.datetime64]
    """(num_dates,) the dates that are scored."""
    judged: Evaluation
    """The forecast on these dates."""
    floors: Mapping[str, Evaluation]
    """Per floor its evaluation on the same dates and symbols."""
    attainable: Series | None
    """(num_dates,) rank IC of the true expectation, on a simulated market with a signal; else None."""
    profile: Profile
    """Quantile means, decay and calibration."""
    row_counts: RowCounts
    """Counts of the rows of the scored dates by what became of them."""

    @property
    def best_floor(self) -> str:
        """Name of the floor with the highest mean rank IC."""
        return best_floor({name: floor.rank_ic for name, floor in self.floors.items()})


def result_row(name: str, kind: Kind, judged: Evaluation, subject: Subject) -> ResultRow:
    """Return the scores of a forecast; what does not beat the best floor of `subject` is marked."""
    below = kind != "floor" and not judged.rank_ic_summary.mean > best_floor_rank_ic(subject.floors)
    return ResultRow(name=name, kind=kind, label=subject.label, scores=judged.scores(), below_floor=below)


def floor_rows(
    forecasts: Mapping[str, Evaluation],
    floors: Mapping[str, Evaluation],
    *,
    label: str,
    overlap: int,
    config: EvaluationConfig | None = None,
) -> list[FloorRow]:
    """Return each forecast beside each floor, compared date by date (`floor_table`); all over the same dates."""
    config = config or EvaluationConfig()
    table = floor_table(
        {name: judged.rank_ic for name, judged in forecasts.items()},
        {name: judged.rank_ic for name, judged in floors.items()},
        overlap,
        config.confidence,
        config.bootstrap,
        config.seed,
    )
    return [FloorRow.of(line, label) for line in table]


def attained_row(name: str, judged: Evaluation, subject: Subject) -> list[Attained]:
    """Return what was reached of what is attainable, as one row; no row where that is not known."""
    if subject.attainable is None:
        return []
    reached, attainable = judged.rank_ic_summary.mean, float(np.nanmean(subject.attainable))
    return [
        Attained(
            name=name,
            label=subject.label,
            rank_ic=reached,
            attainable_rank_ic=attainable,
            ratio=reached / attainable,
        )
    ]


def date_series(dates: NDArray[np.datetime64], values: Mapping[str, Series]) -> DateSeries:
    """Return series (num_dates,) over their dates; where every bar is a whole day the time is left out."""
    return DateSeries(dates=date_texts(dates), values=dict(values))


def standard_error(subject: Subject) -> float:
    """Return the standard error of the mean rank IC (`mean_test`); NaN with too few dates."""
    return mean_test(subject.judged.rank_ic, subject.overlap).standard_error
