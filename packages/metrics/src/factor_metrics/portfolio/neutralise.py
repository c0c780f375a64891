"""Books and signals without exposure: what is left after a regression on the exposures of the date."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_array, as_matrix
from factor_metrics.labels import same_labels


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
