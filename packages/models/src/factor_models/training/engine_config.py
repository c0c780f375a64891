"""Settings of the engine and the learning rate they describe; free of DeepSpeed, so cheap to read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from factor_models.checks import check_at_least, check_one_of, check_share
from factor_models.training.schedules import SCHEDULES, Schedule, ScheduleOptions, scheduled_rate


@dataclass(frozen=True, kw_only=True)
class ZeroConfig:
    """State that ZeRO splits over the processes (Rajbhandari et al. 2020), and that it keeps off the device."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    stage: Literal[0, 1, 2, 3] = 2
    """0 nothing, 1 optimizer state, 2 also gradients, 3 also weights."""
    offload_optimizer: bool = False
    """Keep the optimizer state in host memory (stages 1 to 3)."""
    offload_parameters: bool = False
    """Keep the weights in host memory as well, with the optimizer state (stage 3)."""
    nvme_path: str | None = None
    """Folder on a fast disk that takes what is offloaded in the place of host memory (stage 3)."""

    def __post_init__(self) -> None:
        check_one_of(self, "stage", (0, 1, 2, 3))
        if self.offload_optimizer and self.stage == 0:
            raise ValueError("offload_optimizer = True: needs stage >= 1, stage is 0")
        if self.offload_parameters and self.stage < 3:
            raise ValueError(f"offload_parameters = True: needs stage 3, stage is {self.stage}")
        if self.offload_parameters and not self.offload_optimizer:
            raise ValueError("offload_parameters = True: needs offload_optimizer as well")
        if self.nvme_path is not None and not (self.stage == 3 and self.offload_optimizer):
            raise ValueError(
                f"nvme_path = {self.nvme_path!r}: needs stage 3 and offload_optimizer, "
                f"stage is {self.stage} and offload_optimizer {self.offload_optimizer}"
            )


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Optimizer (AdamW), schedule, precision and partitioning."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lr: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 0.01
    """Decoupled decay of weights; biases, norms and embeddings are not decayed."""
    adam: Literal["torch", "fused", "cpu"] = "torch"
    """Which AdamW: torch's loop, torch's fused kernel, or DeepSpeed's for the host. That one is compiled at first use,
    which takes minutes; where it cannot be, torch's takes its place; the log says either. On a GPU it needs
    zero.offload_optimizer."""
    clip_norm: float = 1.0
    """Largest global gradient norm; 0 = no clipping."""
    schedule: Schedule = "warmup_cosine"
    """Course of the learning rate (`factor_models.training.schedules`)."""
    warmup_share: float = 0.05
    """Share of all steps in which the rate rises (linearly; one_cycle along a cosine)."""
    schedule_options: ScheduleOptions = field(default_factory=ScheduleOptions)
    """Numbers of the schedules."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Type of weights and activations; the optimizer always keeps fp32. fp16 needs a GPU."""
    accumulation: int = 1
    """Micro batches a process cuts its share of a batch into: less memory, same step."""
    recompute: bool = False
    """Forget activations and compute them again on the way back (gradient checkpointing): less memory, same step."""
    compile: bool = False
    """Compile the network with torch.compile (ZeRO 0 to 2)."""
    ema_decay: float | None = None
    """Score and keep an exponential moving average of the weights, with this decay a step; null: the weights."""
    zero: ZeroConfig = field(default_factory=ZeroConfig)
    """Partitioning over processes."""

    def __post_init__(self) -> None:
        check_at_least(self, {"weight_decay": 0, "clip_norm": 0, "accumulation": 1})
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"lr = {self.lr!r}: must be a finite number > 0")
        check_share(self, "warmup_share")
        check_one_of(self, "schedule", SCHEDULES)
        check_one_of(self, "precision", ("fp32", "bf16", "fp16"))
        check_one_of(self, "adam", ("torch", "fused", "cpu"))
        if self.ema_decay is not None and not 0.0 < self.ema_decay < 1.0:
            raise ValueError(f"ema_decay = {self.ema_decay!r}: must be in (0, 1)")
        if self.compile and self.zero.stage == 3:
            raise ValueError("compile = True: needs zero.stage <= 2, since ZeRO 3 gathers weights inside the network")


def learning_rate(step: int, total_steps: int, config: EngineConfig) -> float:
    """Rate of the given step (0-based) by the schedule alone; a plateau's drops come on top."""
    return scheduled_rate(
        step,
        total_steps,
        schedule=config.schedule,
        lr=config.lr,
        warmup_share=config.warmup_share,
        options=config.schedule_options,
    )
