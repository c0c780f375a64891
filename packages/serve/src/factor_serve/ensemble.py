"""The stack of one date: members' forecasts as ranks of the date, weighted and scaled as the bundle says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from factor_metrics import constant_dates
from factor_models import combine_levels, combine_ranks, rank_standardise


def stack_of_date(
    forecasts: Mapping[str, NDArray[np.float32]], weights: Mapping[str, float], scale: float
) -> NDArray[np.float64]:
    """Return the stack of one label on one date, (num_symbols,); NaN where no member has a forecast.

    Parameters
    ----------
    forecasts : per member (num_symbols,), NaN where it has none; one that is the same for all symbols up to float32
        rounding orders nothing, and has no part in the date
    weights : of every member; where some have no forecast, those of the others
    scale : factor that makes ranks the expectation of the standardised label
    """
    rows = np.stack([_without_constant(forecasts[name]) for name in weights])
    one_date = np.zeros(rows.shape[1], dtype=np.int64)
    wanted = np.ones(len(rows), dtype=bool)
    return scale * combine_ranks(rank_standardise(rows, one_date), one_date, np.array(list(weights.values())), wanted)


def stack_of_levels(
    forecasts: Mapping[str, NDArray[np.float32]],
    weights: Mapping[str, float],
    levels: Mapping[str, tuple[float, float]],
) -> NDArray[np.float64]:
    """Return the stack of one label on one date where forecasts are compared over time, (num_symbols,).

    Each member's forecast is taken less its mean and over its deviation of `levels`; NaN where none has a forecast.
    """
    rows = np.stack([forecasts[name] for name in weights])
    of_members = [
        np.array([[one] for one in values])
        for values in (
            list(weights.values()),
            [levels[name][0] for name in weights],
            [levels[name][1] for name in weights],
        )
    ]
    return combine_levels(rows, *of_members)


def _without_constant(forecast: NDArray[np.float32]) -> NDArray[np.float64]:
    constant = constant_dates(forecast[None], np.float32)[0]
    return np.full(len(forecast), np.nan) if constant else forecast.astype(np.float64)
