"""Terms over the cross-section: computed per date and target, then averaged with equal weight per date.

NaN in the target masks that entry. A date with fewer than two known targets adds 0. The sum is divided by num_groups *
H, whatever is masked: so the mean over equal shares of a batch is the term of the whole batch, and splitting dates over
processes or micro batches does not change the gradient. Weights are those of the windows within a date: its means,
variances and covariances are weighted ones, and a weight of 2 equals the window given twice.
"""

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-6
"""Added to variances under the root: keeps gradients finite on constant predictions."""


class CrossSections:
    """The dates of a micro batch: sums, means and averages over their windows.

    Attributes
    ----------
    target_BH : the target with 0 where it is unknown
    mass_BH : weight of each entry; 0 where the target is unknown
    total_GH : sum of the masses of a date
    counted_GH : bool, dates with two or more known targets
    """

    def __init__(self, target: Tensor, groups: Tensor, num_groups: int, weights: Tensor | None) -> None:
        known_BH = torch.isfinite(target)
        self.groups, self.num_groups = groups, num_groups
        self.target_BH = torch.where(known_BH, target, torch.zeros_like(target))
        self.mass_BH = known_BH.to(target.dtype)
        self.counted_GH = self._sum(self.mass_BH) >= 2
        if weights is not None:
            self.mass_BH = self.mass_BH * weights.to(target.dtype).unsqueeze(1)
        self.total_GH = self._sum(self.mass_BH)

    def mean(self, values_BH: Tensor) -> Tensor:
        """Weighted mean of each date (G, H); 0 where nothing is known."""
        total_GH = torch.where(self.total_GH > 0, self.total_GH, torch.ones_like(self.total_GH))
        return self._sum(values_BH * self.mass_BH) / total_GH

    def centred(self, values_BH: Tensor) -> Tensor:
        """Distance from the date's weighted mean (B, H)."""
        return values_BH - self.mean(values_BH)[self.groups]

    def average(self, values_GH: Tensor) -> Tensor:
        """Mean over dates and targets; dates that do not count add 0."""
        return torch.where(self.counted_GH, values_GH, torch.zeros_like(values_GH)).sum() / values_GH.numel()

    def _sum(self, values_BH: Tensor) -> Tensor:
        total_GH = values_BH.new_zeros(self.num_groups, values_BH.shape[1])
        return total_GH.index_add(0, self.groups, values_BH)


def mse(
    prediction: Tensor, target: Tensor, groups: Tensor, num_groups: int, weights: Tensor | None = None
) -> Tensor:
    """Mean squared error per date and target."""
    dates = CrossSections(target, groups, num_groups, weights)
    return dates.average(dates.mean((prediction - dates.target_BH).square()))


def ic(
    prediction: Tensor, target: Tensor, groups: Tensor, num_groups: int, weights: Tensor | None = None
) -> Tensor:
    """1 - Pearson correlation per date and target; 1 where prediction or target is constant."""
    dates = CrossSections(target, groups, num_groups, weights)
    return dates.average(1.0 - correlation(prediction, dates))


def mse_ic(
    prediction: Tensor, target: Tensor, groups: Tensor, num_groups: int, weights: Tensor | None = None
) -> Tensor:
    """Even mix of `mse` and `ic`: the first pins the scale, the second the order."""
    args = (prediction, target, groups, num_groups, weights)
    return 0.5 * mse(*args) + 0.5 * ic(*args)


def correlation(prediction: Tensor, dates: CrossSections) -> Tensor:
    """Pearson correlation of prediction and target per date (G, H); 0 where one of them is constant."""
    x_BH, y_BH = dates.centred(prediction), dates.centred(dates.target_BH)
    covariance_GH = dates.mean(x_BH * y_BH)
    variance_x_GH, variance_y_GH = dates.mean(x_BH.square()), dates.mean(y_BH.square())
    return covariance_GH / ((variance_x_GH + VARIANCE_FLOOR) * (variance_y_GH + VARIANCE_FLOOR)).sqrt()
