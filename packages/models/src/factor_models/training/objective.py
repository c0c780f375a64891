"""Module that the engine trains: a network and its loss in one, so that all work runs inside one forward pass.

That is where DeepSpeed gathers weights (ZeRO 3), and it lets a network with a training procedure of its own (a
variational bound, an adversarial example, a discriminator) add to the loss without the engine knowing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from torch import Tensor, nn

from factor_models.losses.base import Loss
from factor_models.training.inputs import TensorBatch

Criterion = Callable[[Tensor], dict[str, Tensor]]
"""prediction (B, H) -> the terms of the loss, on the batch at hand."""


class OwnTraining(Protocol):
    """A network that says itself what is minimised; others are trained on `criterion(forward(...))`."""

    def training_terms(self, batch: TensorBatch, criterion: Criterion) -> dict[str, Tensor]:
        """Return named terms whose sum is minimised.

        A mean over windows must be a mean over dates first (`factor_models.losses.cross_section.CrossSections`), or
        processes and micro batches would change the step.
        """
        ...


class Objective(nn.Module):
    """`forward(batch)` gives the named terms of the loss on a batch with targets."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: TensorBatch) -> dict[str, Tensor]:
        """Return the terms of the loss on a batch."""
        targets = batch.targets
        assert targets is not None

        def criterion(prediction: Tensor) -> dict[str, Tensor]:
            num_dates = max(batch.num_dates, 1)
            return self.loss(
                prediction.float(),
                targets,
                batch.groups,
                num_dates,
                batch.weights,
                batch.date_weights,
                batch.previous,
            )

        if hasattr(self.model, "training_terms"):
            return cast(OwnTraining, self.model).training_terms(batch, criterion)
        return criterion(self.model(batch.windows, **batch.extras(self.model)))
