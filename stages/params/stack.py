"""Section `stack`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from factor_metrics import GateConfig


@dataclass(frozen=True, kw_only=True)
class StackParams:
    """Section `stack`: the ensemble and the conditions for promotion."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    alpha: float
    """Ridge penalty of the weights, on squared error averaged per date (factor_models.stack_oof)."""
    positive: bool
    """No negative weights."""
    gates: GateConfig
    """What a stack must reach to be promoted."""
    weights: Literal["ridge", "equal"] = "ridge"
    """ridge: learned on the out-of-fold forecasts of earlier folds; equal: the mean of all models' ranks, which learns
    nothing and so suits folds that do not move forward in time (cpcv)."""

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"alpha: {self.alpha} must be > 0")
