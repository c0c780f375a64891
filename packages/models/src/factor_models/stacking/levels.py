"""Forecasts combined by their levels, where they are compared over time and not with others of their date."""

from __future__ import annotations

import numpy as np


def combine_levels(forecasts: np.ndarray, weights: np.ndarray, means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Return the weighted mean of forecasts that are less a mean and over a deviation known beforehand, (num_rows,).

    Parameters
    ----------
    forecasts : (num_models, num_rows), NaN = missing: the others' weights are used then, equal ones where those are 0
    weights, means, deviations : (num_models, num_rows) or (num_models, 1); a model with a deviation of 0 or NaN is
        missing

    Returns
    -------
    float64; NaN where all models are missing
    """
    known = np.isfinite(forecasts) & (deviations > 0.0)
    scaled = np.where(known, (forecasts.astype(np.float64) - means) / np.where(deviations > 0.0, deviations, 1.0), 0.0)
    used = np.where(known, weights, 0.0)
    used = np.where(np.abs(used).sum(axis=0) > 0.0, used, known)
    total, size = np.zeros(forecasts.shape[1]), np.zeros(forecasts.shape[1])
    for value, weight in zip(scaled, used, strict=True):  # in their order: the same bits for one row and for many
        total += value * weight
        size += np.abs(weight)
    return np.divide(total, size, out=np.full(len(size), np.nan), where=size > 0.0)
