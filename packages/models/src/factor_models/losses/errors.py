"""Errors of single forecasts: squared, absolute, and Huber's mixture of both."""

from torch import Tensor
from torch.nn import functional

from factor_models.losses.cross_section import CrossSections


def mse(prediction: Tensor, dates: CrossSections) -> Tensor:
    """Mean squared error."""
    return dates.mean((prediction - dates.target_BH).square())


def mae(prediction: Tensor, dates: CrossSections) -> Tensor:
    """Mean absolute error: its best constant is the median."""
    return dates.mean((prediction - dates.target_BH).abs())


def huber(prediction: Tensor, dates: CrossSections, delta: float) -> Tensor:
    """Mean of e^2 / 2 up to |e| = delta and delta (|e| - delta / 2) beyond.

    Source: Huber (1964), "Robust Estimation of a Location Parameter".
    """
    return dates.mean(functional.huber_loss(prediction, dates.target_BH, reduction="none", delta=delta))
