"""The loss of networks: by name, with its settings, and with a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from factor_models import DistilledLoss, Loss, get_loss, is_classification


def training_loss(
    name: str, settings: Any, heads: Sequence[str], share: float | None = None, temperature: float = 1.0
) -> Loss:
    """The loss of networks on the targets of these heads; with a teacher's `share` also of the teacher's forecasts.

    `settings` is the configuration object of the loss (`factor_models.loss_config`). Of a direction `temperature`
    divides the logits of network and teacher.
    """
    loss = get_loss(name, list(heads), **vars(settings))
    if share is None:
        return loss
    return DistilledLoss(loss, share, temperature if is_classification(name) else None)
