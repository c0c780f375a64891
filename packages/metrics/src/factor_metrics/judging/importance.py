"""How much of a forecast rests on an input: permutation inside dates. Numbers and the shuffle; models are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import check_same_shape
from factor_metrics.judging.profile import Estimates
from factor_metrics.labels import same_labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Importance:
    """What one model's forecasts of one label lose without each input."""

    groups: Estimates
    """Mean rank IC lost where all inputs of a group are shuffled together, with its interval."""
    inputs: Estimates
    """The same of every input by itself."""
    num_dates: int
    """Test dates that were looked at."""
    gain: Mapping[str, float] = field(default_factory=dict)
    """Share of each input in what the splits of trees gained in training, mean over folds; empty of other models."""


@same_labels("values", "date_code")
def shuffled_within_dates(
    values: NDArray, date_code: NDArray[np.integer], columns: NDArray[np.integer], generator: np.random.Generator
) -> NDArray:
    """Return a copy of `values` (num_rows, num_inputs) in which rows of a date have exchanged these columns.

    All the columns move together, so what ties them to each other is kept, as are their distributions of the date,
    missing values among them; what ties them to the symbol is lost (Breiman, 2001, "Random forests", by date).
    `date_code` (num_rows,) are whole numbers. What is the same for all symbols of a date stays what it is.

    Examples
    --------
    >>> values = np.array([[1.0, 1.0], [2.0, 2.0], [9.0, 9.0]])
    >>> shuffled = shuffled_within_dates(values, np.array([0, 0, 1]), np.array([1]), np.random.default_rng(0))
    >>> shuffled[:, 0].tolist(), sorted(shuffled[:2, 1].tolist()), shuffled[2, 1].item()
    ([1.0, 2.0, 9.0], [1.0, 2.0], 9.0)
    """
    check_same_shape("the first column", values[:, 0], "date_code", date_code)
    taken = np.empty(len(values), dtype=np.int64)
    # Sorted by date in the order of the rows, and by date in an order of luck: of a date as many of both.
    taken[np.argsort(date_code, kind="stable")] = np.lexsort((generator.random(len(values)), date_code))
    result = values.copy()
    result[:, columns] = values[np.ix_(taken, columns)]
    return result
