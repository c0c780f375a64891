"""Generative adversarial training of an attentive LSTM: a second LSTM judges pairs of window and target.

The generator is the attentive LSTM, and is what predicts. The discriminator reads the bars of a window and then, as
one bar more, the targets: the true ones or the predicted ones, and says which. Both are trained in the same step
(Goodfellow et al. 2014, with the generator's non-saturating loss; for stocks Zhang et al. 2019, "Stock Market
Prediction Based on Generative Adversarial Network", who also keep the plain loss beside the adversarial one).
Predictions are compared with targets as they are, so the loss should be one of values: logits and labels are
distinguished at a glance.

Shapes: B windows, L bars of lookback, F features, D hidden units, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.checks import check_at_least
from factor_models.losses.cross_section import CrossSections
from factor_models.networks.alstm import ALSTMConfig, ALSTMForecaster
from factor_models.networks.pretrained import ZooNetwork
from factor_models.training.inputs import TensorBatch
from factor_models.training.objective import Criterion


@dataclass(frozen=True, kw_only=True)
class GANLSTMConfig(ALSTMConfig):
    """Size of generator and discriminator, and weight of the adversarial part."""

    adversarial_weight: float = 0.1
    """Weight of the generator's adversarial loss beside the plain loss; 0: the discriminator only looks on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, {"adversarial_weight": 0.0})


class Discriminator(nn.Module):
    """Logit that the targets which follow a window are the true ones."""

    def __init__(self, num_features: int, num_horizons: int, hidden: int) -> None:
        super().__init__()
        self.project_bar = nn.Linear(num_features, hidden)
        self.project_target = nn.Linear(num_horizons, hidden)
        self.recurrence = nn.LSTM(hidden, hidden, batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.logit = nn.Linear(hidden, 1)

    def forward(self, x_BLF: Tensor, targets: tuple[Tensor, ...]) -> list[Tensor]:
        """Logits (B, 1) of each of the targets (B, H); the window is read once for all of them."""
        _, state = self.recurrence(self.project_bar(x_BLF))
        logits = []
        for target_BH in targets:
            last_B1D, _ = self.recurrence(self.project_target(target_BH).unsqueeze(1), state)
            logits.append(self.logit(self.norm(last_B1D[:, 0])))
        return logits


class GANLSTMForecaster(ZooNetwork):
    """Predicts with the generator; the discriminator takes part in training only."""

    input_kind = "features"

    def __init__(self, config: GANLSTMConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.adversarial_weight = config.adversarial_weight
        self.generator = ALSTMForecaster(config, num_features, num_horizons)
        self.discriminator = Discriminator(num_features, num_horizons, config.hidden)

    def states(self, x_BLF: Tensor) -> Tensor:
        """Hidden state of the generator after each bar, (B, L, D)."""
        return self.generator.states(x_BLF)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        return self.generator(x_BLF)

    def training_terms(self, batch: TensorBatch, criterion: Criterion) -> dict[str, Tensor]:
        """The terms of the loss on the generator's predictions, "generator" and "discriminator".

        Each adversarial term moves its own network: the discriminator is given the predictions as constants, and the
        generator the gradient of its loss with respect to them, at the discriminator's present weights. So one
        optimiser serves both.
        """
        prediction_BH = self.generator(batch.windows)
        constant_BH = prediction_BH.detach().requires_grad_()
        fooling, telling_apart = self._adversarial_losses(batch, constant_BH)
        (gradient_BH,) = torch.autograd.grad(fooling, constant_BH, retain_graph=True)
        step = ((prediction_BH - prediction_BH.detach()).float() * gradient_BH).sum()  # 0, with that gradient
        return criterion(prediction_BH) | {
            "generator": self.adversarial_weight * (fooling.detach() + step),
            "discriminator": telling_apart,
        }

    def _adversarial_losses(self, batch: TensorBatch, prediction_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of calling the predictions true, and of telling true targets and predictions apart.

        Unknown targets are 0 in both, so that they tell nothing; windows without a known target do not count.
        """
        assert batch.targets is not None
        if prediction_BH.shape != batch.targets.shape:
            raise ValueError(
                f"gan_lstm predicts {prediction_BH.shape[1]} values for {batch.targets.shape[1]} targets: "
                "its loss must have one forecast per target (no quantiles)"
            )
        known_BH = torch.isfinite(batch.targets)
        true_BH = torch.where(known_BH, batch.targets, 0.0).to(prediction_BH.dtype)
        predicted_BH = torch.where(known_BH, prediction_BH, 0.0)
        logit_true, logit_predicted = self.discriminator(batch.windows, (true_BH, predicted_BH))
        counted_B1 = torch.where(known_BH.any(dim=1, keepdim=True), 0.0, torch.nan)
        dates = CrossSections(counted_B1, batch.groups, max(batch.num_dates, 1), batch.weights, batch.date_weights)
        as_true, as_true_predicted, as_predicted = (
            dates.average(dates.mean(functional.softplus(logit.float())))
            for logit in (-logit_true, -logit_predicted, logit_predicted)
        )
        return as_true_predicted, 0.5 * (as_true + as_predicted)
