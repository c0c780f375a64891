"""Knowledge distillation: a network learns from the labels and from the forecasts of a teacher, such as trees.

Source: Hinton, Vinyals & Dean (2015), "Distilling the Knowledge in a Neural Network". The loss is (1 - share) of the
loss on the targets plus `share` of that on the teacher's forecasts; with squared errors its gradient is that of the
error to their mixture. For a direction the teacher gives logits, both sides are divided by the temperature T and the
term is multiplied by T^2, which keeps the size of its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from factor_models.losses.base import Loss
from factor_models.losses.classification import bce
from factor_models.losses.cross_section import CrossSections


class DistilledLoss(Loss):
    """A loss on targets (B, 2 H): the H true ones, then the teacher's forecasts of the same; either may be NaN.

    Parameters
    ----------
    loss : on one set of targets; one output per target
    share : of the teacher, in (0, 1]
    temperature : None: the teacher forecasts in the unit of the target. A number > 0: it gives logits of a direction
    """

    def __init__(self, loss: Loss, share: float, temperature: float | None = None) -> None:
        super().__init__()
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share = {share!r}: must be in (0, 1]")
        if temperature is not None and not temperature > 0:
            raise ValueError(f"temperature = {temperature!r}: must be > 0")
        if loss.outputs_per_target != 1:
            raise ValueError("a loss with several outputs per target cannot be distilled: the teacher has one")
        self.loss, self.share, self.temperature = loss, share, temperature

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        groups: Tensor,
        num_groups: int,
        weights: Tensor | None = None,
        date_weights: Tensor | None = None,
        previous: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms of the label's loss and of the teacher's; each counts where it is known."""
        true, taught = self._split(target)
        dates = CrossSections(true, groups, num_groups, weights, date_weights, previous)
        named = {name: (1.0 - self.share) * value for name, value in self.loss.terms(prediction, dates).items()}
        teacher = self._teacher_terms(prediction, dates, taught)
        return named | {f"teacher_{name}": self.share * value for name, value in teacher.items()}

    def _teacher_terms(self, prediction: Tensor, dates: CrossSections, taught: Tensor) -> dict[str, Tensor]:
        if self.temperature is None:
            return self.loss.terms(prediction, dates.with_target(taught))
        softened = dates.with_target(torch.sigmoid(taught / self.temperature))
        cross_entropy = softened.average(bce(prediction / self.temperature, softened))
        return {"bce": self.temperature**2 * cross_entropy}

    def batch_statistic(self, target: Tensor, groups: Tensor, num_groups: int) -> Tensor | None:
        """Return the statistic of the label's loss."""
        return self.loss.batch_statistic(self._split(target)[0], groups, num_groups)

    def start_step(self, means: Sequence[float]) -> None:
        """Pass the statistic of the whole batch to the label's loss."""
        self.loss.start_step(means)

    def _split(self, target: Tensor) -> tuple[Tensor, Tensor]:
        if target.shape[1] % 2:
            raise ValueError(f"target has {target.shape[1]} columns: must be targets and as many of a teacher")
        true, taught = target.chunk(2, dim=1)
        return true, taught
