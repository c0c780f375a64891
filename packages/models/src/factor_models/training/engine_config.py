"""Settings of the engine and the learning rate they describe; free of DeepSpeed, so cheap to read."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from factor_models.checks import check_at_least, check_one_of, check_share


@dataclass(frozen=True, kw_only=True)
class ZeroConfig:
    """What ZeRO splits over the processes (Rajbhandari et al. 2020)."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    stage: Literal[0, 1, 2, 3] = 2
    """0 nothing, 1 optimizer state, 2 also gradients, 3 also weights."""
    offload_optimizer: bool = False
    """Keep the optimizer state in host memory (stages 1 to 3)."""

    def __post_init__(self) -> None:
        check_one_of("ZeroConfig", self, "stage", (0, 1, 2, 3))
        if self.offload_optimizer and self.stage == 0:
            raise ValueError("ZeroConfig.offload_optimizer = True: needs stage >= 1, stage is 0")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Optimizer (AdamW), schedule, precision and partitioning."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lr: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 0.01
    """Decoupled decay of matrices; vectors (biases, norms) are not decayed."""
    clip_norm: float = 1.0
    """Largest global gradient norm; 0 = no clipping."""
    schedule: Literal["constant", "warmup_cosine"] = "warmup_cosine"
    """Course of the learning rate: after the warm-up constant, or down a cosine to 0 at the last step."""
    warmup_share: float = 0.05
    """Share of all steps in which the rate rises linearly (both schedules)."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Type of weights and activations; the optimizer always keeps fp32. fp16 needs a GPU."""
    accumulation: int = 1
    """Micro batches a process cuts its share of a batch into: less memory, same step."""
    zero: ZeroConfig = field(default_factory=ZeroConfig)
    """Partitioning over processes."""

    def __post_init__(self) -> None:
        check_at_least("EngineConfig", self, {"weight_decay": 0, "clip_norm": 0, "accumulation": 1})
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"EngineConfig.lr = {self.lr!r}: must be a finite number > 0")
        check_share("EngineConfig", self, "warmup_share")
        check_one_of("EngineConfig", self, "schedule", ("constant", "warmup_cosine"))
        check_one_of("EngineConfig", self, "precision", ("fp32", "bf16", "fp16"))


def learning_rate(step: int, total_steps: int, config: EngineConfig) -> float:
    """Rate of the given step (0-based): linear warm-up, then constant or half a cosine down to 0."""
    num_warmup = round(config.warmup_share * total_steps)
    if step < num_warmup:
        return config.lr * (step + 1) / num_warmup
    if config.schedule == "constant":
        return config.lr
    progress = min((step - num_warmup) / max(total_steps - num_warmup, 1), 1.0)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * progress))
