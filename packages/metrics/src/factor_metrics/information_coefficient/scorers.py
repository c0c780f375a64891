"""Scores of long columns date by date, as scikit-learn's searches ask for them; scikit-learn itself is not needed.

The date of each row comes from `dates`, or from the index of a pandas series or frame, in its one level of stamps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import check_at_least
from factor_metrics.information_coefficient.ic import rank_ic
from factor_metrics.labels import same_labels

PerDate = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""A score of the targets and forecasts of one date, such as scikit-learn's r2_score."""


@same_labels("y_true", "y_pred", "dates")
def rank_ic_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, dates: ArrayLike | None = None, min_symbols: int = 3
) -> float:
    """Return the mean over dates of the rank correlation of target and forecast, of long columns.

    It has the arguments of scikit-learn's metrics, so `make_scorer(rank_ic_score)` is a scorer; `rank_ic_scorer` is one
    without scikit-learn.

    Parameters
    ----------
    y_true, y_pred
        (num_rows,) each, rows in any order; NaN = missing.
    dates
        (num_rows,) the date of each row, any values that can be sorted. None: those of the index of `y_true` or
        `y_pred`.
    min_symbols
        Rows with both values that a date needs; dates with fewer, and those on which a side is constant, do not count.

    Returns
    -------
    float
        NaN where no date counts.

    Examples
    --------
    >>> days = [1, 1, 1, 2, 2, 2]
    >>> rank_ic_score([1.0, 2.0, 3.0, 30.0, 20.0, 10.0], [0.1, 0.2, 0.3, 0.1, 0.3, 0.2], dates=days)
    0.25
    """
    check_at_least("min_symbols", min_symbols, 2)
    true, predicted, rows_of_date = _by_date(y_true, y_pred, dates)
    width = max(map(len, rows_of_date), default=0)
    matrices = np.full((2, len(rows_of_date), width), np.nan)
    for place, rows in enumerate(rows_of_date):
        matrices[0, place, : len(rows)], matrices[1, place, : len(rows)] = true[rows], predicted[rows]
    found = rank_ic(matrices[1], matrices[0], min_symbols)
    return float(np.nanmean(found)) if np.isfinite(found).any() else math.nan


class DateScorer:
    """A scorer of scikit-learn that scores every date by itself and returns the mean over dates.

    Parameters
    ----------
    metric
        A function of (y_true, y_pred) of one date. None: the rank correlation (`rank_ic_score`).
    sign
        -1 where less is better, as of an error: a search takes the highest.
    min_symbols
        Rows with both values that a date needs to count.

    Notes
    -----
    A search calls it with rows of X and y, so they have to tell their dates: give pandas frames or series indexed by
    date, or ask for `dates` by metadata routing, `make_scorer(rank_ic_score).set_score_request(dates=True)`.

    Examples
    --------
    >>> class Model:
    ...     def predict(self, X):
    ...         return np.asarray(X)
    >>> scorer = DateScorer(lambda true, predicted: float(np.mean((true - predicted) ** 2)), sign=-1, min_symbols=1)
    >>> scorer(Model(), [1.0, 2.0, 5.0], [1.0, 3.0, 5.0], dates=[1, 1, 2])
    -0.25
    """

    def __init__(self, metric: PerDate | None = None, *, sign: int = 1, min_symbols: int = 3) -> None:
        if sign not in (1, -1):
            raise ValueError(f"sign must be 1 or -1, got {sign!r}")
        check_at_least("min_symbols", min_symbols, 1)
        self.metric, self.sign, self.min_symbols = metric, sign, min_symbols

    def __call__(self, estimator: Any, X: Any, y: ArrayLike, dates: ArrayLike | None = None) -> float:
        """Return the mean score of the estimator's forecasts of X; ValueError where no dates are known."""
        predicted = estimator.predict(X)
        if dates is None:
            dates = first_dates(y, X)
        if self.metric is None:
            least = max(2, self.min_symbols)
            return self.sign * rank_ic_score(np.asarray(y), np.asarray(predicted), dates=dates, min_symbols=least)
        true, forecast, rows_of_date = _by_date(np.asarray(y), np.asarray(predicted), dates)
        known = np.isfinite(true) & np.isfinite(forecast)
        scored = [kept for rows in rows_of_date if len(kept := rows[known[rows]]) >= self.min_symbols]
        scores = [float(self.metric(true[rows], forecast[rows])) for rows in scored]
        return self.sign * float(np.mean(scores)) if scores else math.nan


rank_ic_scorer = DateScorer()
"""Scorer of scikit-learn: the mean rank IC, `GridSearchCV(model, grid, scoring=rank_ic_scorer)`."""


def first_dates(*arguments: Any) -> NDArray | None:
    """Return the date of each row of the first of the arguments that tells it; None where none does."""
    return next((found for found in map(dates_of, arguments) if found is not None), None)


def dates_of(values: Any) -> NDArray | None:
    """Return the date of each row of a pandas object, the one level of stamps in its index; None where it has none."""
    index: Any = getattr(values, "index", None)
    if not hasattr(index, "nlevels"):
        return None
    levels = [index.get_level_values(number) for number in range(index.nlevels)]
    stamps = [level for level in levels if level.dtype.kind == "M"]
    return np.asarray(stamps[0]) if len(stamps) == 1 else None


def _by_date(
    y_true: ArrayLike, y_pred: ArrayLike, dates: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[NDArray[np.int64]]]:
    """Return both columns, and the rows of each date in order."""
    of_row = first_dates(y_true, y_pred) if dates is None else np.asarray(dates)
    if of_row is None:
        raise ValueError("dates are not known: give dates, or y as a pandas series whose index has one level of stamps")
    true, predicted = (np.asarray(values, dtype=np.float64) for values in (y_true, y_pred))
    if true.ndim != 1 or not true.shape == predicted.shape == of_row.shape:
        raise ValueError(
            "y_true, y_pred and dates must be columns of one length, got "
            f"{true.shape}, {predicted.shape} and {of_row.shape}"
        )
    code = np.unique(of_row, return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    return true, predicted, np.split(order, np.flatnonzero(np.diff(code[order])) + 1) if len(order) else []
