"""The processes of a run: join them, agree, and leave. Free of DeepSpeed."""

from __future__ import annotations

import datetime
import gc
import os
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn.functional


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Rank of this process among all."""

    rank: int
    world_size: int


def start_distributed(timeout_minutes: float = 30.0) -> Ranks:
    """Join the processes of the launcher; without a launcher, be the only one.

    A launcher sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT: this project's, torchrun, the one of
    DeepSpeed, or srun with a line that translates. Alone, no port is opened and of these only LOCAL_RANK is set
    (DeepSpeed asks for it), so any number of runs may share a machine, and a run may start others.

    An exchange that the others do not join within `timeout_minutes` fails.
    """
    if dist.is_initialized():
        return ranks()
    # DeepSpeed calls what torch deprecates.
    warnings.filterwarnings("ignore", r"`torch\.distributed\..*is deprecated", FutureWarning)
    has_gpu = torch.cuda.is_available()
    os.environ.setdefault("LOCAL_RANK", "0")
    if has_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    options: dict[str, Any] = {"timeout": datetime.timedelta(minutes=timeout_minutes)}
    if "RANK" not in os.environ:
        options |= {"store": dist.HashStore(), "rank": 0, "world_size": 1}
    dist.init_process_group("nccl" if has_gpu else "gloo", **options)
    return ranks()


def ranks() -> Ranks:
    """Return the rank of this process among all; alone where no group was joined."""
    if not dist.is_initialized():
        return Ranks(rank=0, world_size=1)
    return Ranks(rank=dist.get_rank(), world_size=dist.get_world_size())


def finish_distributed() -> None:
    """Wait for all processes and leave; without it a process may abort at exit.

    The threads that exchange end with the last reference to their group. One that outlives the interpreter and has
    a tensor to let go of aborts the process ("terminate called without an active exception"), after all its work
    was done. So DeepSpeed's references go too, and those of engines that nothing uses any more: an engine is to be
    closed and out of scope here. With ZeRO 3 the threads stay: DeepSpeed holds the engine's groups to the end.
    """
    if not dist.is_initialized():
        return
    dist.barrier()
    deepspeed = sys.modules.get("deepspeed.comm")
    if deepspeed is not None and deepspeed.is_initialized():
        deepspeed.destroy_process_group()
    else:
        dist.destroy_process_group()
    gc.collect()


def barrier() -> None:
    """Wait for all processes, where there are several."""
    if dist.is_initialized():
        dist.barrier()


def first_says(value: Any) -> Any:
    """Return the value of the first process (plain values) on every process. All processes must call it."""
    if ranks().world_size == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def all_say(value: Any) -> list[Any]:
    """Return the values of all processes (plain values), in order of rank. All processes must call it."""
    world_size = ranks().world_size
    if world_size == 1:
        return [value]
    values: list[Any] = [None] * world_size
    dist.all_gather_object(values, value)
    return values
