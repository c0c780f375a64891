"""Settings that losses share, and the checks of them. Those of one loss stand beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

TargetWeights = tuple[float, ...] | Literal["learned"] | None
"""Weights of the targets: None = all 1, one for each, or learnt."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Settings that every loss has."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    target_weights: TargetWeights = None
    """Weights of the targets: null = 1, one per label, or learned (Kendall et al. 2018)."""

    def __post_init__(self) -> None:
        check_target_weights(self.target_weights)

    def weights_of(self, targets: Sequence[str]) -> Sequence[float] | str | None:
        """The weights as `TermLoss` takes them; ValueError unless there is one, or one for each target."""
        weights = self.target_weights
        if weights is None or isinstance(weights, str):
            return weights
        return per_target("target_weights", weights, targets)


def check_target_weights(weights: TargetWeights) -> None:
    """Fixed weights are not negative and not all 0."""
    if isinstance(weights, tuple) and (min(weights, default=0.0) < 0 or sum(weights) <= 0):
        raise ValueError(f"target_weights = {list(weights)}: must not be negative and not all 0")


def check_positive(config: object, *fields: str) -> None:
    """Each named field is above 0."""
    for field in fields:
        value = getattr(config, field)
        if not value > 0:
            raise ValueError(f"{field} = {value!r}: must be > 0")


def check_target_ic(value: float | tuple[float, ...]) -> None:
    """An IC aimed at, or one per target, lies in (0, 1]."""
    if not as_tuple(value) or not all(0 < one <= 1 for one in as_tuple(value)):
        raise ValueError(f"target_ic = {value!r}: must be in (0, 1]")


def per_target(name: str, value: float | Sequence[float], targets: Sequence[str]) -> tuple[float, ...]:
    """One number per target; ValueError unless there is one, or one for each."""
    values = as_tuple(value)
    if len(values) == 1:
        values *= len(targets)
    if len(values) != len(targets):
        raise ValueError(
            f"{name} = {list(values)} has {len(values)} numbers: must be one, or one for each of {', '.join(targets)}"
        )
    return values


def as_tuple(value: float | Sequence[float]) -> tuple[float, ...]:
    """One number or several, as several."""
    return (float(value),) if isinstance(value, int | float) else tuple(float(one) for one in value)
