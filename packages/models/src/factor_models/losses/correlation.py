"""The information coefficient as a loss: Pearson correlation of forecast and target over the symbols of a date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from factor_models.losses.base import Loss, TermLoss
from factor_models.losses.cross_section import VARIANCE_FLOOR, CrossSections
from factor_models.losses.settings import LossConfig, check_target_ic, per_target


def ic(prediction: Tensor, dates: CrossSections) -> Tensor:
    """1 - r; 1 where prediction or target is constant."""
    return 1.0 - correlation(prediction, dates.target_BH, dates)


@dataclass(frozen=True, kw_only=True)
class TargetICConfig(LossConfig):
    """Settings of target_ic."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    target_ic: float | tuple[float, ...] = 0.05
    """IC aimed at: one number, or one per label."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_target_ic(self.target_ic)


def ic_shortfall(prediction: Tensor, dates: CrossSections, target_ic: float | Sequence[float]) -> Tensor:
    """max(0, target_ic - r): what is missing to the IC aimed at. More than that is not punished, and not rewarded.

    `target_ic` is one number, or one per target.
    """
    aim_H = prediction.new_tensor(target_ic)
    return functional.relu(aim_H - correlation(prediction, dates.target_BH, dates))


def target_ic(config: TargetICConfig, targets: Sequence[str]) -> Loss:
    """The shortfall as a loss."""
    if isinstance(config.target_ic, tuple):
        per_target("target_ic", config.target_ic, targets)
    term = partial(ic_shortfall, target_ic=config.target_ic)
    return TermLoss({"target_ic": term}, config.weights_of(targets), targets)


def correlation(x_BH: Tensor, y_BH: Tensor, dates: CrossSections) -> Tensor:
    """Weighted Pearson correlation per date (G, H); 0 where one of them is constant."""
    x_BH, y_BH = dates.centred(x_BH), dates.centred(y_BH)
    covariance_GH = dates.mean(x_BH * y_BH)
    variance_x_GH, variance_y_GH = dates.mean(x_BH.square()), dates.mean(y_BH.square())
    return covariance_GH / ((variance_x_GH + VARIANCE_FLOOR) * (variance_y_GH + VARIANCE_FLOOR)).sqrt()
