"""Losses that mix terms of different kinds."""

from __future__ import annotations

from collections.abc import Sequence

from factor_models.losses.base import Loss, TermLoss
from factor_models.losses.correlation import ic
from factor_models.losses.errors import mse
from factor_models.losses.settings import LossConfig


def mse_ic(config: LossConfig, targets: Sequence[str]) -> Loss:
    """Even mix: the first pins the scale, the second the order."""
    return TermLoss({"mse_ic": {mse: 0.5, ic: 0.5}}, config.weights_of(targets), targets)
