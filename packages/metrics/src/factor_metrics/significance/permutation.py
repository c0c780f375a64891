"""Permutation test of the mean IC: the same predictions on the wrong symbols."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, as_float_array, check_at_least, check_same_shape
from factor_metrics.information_coefficient.ic import ic, rank_ic
from factor_metrics.kernel_cache import kernel
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ranks import rank_rows

Correlation = Literal["spearman", "pearson"]
Alternative = Literal["two-sided", "greater"]


class PermutationTest(NamedTuple):
    """Mean IC and where it lies among those of permuted predictions."""

    mean_ic: float
    p_value: float
    null_std: float
    """Standard deviation of the mean IC over permutations."""
    num_permutations: int
    num_dates: int


@same_labels("prediction", "label")
def permutation_test(
    prediction: ArrayLike,
    label: ArrayLike,
    num_permutations: int = 1000,
    seed: int = 0,
    *,
    correlation: Correlation = "spearman",
    alternative: Alternative = "two-sided",
    num_dates_together: int = 1,
    min_symbols: int = 10,
) -> PermutationTest:
    """Return the permutation test of the mean IC: symbols are exchanged within dates, never dates.

    p = (b + 1) / (n + 1), b = permutations whose mean IC is at least as far out: exact, never 0 (Phipson and
    Smyth, 2010, "Permutation p-values should never be zero"). The market of a date, its spread and its missing
    symbols stay as they are.

    With `num_dates_together` = 1 every date is permuted on its own. That is right where predictions of
    neighbouring dates are unrelated or labels do not overlap. A persistent prediction of overlapping labels
    repeats its luck for h - 1 dates, which such a test does not see (it rejects too often); then let one
    permutation hold for several horizons: the symbols present on all of these dates are exchanged with their
    history.

    Parameters
    ----------
    prediction, label
        (num_dates, num_symbols), NaN = missing; a symbol counts on a date where both are present.
    num_permutations, seed
        Number of draws and seed; the smallest p-value possible is 1 / (num_permutations + 1).
    correlation
        "spearman" (rank IC) or "pearson" (IC).
    alternative
        "two-sided": |mean IC| as large; "greater": mean IC as large.
    num_dates_together
        Consecutive dates that share a permutation, at least 1.
    min_symbols
        Dates with fewer symbols are left out, as are dates on which either side is constant.

    Returns
    -------
    PermutationTest
        NaN with no usable date.
    """
    for name, value, allowed in (
        ("correlation", correlation, get_args(Correlation)),
        ("alternative", alternative, get_args(Alternative)),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    check_at_least("num_permutations", num_permutations, 1)
    check_at_least("num_dates_together", num_dates_together, 1)
    x, y, group = _unit_scores(prediction, label, correlation, min_symbols, num_dates_together)
    if not len(x):
        return PermutationTest(np.nan, np.nan, np.nan, num_permutations, 0)
    observed = float((np.where(np.isnan(x), 0.0, x) * np.where(np.isnan(y), 0.0, y)).sum()) / len(x)
    starts = np.append(np.flatnonzero(np.diff(group, prepend=group[0] - 1)), len(group))
    permuted = _permuted_means(np.random.default_rng(seed), x, y, starts, num_permutations)
    # Sums in another order differ in the last digits: a permutation that changes nothing must count.
    distance = permuted if alternative == "greater" else np.abs(permuted)
    bound = (observed if alternative == "greater" else abs(observed)) - 1e-12
    p_value = (1.0 + float((distance >= bound).sum())) / (num_permutations + 1.0)
    return PermutationTest(observed, p_value, float(permuted.std()), num_permutations, len(x))


def _unit_scores(
    prediction: ArrayLike, label: ArrayLike, correlation: str, min_symbols: int, num_dates_together: int
) -> tuple[Matrix, Matrix, NDArray[np.int64]]:
    """Scores per usable date whose products add up to the IC, and the group of dates each belongs to."""
    x, y = as_float_array("prediction", prediction, 2), as_float_array("label", label, 2)
    check_same_shape("prediction", x, "label", y)
    usable = ~np.isnan((rank_ic if correlation == "spearman" else ic)(x, y, min_symbols))
    missing = np.isnan(x) | np.isnan(y)
    x, y = np.where(missing, np.nan, x), np.where(missing, np.nan, y)
    if correlation == "spearman":
        x, y = rank_rows(x), rank_rows(y)
    group = np.arange(len(x)) // num_dates_together
    return _to_unit(x[usable]), _to_unit(y[usable]), group[usable]


def _to_unit(values: Matrix) -> Matrix:
    """Deviations from the row mean over present values, scaled to length one."""
    if not len(values):
        return values
    deviation = values - np.nanmean(values, axis=1, keepdims=True)
    deviation /= np.nanmax(np.abs(deviation), axis=1, keepdims=True)
    return deviation / np.sqrt(np.nansum(np.square(deviation), axis=1, keepdims=True))


@kernel(nogil=True)
def _permuted_means(  # noqa: C901 -- loops over dates, symbols and draws, compiled as one
    generator: np.random.Generator,
    x: Matrix,
    y: Matrix,
    starts: NDArray[np.int64],
    num_permutations: int,
) -> NDArray[np.float64]:
    """Mean over dates of sum_s x[date, permuted s] y[date, s], one permutation per group of dates."""
    num_dates, num_symbols = x.shape
    totals = np.zeros(num_permutations)
    for index in range(len(starts) - 1):
        first, last = starts[index], starts[index + 1]
        complete = np.empty(num_symbols, dtype=np.int64)
        num_complete, fixed = 0, 0.0
        for symbol in range(num_symbols):
            present = True
            for date in range(first, last):
                present = present and not np.isnan(x[date, symbol])
            if present:
                complete[num_complete] = symbol
                num_complete += 1
            else:
                for date in range(first, last):
                    if not np.isnan(x[date, symbol]):
                        fixed += x[date, symbol] * y[date, symbol]
        x_complete = np.empty((last - first, num_complete))
        y_complete = np.empty((last - first, num_complete))
        for position in range(num_complete):
            for date in range(first, last):
                x_complete[date - first, position] = x[date, complete[position]]
                y_complete[date - first, position] = y[date, complete[position]]
        permuted = np.arange(num_complete)
        for draw in range(num_permutations):
            for position in range(num_complete - 1, 0, -1):
                other = int(generator.random() * (position + 1))
                permuted[position], permuted[other] = permuted[other], permuted[position]
            total = fixed
            for row in range(last - first):
                for position in range(num_complete):
                    total += x_complete[row, permuted[position]] * y_complete[row, position]
            totals[draw] += total
    return totals / num_dates
