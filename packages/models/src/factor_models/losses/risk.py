"""Penalties on the forecasts of a date read as positions: their spread, extremes, concentration and change.

The first three are 0 up to a bound and grow with the square of what lies above it; turnover is linear.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from factor_models.losses.cross_section import CrossSections

LEAST_SIZE = 1e-3
"""Forecasts whose mean size is below it are judged as if it were that large: concentration of nothing is no risk."""


def volatility(prediction: Tensor, dates: CrossSections, bound: float) -> Tensor:
    """max(0, standard deviation over the symbols - bound)^2."""
    variance_GH = dates.mean(dates.centred(prediction).square())
    least = max(bound**2, 1e-12)  # the root has no slope at 0
    return (variance_GH.clamp(min=least).sqrt() - least**0.5).square()


def extreme(prediction: Tensor, dates: CrossSections, bound: float) -> Tensor:
    """Mean of max(0, |forecast| - bound)^2."""
    return dates.mean(functional.relu(prediction.abs() - bound).square())


def leverage(prediction: Tensor, dates: CrossSections, bound: float) -> Tensor:
    """max(0, largest |forecast| / mean |forecast| - bound)^2."""
    size_BH = prediction.abs()
    is_largest_BH = (size_BH == dates.highest(size_BH)[dates.groups]).to(size_BH.dtype)
    largest_GH = dates.total(size_BH * is_largest_BH * dates.mass_BH)
    largest_GH = largest_GH / dates.total(is_largest_BH * dates.mass_BH).clamp(min=torch.finfo(size_BH.dtype).tiny)
    return functional.relu(largest_GH / dates.mean(size_BH).clamp(min=LEAST_SIZE) - bound).square()


def turnover(prediction: Tensor, dates: CrossSections) -> Tensor:
    """Mean of |forecast - that of the symbol one bar earlier| over the windows that have the latter in their batch.

    Both must have a known target. A date without any such pair has the value 0: with dates drawn at random nearly all
    are; with runs of consecutive dates all but the first of each run have pairs.
    """
    if dates.previous is None:
        return torch.zeros_like(dates.total_GH)
    has = dates.previous >= 0
    at = dates.previous.clamp(min=0)
    mass_BH = dates.mass_BH * (has.unsqueeze(1) & dates.known_BH[at])
    total_GH = dates.total(mass_BH)
    change_GH = dates.total(mass_BH * (prediction - prediction[at]).abs())
    return change_GH / torch.where(total_GH > 0, total_GH, torch.ones_like(total_GH))
