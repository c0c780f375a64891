"""Errors of single forecasts: squared, absolute, and Huber's mixture of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from factor_models.losses.cross_section import CrossSections
from factor_models.losses.settings import LossConfig, check_positive


def mse(prediction: Tensor, dates: CrossSections) -> Tensor:
    """Mean squared error."""
    return dates.mean((prediction - dates.target_BH).square())


def mae(prediction: Tensor, dates: CrossSections) -> Tensor:
    """Mean absolute error: its best constant is the median."""
    return dates.mean((prediction - dates.target_BH).abs())


@dataclass(frozen=True, kw_only=True)
class HuberConfig(LossConfig):
    """Settings of huber."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    delta: float = 1.0
    """Error at which square turns into straight, in the unit of the target."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "delta")


def huber(prediction: Tensor, dates: CrossSections, delta: float) -> Tensor:
    """Mean of e^2 / 2 up to |e| = delta and delta (|e| - delta / 2) beyond.

    Source: Huber (1964), "Robust Estimation of a Location Parameter".
    """
    return dates.mean(functional.huber_loss(prediction, dates.target_BH, reduction="none", delta=delta))
