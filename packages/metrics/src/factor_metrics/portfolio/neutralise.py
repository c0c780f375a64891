"""Books and signals without exposure: what is left after a regression on the exposures of the date."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_array, as_matrix, check_same_shape
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ranks import rank_rows


@same_labels("values", "exposures")
def neutralise(values: ArrayLike, exposures: ArrayLike, *, intercept: bool = True) -> Matrix:
    """Return, per date, the residual of `values` regressed on `exposures` over the symbols (least squares).

    The residual has no exposure: sum over symbols of residual times exposure is 0, and the residuals add up to
    0 with an intercept. For signals before they become weights, or for weights as they are; no position limit
    is looked at (`apply_limits` does both at once).

    Parameters
    ----------
    values
        (num_dates, num_symbols), NaN = missing.
    exposures
        (num_dates, num_symbols, num_exposures) known at the date: size, beta, 0/1 columns of sectors. A symbol
        with a NaN exposure is left out (NaN). Exposures may be collinear.
    intercept
        Also take out the mean of the date.

    Returns
    -------
    numpy.ndarray
        (num_dates, num_symbols); NaN where value or exposure is missing. Dates with no more symbols than
        regressors have residuals of 0 up to rounding.

    Examples
    --------
    >>> beta = np.array([[[1.0], [2.0], [3.0]]])
    >>> neutralise([[1.0, 2.0, 6.0]], beta).round(6)
    array([[ 0.5, -1. ,  0.5]])
    """
    matrix = as_matrix("values", values)
    loadings = as_exposures(exposures, matrix.shape)
    if intercept:
        loadings = np.concatenate([loadings, np.ones((*matrix.shape, 1))], axis=2)
    residuals = np.full(matrix.shape, np.nan)
    for date in range(len(matrix)):
        present = ~(np.isnan(matrix[date]) | np.isnan(loadings[date]).any(axis=1))
        if present.any():
            residuals[date, present] = project_out(matrix[date, present], loadings[date, present])
    return residuals


@same_labels("values", "group")
def rank_within_groups(values: ArrayLike, group: ArrayLike) -> Matrix:
    """Return the place of each symbol among those of its group and date, above 0 and below 1: (rank - 1/2) / count.

    The best fifth of all is then the best fifth of every group, so a book made of it has no bet on groups but for
    rounding to whole symbols.

    Parameters
    ----------
    values
        (num_dates, num_symbols), NaN = missing; ties have average ranks.
    group
        (num_dates, num_symbols) numbers of groups such as sectors; NaN = none, and the result is NaN.

    Examples
    --------
    >>> rank_within_groups([[1.0, 2.0, 9.0, 8.0]], [[1.0, 1.0, 2.0, 2.0]])
    array([[0.25, 0.75, 0.75, 0.25]])
    """
    matrix, code = _matrix_and_code(values, group)
    result = np.full(matrix.shape, np.nan)
    for one in range(int(code.max(initial=-1)) + 1):
        inside = np.where(code == one, matrix, np.nan)
        count = (~np.isnan(inside)).sum(axis=1, keepdims=True)
        result = np.where(code == one, (rank_rows(inside) - 0.5) / np.maximum(count, 1), result)
    return result


@same_labels("values", "group")
def less_group_mean(values: ArrayLike, group: ArrayLike) -> Matrix:
    """Return values less their mean over the symbols of the same group and date: the residual of a regression on them.

    `values` and `group` are (num_dates, num_symbols); NaN in either is NaN in the result.

    Examples
    --------
    >>> less_group_mean([[1.0, 3.0, 8.0]], [[1.0, 1.0, 2.0]])
    array([[-1.,  1.,  0.]])
    """
    matrix, code = _matrix_and_code(values, group)
    there = (code >= 0) & ~np.isnan(matrix)
    place = (np.arange(len(matrix))[:, None] * (code.max(initial=-1) + 1) + code)[there]
    count = np.bincount(place)
    result = np.full(matrix.shape, np.nan)
    result[there] = matrix[there] - (np.bincount(place, matrix[there]) / np.maximum(count, 1))[place]
    return result


def _matrix_and_code(values: ArrayLike, group: ArrayLike) -> tuple[Matrix, NDArray[np.int64]]:
    matrix, groups = as_matrix("values", values), as_matrix("group", group)
    check_same_shape("values", matrix, "group", groups)
    code = np.full(groups.shape, -1, dtype=np.int64)
    known = ~np.isnan(groups)
    code[known] = np.unique(groups[known], return_inverse=True)[1].ravel()
    return matrix, code


def project_out(values: Series, exposures: NDArray[np.float64]) -> Series:
    """Residual of one date: `values` (num_symbols,), `exposures` (num_symbols, num_exposures), no NaN."""
    scale = np.abs(exposures).max(axis=0, initial=0.0)
    scaled = exposures[:, scale > 0.0] / scale[scale > 0.0]
    if not scaled.shape[1]:
        return values.copy()
    left, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    basis = left[:, singular > 1e-10 * singular[0]]
    return values - basis @ (basis.T @ values)


def as_exposures(exposures: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return `exposures` as float64 (num_dates, num_symbols, num_exposures) over the shape given."""
    loadings = as_array("exposures", exposures, 3)
    if loadings.shape[:2] != shape:
        raise ValueError(
            f"exposures must have shape {(*shape, 'num_exposures')}, got {loadings.shape}".replace("'", "")
        )
    return loadings
