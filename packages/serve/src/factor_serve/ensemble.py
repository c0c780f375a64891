"""The stack of one date: members' forecasts as ranks of the date, weighted as the bundle says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from factor_metrics import constant_dates
from factor_models import rank_standardise


def stack_of_date(forecasts: Mapping[str, NDArray[np.float32]], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the stack of one label on one date, (num_symbols,); NaN where a member has no forecast.

    Parameters
    ----------
    forecasts : per member (num_symbols,), NaN where it has none; one that is the same for all symbols up to float32
        rounding orders nothing, and leaves the date without a stack
    weights : of every member
    """
    rows = [_without_constant(forecasts[name]) for name in weights]
    date = np.zeros(len(rows[0]), dtype=np.int64)
    ranks = rank_standardise(np.stack(rows), date)
    total = np.zeros(len(date))
    for weight, row in zip(weights.values(), ranks, strict=True):
        total += weight * row
    return np.where(np.isfinite(ranks).all(axis=0), total, np.nan)


def _without_constant(forecast: NDArray[np.float32]) -> NDArray[np.float64]:
    constant = constant_dates(forecast[None], np.float32)[0]
    return np.full(len(forecast), np.nan) if constant else forecast.astype(np.float64)
