"""What a report is made of: plain data, checked for shape, and nothing of how it looks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.floors.comparison import FloorComparison
from factor_metrics.judging.anatomy_results import Anatomy
from factor_metrics.judging.book_results import BookResult
from factor_metrics.judging.gates import Gate
from factor_metrics.judging.importance import Importance
from factor_metrics.judging.profile import Profile
from factor_metrics.judging.scores import Scores

Kind = Literal["model", "stack", "floor"]
"""Kinds of a forecast."""

_READ_FIRST = ("rank_ic", "ci_low", "ci_high", "t_stat", "p_value", "effective_dates", "naive_t_stat", "icir")


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """The out-of-sample scores of one model, stack or floor for one label."""

    name: str
    kind: Kind
    label: str
    scores: Scores
    below_floor: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ResultRow:
        """Return the row that `to_dict` wrote; KeyError where a key is missing."""
        return cls(
            name=document["name"],
            kind=document["kind"],
            label=document["label"],
            scores=Scores.of(document),
            below_floor=document.get("below_floor", False),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the row as one flat mapping, scores in the order that a table shows them in."""
        scores = in_reading_order(self.scores)
        return {
            "name": self.name,
            "kind": self.kind,
            "label": self.label,
            **scores,
            "below_floor": self.below_floor,
        }


@dataclass(frozen=True, kw_only=True)
class FloorRow:
    """One forecast beside one floor for one label: the difference of mean rank IC and its interval."""

    name: str
    floor: str
    label: str
    rank_ic: float | None
    floor_rank_ic: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None = None
    effective_dates: float | None = None

    @classmethod
    def of(cls, comparison: FloorComparison, label: str) -> FloorRow:
        """Return the row of one line of `floor_table`."""
        return cls(
            name=comparison.model,
            floor=comparison.floor,
            label=label,
            rank_ic=comparison.model_mean,
            floor_rank_ic=comparison.floor_mean,
            difference=comparison.difference,
            low=comparison.ci_low,
            high=comparison.ci_high,
            p_value=comparison.p_value,
            effective_dates=comparison.effective_dates,
        )

    def to_difference(self) -> dict[str, float | str | None]:
        """Return the forecast less the floor, by the names that a floors file has it under."""
        return {
            "difference": self.difference,
            "difference_low": self.low,
            "difference_high": self.high,
            "difference_p": self.p_value,
            "difference_effective_dates": self.effective_dates,
            "model_is": self.status,
        }

    @property
    def status(self) -> Literal["above", "unproven", "below"]:
        """Above: the whole interval is. Below: the mean is not above 0, or unknown. Else unproven."""
        if self.difference is None or not self.difference > 0.0:
            return "below"
        return "above" if self.low is not None and self.low > 0.0 else "unproven"


@dataclass(frozen=True, kw_only=True)
class Attained:
    """The rank IC reached beside the one that a perfect forecast of the signal would reach."""

    name: str
    label: str
    rank_ic: float | None
    attainable_rank_ic: float | None
    ratio: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class DateSeries:
    """Named series over shared dates (ISO texts); every series is as long as `dates` and may hold NaN."""

    dates: Sequence[str]
    values: Mapping[str, ArrayLike]

    def __post_init__(self) -> None:
        """Refuse a series of another length than the dates."""
        for name, series in self.values.items():
            if np.asarray(series, dtype=float).shape != (len(self.dates),):
                raise ValueError(f"series {name!r} needs one value for each of the {len(self.dates)} dates")


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightTable:
    """Stack weights: `matrix[i, j]` is the weight of `models[j]` in `folds[i]`."""

    folds: Sequence[str]
    models: Sequence[str]
    matrix: ArrayLike

    def __post_init__(self) -> None:
        """Refuse a matrix of another shape than folds by models."""
        if np.asarray(self.matrix, dtype=float).shape != (len(self.folds), len(self.models)):
            raise ValueError("the weight matrix needs one row for each fold and one column for each model")


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What one model adds to the stack: the rank IC with it less that without it, paired by date. NaN = undefined."""

    name: str
    weight: float
    """Its mean weight over the folds."""
    present: float
    """Share of the stack's rows on which it takes part."""
    rank_ic: float
    """Mean rank IC of the model alone."""
    without: float
    """Mean rank IC of the stack of the others."""
    difference: float
    """Mean rank IC of the stack less that."""
    low: float
    """Lower end of the interval of the difference."""
    high: float
    """Upper end."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Diversity:
    """Correlations between the models' predictions, the pairs that are too much alike, and what each model adds."""

    names: Sequence[str]
    correlation: ArrayLike
    redundant: Sequence[tuple[str, str]] = ()
    errors: ArrayLike | None = None
    """(num_models, num_models) correlations between the models' errors."""
    clusters: Sequence[Sequence[str]] = ()
    """Groups that redundant pairs join."""
    effective: float | None = None
    """Uncorrelated models that would be as diverse."""
    contributions: Sequence[Contribution] = ()
    pruned: Sequence[str] = ()
    """Models that folds go without, each with its reason."""

    def __post_init__(self) -> None:
        """Refuse a matrix that is not names by names."""
        for matrix in (self.correlation, self.errors):
            if matrix is not None and np.asarray(matrix, dtype=float).shape != (len(self.names), len(self.names)):
                raise ValueError("the correlation matrix needs one row and one column for each name")


@dataclass(frozen=True, kw_only=True)
class Overfit:
    """Validation against test rank IC of one model or fold; `gap` is the first less the second."""

    name: str
    label: str
    valid_rank_ic: float | None
    test_rank_ic: float | None
    gap: float | None
    t_stat: float | None = None
    """t-statistic of the gap, the two samples taken as independent."""
    threshold: float | None = None

    @property
    def retention(self) -> float | None:
        """Test over validation; None where validation is not above 0, for a ratio would mean nothing."""
        valid, test = self.valid_rank_ic, self.test_rank_ic
        return None if valid is None or test is None or not valid > 0.0 else test / valid


@dataclass(frozen=True, kw_only=True)
class RowCounts:
    """Counts of the rows of the scored dates for one label.

    `without_prediction`, `without_price`, `after_the_end` and `scored` add up to `in_universe`.
    """

    label: str
    bars: int
    """Rows of the panel."""
    in_universe: int
    """Rows of the panel that are in the universe."""
    without_prediction: int
    """No forecast was made, as where the lookback is not full."""
    without_price: int
    """A forecast, but no label before the data end: delisted without a rule for that, suspended, missing."""
    after_the_end: int
    """A forecast, but the data ends before the exit."""
    scored: int
    """A forecast and a label."""
    delisted: int = 0
    """A forecast, and the symbol stops between entry and exit: the rule decides whether it is scored."""
    rule: str = ""
    """The label in words, with what is made of a symbol that stops."""


@dataclass(frozen=True, kw_only=True)
class DriftRow:
    """How far an input, or a forecast, of one fold has moved from the dates before (`drift`)."""

    what: str
    """input or forecast."""
    name: str
    fold: int
    psi: float
    """Population stability index."""
    distance: float
    """Distance of Kolmogorov and Smirnov."""
    adjusted_p_value: float
    """Its p-value, a date counted as one value, corrected for all rows of its kind."""


@dataclass(frozen=True, kw_only=True)
class QualityRule:
    """What one data quality rule found, and what was done about it; `share` lies in 0 to 1."""

    rule: str
    description: str
    action: str
    count: int
    share: float | None


@dataclass(frozen=True, kw_only=True, repr=False)
class ReportData:
    """Everything a report shows: of a stack, or of one model. What is empty is left out of the page."""

    title: str
    subtitle: str
    promoted: bool | None = None
    """None where promotion is not the question, as for a single model."""
    subject: str = "stack"
    """The forecast that the page is about: its name in the rows and series."""
    facts: Mapping[str, str] = field(default_factory=dict)
    gates: Sequence[Gate] = ()
    rows: Sequence[ResultRow] = ()
    floors: Sequence[FloorRow] = ()
    attained: Sequence[Attained] = ()
    ic_series: Mapping[str, DateSeries] = field(default_factory=dict)
    """Rank IC per date, by label."""
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    """Standard error of the subject's mean rank IC, by label: the band of the chart."""
    overlaps: Mapping[str, int] = field(default_factory=dict)
    """Dates over which the values of a label overlap: its spreads are divided by it. 1 where it is not given."""
    spread_series: Mapping[str, DateSeries] = field(default_factory=dict)
    turnover_series: Mapping[str, DateSeries] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """Quantiles, decay and calibration of the subject, by label."""
    quantile_series: Mapping[str, DateSeries] = field(default_factory=dict)
    """Mean label per quantile of the subject's forecast and date, by label; lowest quantile first."""
    anatomies: Mapping[str, Anatomy] = field(default_factory=dict)
    """What the subject's forecast is made of, by label."""
    importances: Mapping[str, Importance] = field(default_factory=dict)
    """What the subject's forecast rests on, by label."""
    books: Mapping[str, BookResult] = field(default_factory=dict)
    """The subject as a book after costs, by label."""
    no_books: Mapping[str, str] = field(default_factory=dict)
    """Why a label has no book."""
    book_rule: str = ""
    """In words how a forecast becomes a book, and what trading costs."""
    weights: Mapping[str, WeightTable] = field(default_factory=dict)
    diversity: Mapping[str, Diversity] = field(default_factory=dict)
    overfit: Sequence[Overfit] = ()
    fold_picture: str = ""
    """Inline SVG of the folds, written by the project itself: it goes into the page as it is."""
    universe: str = ""
    """How the symbols were picked, in the words of whoever picked them."""
    row_counts: Sequence[RowCounts] = ()
    drift: Sequence[DriftRow] = ()
    quality: Sequence[QualityRule] = ()
    curves: Mapping[str, DateSeries] = field(default_factory=dict)
    """Loss, score and the like of each epoch of the training, a series per fold; the dates are the epochs."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """What the page was made of, in digests, and how to find that again."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Every parameter that decided the results, by its dotted name."""

    def __repr__(self) -> str:
        labels = ", ".join(self.labels) or "none"
        return f"ReportData({self.title!r}, {self.subject}, labels {labels}, {len(self.rows)} rows)"

    def _repr_html_(self) -> str:
        from factor_metrics.report.page import build_report
        from factor_metrics.report.showing import page_frame

        return page_frame(build_report(self))

    def save(self, path: str | Path) -> Path:
        """Write the page into a file, whole or not at all, and return its path."""
        from factor_metrics.report.page import build_report
        from factor_metrics.writing import write_text

        return write_text(path, build_report(self))

    def figures(self, label: str | None = None) -> dict[str, Any]:
        """Return the charts of one label (None: the first) as matplotlib figures, by name, for papers and slides.

        ValueError where matplotlib (the extra `png`) is not installed, or the report has no such label.

        >>> ReportData(title="a", subtitle="b").figures()
        Traceback (most recent call last):
        ValueError: the report has no label to draw
        """
        from factor_metrics.report.figures import report_figures

        return report_figures(self, label)

    @property
    def labels(self) -> list[str]:
        """Every label that something is shown of, in the order of the results."""
        named = [*self.ic_series, *self.spread_series, *self.turnover_series, *self.profiles]
        return list(dict.fromkeys([*(row.label for row in self.rows), *named]))


def in_reading_order(scores: Scores) -> dict[str, float]:
    """Return the scores by name: the rank IC and what belongs to it first, then the others as in `Scores`."""
    by_name = scores.to_dict()
    return {name: by_name[name] for name in _READ_FIRST} | by_name


def finite(value: float | None) -> float | None:
    """Return a finite number as it is, and None for anything else."""
    return value if value is not None and math.isfinite(value) else None
