"""What an engine is made of at one moment, apart from how ZeRO splits it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class EngineState:
    """All that decides how an engine goes on, whole: the same file serves any number of processes and ZeRO stage."""

    tensors: dict[str, Tensor]
    """CPU tensors on the first process: weights/, exp_avg/, exp_avg_sq/, buffers/, average/ + name. Elsewhere empty."""
    numbers: dict[str, float]
    """step, updates (Adam's count), lr_factor, average_updates, and those of fp16's loss scaler."""
