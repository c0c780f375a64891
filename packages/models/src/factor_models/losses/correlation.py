"""The information coefficient as a loss: Pearson correlation of forecast and target over the symbols of a date."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from factor_models.losses.cross_section import VARIANCE_FLOOR, CrossSections


def ic(prediction: Tensor, dates: CrossSections) -> Tensor:
    """1 - r; 1 where prediction or target is constant."""
    return 1.0 - correlation(prediction, dates.target_BH, dates)


def ic_shortfall(prediction: Tensor, dates: CrossSections, target_ic: float | Sequence[float]) -> Tensor:
    """max(0, target_ic - r): what is missing to the IC aimed at. More than that is not punished, and not rewarded.

    `target_ic` is one number, or one per target.
    """
    aim_H = prediction.new_tensor(target_ic)
    return functional.relu(aim_H - correlation(prediction, dates.target_BH, dates))


def correlation(x_BH: Tensor, y_BH: Tensor, dates: CrossSections) -> Tensor:
    """Weighted Pearson correlation per date (G, H); 0 where one of them is constant."""
    x_BH, y_BH = dates.centred(x_BH), dates.centred(y_BH)
    covariance_GH = dates.mean(x_BH * y_BH)
    variance_x_GH, variance_y_GH = dates.mean(x_BH.square()), dates.mean(y_BH.square())
    return covariance_GH / ((variance_x_GH + VARIANCE_FLOOR) * (variance_y_GH + VARIANCE_FLOOR)).sqrt()
