"""The optimizer, what of a network is decayed, and the settings that go to DeepSpeed."""

from __future__ import annotations

import fcntl
import logging
import shutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from factor_models.training.distributed import all_say
from factor_models.training.engine_config import EngineConfig

log = logging.getLogger(__name__)

NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
NOT_DECAYED = ("embedding", "position")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: decayed, and not.

    Not decayed are vectors (biases, scales), all of norms and of embeddings, and free parameters whose name says that
    they are an embedding or a position.
    """
    spared = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, NORMS + EMBEDDINGS)
        for parameter in module.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    not_decayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            last = name.rsplit(".", 1)[-1].lower()
            spare = parameter.ndim < 2 or id(parameter) in spared or any(word in last for word in NOT_DECAYED)
            (not_decayed if spare else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": not_decayed, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(groups: list[dict[str, Any]], config: EngineConfig, deepspeed: ModuleType) -> torch.optim.Optimizer:
    """AdamW over the groups; torch's own where a process cannot have DeepSpeed's, which is logged.

    All processes must call it.
    """
    if config.adam == "cpu":
        reason = next(filter(None, all_say(why_not_cpu_adam(deepspeed))), None)
        if reason is None:
            return deepspeed.ops.adam.DeepSpeedCPUAdam(groups, lr=config.lr, adamw_mode=True)
        log.warning("adam: cpu: DeepSpeed's Adam is not available (%s); torch's takes its place", reason)
    return torch.optim.AdamW(groups, lr=config.lr, fused=True if config.adam == "fused" else None)


def why_not_cpu_adam(deepspeed: ModuleType) -> str | None:
    """Why DeepSpeed's Adam for the host cannot be used; None if it can, and then it is compiled and loaded."""
    for tool in ("ninja", "g++"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    builder = deepspeed.ops.op_builder.CPUAdamBuilder()
    if not builder.is_compatible(verbose=False):
        return builder.error_log or "DeepSpeed says that it does not fit this machine"
    from torch.utils.cpp_extension import (
        _get_build_directory,
    )  # takes long to load; private, but what says where

    folder = Path(_get_build_directory(builder.name, verbose=False))
    with (folder.parent / f"{builder.name}.turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # one process of this machine at a time; the system frees it
        return why_not_compiled(builder, folder)


def why_not_compiled(builder: Any, folder: Path) -> str | None:
    """Why an operator cannot be compiled and loaded; None if that is done. `folder` takes what is built."""
    lock = folder / "lock"
    if lock.exists():  # torch would wait for ever
        return f"{lock} is left of a build that was ended, or another program is building: delete it if none is"
    if not list(folder.glob("*.so")):
        log.warning(
            "adam: cpu: DeepSpeed's Adam is compiled now, once on this machine, which takes minutes; it is kept in %s",
            folder,
        )
    try:
        builder.load(verbose=False)
    except (RuntimeError, ImportError, OSError) as error:
        return f"it cannot be compiled: {str(error).strip().splitlines()[0]}"
    return None


def emulates_bf16() -> bool:
    """Return whether bf16 would be computed by a CPU whose instructions end at AVX2: none of them multiplies bf16."""
    return not torch.cuda.is_available() and torch.backends.cpu.get_cpu_capability() in ("NO AVX", "AVX2")


@cache
def warn_of_slow_precision(precision: str) -> None:
    """Log, once a process, that this machine computes in this precision more slowly than in fp32."""
    if precision == "bf16" and emulates_bf16():
        log.warning(
            "precision = 'bf16': no instruction of this CPU multiplies bf16; fp32 is several times as fast here"
        )


def refuse_impossible(config: EngineConfig, deepspeed: ModuleType) -> None:
    """ValueError for what this machine cannot do, with the reason."""
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise ValueError("precision = 'fp16': needs a GPU; on a CPU use 'fp32' or 'bf16'")
    if config.zero.offload_parameters and not torch.cuda.is_available():
        raise ValueError("offload_parameters = True: needs a GPU; on a CPU the weights are in host memory anyway")
    if config.adam == "cpu" and torch.cuda.is_available() and not config.zero.offload_optimizer:
        raise ValueError("adam = 'cpu': on a GPU it needs zero.offload_optimizer")
    if config.zero.nvme_path is not None:
        builder = deepspeed.ops.op_builder.AsyncIOBuilder()
        if not builder.is_compatible(verbose=False):
            raise ValueError(
                f"nvme_path = {config.zero.nvme_path!r}: DeepSpeed's asynchronous input and output "
                f"cannot be built here ({builder.error_log or 'is libaio installed?'})"
            )


def deepspeed_config(model: nn.Module, config: EngineConfig) -> dict[str, Any]:
    """The dictionary that `deepspeed.initialize` takes."""
    # One bucket holds all; DeepSpeed wants its size even in low precision.
    bucket = max(sum(parameter.numel() for parameter in model.parameters()), 1 << 16)
    bucket += bucket % 2
    zero: dict[str, Any] = {
        "stage": config.zero.stage,
        "overlap_comm": False,
        "reduce_bucket_size": min(bucket, 500_000_000),
        "allgather_bucket_size": min(bucket, 500_000_000),
    }
    place = (
        {"device": "cpu"} if config.zero.nvme_path is None else {"device": "nvme", "nvme_path": config.zero.nvme_path}
    )
    if config.zero.offload_optimizer:
        zero["offload_optimizer"] = place
    if config.zero.offload_parameters:
        zero["offload_param"] = place
    return {
        "train_micro_batch_size_per_gpu": 1,  # required, unused: batches are cut into dates
        "gradient_accumulation_steps": config.accumulation,
        "gradient_clipping": config.clip_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": config.precision == "bf16"},
        "fp16": {"enabled": config.precision == "fp16"},
        "steps_per_print": 1 << 30,
        "wall_clock_breakdown": False,
    }
