"""Attentive LSTM with adversarial training in the space of its latent representation.

Feng et al. 2019, "Enhancing Stock Movement Prediction with Adversarial Training" (IJCAI), section 3.2. Inputs are
noisy, so a prediction should hold in a neighbourhood of the representation e of a window. Of all points at distance
epsilon the one that hurts most, to first order, is e + epsilon g / |g|, where g is the gradient of the loss with
respect to e. The model is trained on the loss there as well:

    loss(e) + beta loss(e + epsilon g / |g|)

g counts as a constant. The paper's loss is the hinge loss of a direction; here it is whatever the model is trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from factor_models.checks import check_at_least
from factor_models.networks.alstm import ALSTMConfig, ALSTMForecaster
from factor_models.training.inputs import TensorBatch
from factor_models.training.objective import Criterion


@dataclass(frozen=True, kw_only=True)
class AdvALSTMConfig(ALSTMConfig):
    """Size of the model and strength of the adversarial part."""

    epsilon: float = 0.1
    """Length of the perturbation of the representation, whose own length is about sqrt(2 * hidden); 0: none."""
    beta: float = 0.5
    """Weight of the loss on the adversarial examples; 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, {"epsilon": 0.0, "beta": 0.0})


class AdvALSTMForecaster(ALSTMForecaster):
    """An `ALSTMForecaster` with a training procedure of its own; it predicts in the same way."""

    def __init__(self, config: AdvALSTMConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(config, num_features, num_horizons)
        self.epsilon, self.beta = config.epsilon, config.beta

    def training_terms(self, batch: TensorBatch, criterion: Criterion) -> dict[str, Tensor]:
        """The terms of the loss, and as "adversarial" beta times their sum on the adversarial examples.

        Without epsilon or beta it is the plain loss. Dropout falls on the representation before it is perturbed, so
        both losses see the same units.
        """
        latent_BE = self.latent(batch.windows)
        terms = criterion(self.head(latent_BE))
        if self.epsilon == 0 or self.beta == 0:
            return terms
        adversarial = criterion(self.head(latent_BE + self._perturbation(latent_BE, criterion)))
        return terms | {"adversarial": self.beta * total(adversarial)}

    def _perturbation(self, latent_BE: Tensor, criterion: Criterion) -> Tensor:
        """Epsilon g / |g| for each window; 0 where the loss does not depend on it (no known target)."""
        point_BE = latent_BE.detach().requires_grad_()
        (gradient_BE,) = torch.autograd.grad(total(criterion(self.head(point_BE))), point_BE)
        gradient_BE = gradient_BE.float()
        length_B1 = gradient_BE.norm(dim=-1, keepdim=True)
        direction_BE = gradient_BE / torch.where(length_B1 > 0, length_B1, torch.ones_like(length_B1))
        return (self.epsilon * direction_BE).to(latent_BE.dtype)


def total(terms: dict[str, Tensor]) -> Tensor:
    """Sum of the terms."""
    return torch.stack(list(terms.values())).sum()
