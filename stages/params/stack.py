"""Section `stack`."""

from __future__ import annotations

from dataclasses import dataclass

from factor_metrics import GateConfig
from factor_models import StackConfig


@dataclass(frozen=True, kw_only=True)
class StackParams(StackConfig):
    """Section `stack`: how the models become an ensemble, and the conditions for promotion."""

    gates: GateConfig
    """What a stack must reach to be promoted."""

    def __post_init__(self) -> None:
        super().__post_init__()
