"""Batches for the tests of losses: four dates of unlike size, shuffled, two targets, some unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from factor_models import LOSSES, get_loss
from factor_models.losses import CrossSections, is_classification
from factor_models.losses.base import Loss

SIZES = (5, 30, 17, 8)
TARGETS = ("h1", "h5")
TWO_PER_TARGET = {"target_ic": (0.6, 0.5), "rho": (1.2, 0.8)}
SETTINGS = {"quantitative": TWO_PER_TARGET | {"temperature": 0.5}, "rank": {"temperature": 0.5}}
VARIANTS = {name: (name, SETTINGS.get(name, {})) for name in LOSSES} | {
    "weighted huber": ("huber", {"target_weights": (2.0, 0.5)}),
    "learned mse_ic": ("mse_ic", {"target_weights": "learned"}),
    "learned quantitative": ("quantitative", TWO_PER_TARGET | {"target_weights": "learned"}),
    "focal with alpha": ("focal", {"gamma": 0.5, "alpha": 0.25}),
}
"""Every loss of the table, and those settings that take another way through the code."""


def make_loss(variant: str) -> Loss:
    name, settings = VARIANTS[variant]
    return get_loss(name, TARGETS, **settings)


def total_of(variant: str) -> Callable[..., Any]:
    """The sum of the terms."""
    loss = make_loss(variant)
    return lambda *args, **options: sum(loss(*args, **options).values())


def needs_direction(variant: str) -> bool:
    return is_classification(VARIANTS[variant][0])


def outputs_of(variant: str) -> int:
    return 2 * make_loss(variant).outputs_per_target


def example(
    variant: str = "mse",
    seed: int = 0,
    missing: bool = True,
    ties: bool = False,
    sizes: tuple[int, ...] = SIZES,
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    groups = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    prediction = torch.randn(len(groups), outputs_of(variant), generator=generator, dtype=torch.float64)
    target = torch.randn(len(groups), 2, generator=generator, dtype=torch.float64)
    if ties:
        prediction, target = prediction.mul(2).round(), target.mul(2).round()
    if needs_direction(variant):
        target = (target > 0).double()
    if missing:
        target[::7, 0] = torch.nan
    shuffled = torch.randperm(len(groups), generator=generator)
    return prediction[shuffled], target[shuffled], groups[shuffled]


def dates_of(target: Tensor, groups: Tensor, weights: Any = None) -> CrossSections:
    return CrossSections(target, groups, len(SIZES), weights)


def per_date(prediction: Tensor, target: Tensor, groups: Tensor, statistic: Callable[..., Any]) -> np.ndarray:
    """(dates, targets) of statistic(prediction, target) over the known symbols of a date, by a loop."""
    values = np.empty((len(SIZES), 2))
    for date in range(len(SIZES)):
        for column in range(2):
            rows = (groups == date) & torch.isfinite(target[:, column])
            values[date, column] = statistic(prediction[rows, column].numpy(), target[rows, column].numpy())
    return values
