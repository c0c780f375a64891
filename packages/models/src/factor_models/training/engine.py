"""Training through DeepSpeed ZeRO: the only file that imports deepspeed.

An `Engine` turns global batches into optimizer steps. A batch is a set of whole dates. Each process brings
its share; a share is cut into `accumulation` micro batches of whole dates. Every piece is weighted by its
number of dates, so neither the number of processes nor of micro batches changes the step beyond rounding. One
process or many, CPU (gloo) or GPU (nccl), run the same code.
"""

import copy
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from factor_models.losses import Loss
from factor_models.training.engine_config import EngineConfig, learning_rate
from factor_models.training.inputs import Batch, micro_batches
from factor_models.training.loop import StepRecord
from factor_models.training.objective import Objective

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed searches, and warns that it found no GPU
import deepspeed
import deepspeed.ops
from deepspeed.utils import safe_get_full_fp32_param

CHECKPOINT_TAG = "state"


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Where this process stands among all."""

    rank: int
    world_size: int


def start_distributed() -> Ranks:
    """Join the processes of the launcher; without a launcher, be the only one.

    Alone, no port is opened and of the launcher's variables only LOCAL_RANK is set (DeepSpeed asks for it), so any
    number of runs may share a machine, and a run may start others.
    """
    if dist.is_initialized():
        return _ranks()
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # DeepSpeed calls what torch deprecates.
    warnings.filterwarnings("ignore", r"`torch\.distributed\..*is deprecated", FutureWarning)
    # The shared-memory operator would be compiled at first use, for minutes; gloo serves as well. Private table.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "nccl" if has_gpu else "gloo"
    if "RANK" not in os.environ:
        os.environ.setdefault("LOCAL_RANK", "0")
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend, verbose=False)
    return _ranks()


def finish_distributed() -> None:
    """Wait for all processes and leave; without it several processes abort at exit."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


class Engine:
    """Model, optimizer and schedule of one training run.

    Parameters
    ----------
    model : a module on CPU; the engine owns it from here on
    loss : what is minimised; its parameters, if it has any, are trained with the model's
    config : see `EngineConfig`
    total_steps : number of steps of the whole run, for the schedule
    """

    def __init__(self, model: nn.Module, loss: Loss, config: EngineConfig, total_steps: int) -> None:
        if total_steps < 1:
            raise ValueError(f"total_steps = {total_steps}: must be >= 1")
        if config.precision == "fp16" and not torch.cuda.is_available():
            raise ValueError("EngineConfig.precision = 'fp16': needs a GPU; on a CPU use 'fp32' or 'bf16'")
        self.ranks = start_distributed()
        self.config, self.total_steps, self.step = config, total_steps, 0
        self._plain = copy.deepcopy(model).float()
        objective = Objective(model, loss)
        self._engine, *_ = deepspeed.initialize(
            model=objective,
            model_parameters=_parameter_groups(objective, config.weight_decay),
            config=_deepspeed_config(objective, config),
        )
        self.device = self._engine.device
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return learning_rate(self.step, self.total_steps, self.config)

    def train_step(self, batch: Batch) -> StepRecord:
        """One optimizer step on this process's share of a batch."""
        self._engine.train()
        for group in self._engine.optimizer.param_groups:
            group["lr"] = self.lr
        share = _share_of_mean(batch, self.ranks.world_size, self.device)
        self._prepare_loss(batch, share)
        totals: dict[str, Tensor] = {}
        for piece in micro_batches(batch, self.config.accumulation, self.device):
            terms = self._engine(piece.to(self._dtype))
            weight = piece.num_dates * share * self.config.accumulation
            self._engine.backward(torch.stack(list(terms.values())).sum() * weight)
            self._engine.step()
            for name, value in terms.items():
                part = value.detach().double().cpu() * (piece.num_dates * share)
                totals[name] = totals.get(name, torch.zeros((), dtype=torch.float64)) + part
        self.step += 1
        means = self._mean_over_ranks(torch.stack(list(totals.values())))
        return StepRecord(loss=sum(means), terms=dict(zip(totals, means, strict=True)))

    def _prepare_loss(self, batch: Batch, share: float) -> None:
        """Tell the loss what it must know of the whole batch, all processes together, before its forward passes."""
        loss: Loss = self._engine.module.loss
        dates, groups = np.unique(np.asarray(batch.groups), return_inverse=True)
        target = torch.as_tensor(np.asarray(batch.targets), dtype=torch.float32)
        sums = loss.batch_statistic(target, torch.from_numpy(groups.astype(np.int64)), len(dates))
        if sums is not None:
            loss.start_step(self._mean_over_ranks(sums.double() * share))

    def _mean_over_ranks(self, values: Tensor) -> list[float]:
        if self.ranks.world_size > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
            values = values / self.ranks.world_size
        return values.tolist()

    def agree(self, decision: bool) -> bool:
        """What the first process decided, on every process. All processes must call it."""
        if self.ranks.world_size == 1:
            return decision
        value = torch.tensor([float(decision)], device=self.device)
        dist.broadcast(value, src=0)
        return bool(value.item())

    def full_state_dict(self) -> dict[str, Tensor]:
        """Plain fp32 CPU weights on every process, at any ZeRO stage. All processes must call it."""
        model = self._engine.module.model
        parameters = dict(model.named_parameters())
        state = dict(model.named_buffers())
        state |= {name: self._full_parameter(parameter) for name, parameter in parameters.items()}
        return {name: _plain_copy(state[name], kept) for name, kept in self._plain.state_dict().items()}

    def _full_parameter(self, parameter: nn.Parameter) -> Tensor:
        whole_fp32 = self.config.precision == "fp32" and self.config.zero.stage < 3
        full = None if whole_fp32 else safe_get_full_fp32_param(parameter)
        return parameter.data if full is None else full

    def current_model(self) -> nn.Module:
        """An ordinary fp32 module with the current weights, in evaluation mode on the engine's device.

        It runs without the other processes, so each may predict any number of batches. All processes must
        call this method. The same module is returned each time, with new weights.
        """
        self._plain.load_state_dict(self.full_state_dict())
        return self._plain.to(self.device).eval()

    def save(self, directory: Path) -> None:
        """Write what is needed to go on, in DeepSpeed's own files. All processes must call it."""
        client_state = {"factorcast_step": self.step, "factorcast_world_size": self.ranks.world_size}
        self._engine.save_checkpoint(str(directory), tag=CHECKPOINT_TAG, client_state=client_state)

    def load(self, directory: Path) -> None:
        """Inverse of `save`, at the same number of processes and the same ZeRO stage."""
        path, client_state = self._engine.load_checkpoint(str(directory), tag=CHECKPOINT_TAG)
        if path is None:
            raise ValueError(f"{directory}: holds no engine checkpoint")
        if client_state["factorcast_world_size"] != self.ranks.world_size:
            raise ValueError(
                f"{directory}: written by {client_state['factorcast_world_size']} processes, "
                f"cannot continue with {self.ranks.world_size}"
            )
        self.step = client_state["factorcast_step"]

    def close(self) -> None:
        """Release hooks and buffers; the engine cannot be used afterwards."""
        self._engine.destroy()


def _share_of_mean(batch: Batch, world_size: int, device: torch.device) -> float:
    """Weight of one date such that the mean over processes is the mean over all dates of the global batch."""
    num_dates = torch.tensor(float(len(np.unique(batch.groups))), dtype=torch.float64)
    if world_size > 1:
        num_dates = num_dates.to(device)
        dist.all_reduce(num_dates)
    if num_dates == 0:
        raise ValueError("the batch is empty on every process: a step needs at least one window")
    return world_size / float(num_dates)


def _plain_copy(value: Tensor, like: Tensor) -> Tensor:
    return value.detach().to("cpu", like.dtype, copy=True).reshape(like.shape).contiguous()


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _deepspeed_config(model: nn.Module, config: EngineConfig) -> dict[str, Any]:
    bucket = max(sum(parameter.numel() for parameter in model.parameters()), 1 << 16)
    zero: dict[str, Any] = {
        "stage": config.zero.stage,
        "overlap_comm": False,
        "reduce_bucket_size": min(bucket, 500_000_000),
        "allgather_bucket_size": min(bucket, 500_000_000),
    }
    if config.zero.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,  # required, unused: batches are cut into dates
        "gradient_accumulation_steps": config.accumulation,
        "gradient_clipping": config.clip_norm,
        "optimizer": {"type": "AdamW", "params": {"lr": config.lr, "torch_adam": True}},
        "zero_optimization": zero,
        "bf16": {"enabled": config.precision == "bf16"},
        "fp16": {"enabled": config.precision == "fp16"},
        "steps_per_print": 1 << 30,
        "wall_clock_breakdown": False,
    }


def _ranks() -> Ranks:
    return Ranks(rank=dist.get_rank(), world_size=dist.get_world_size())


__all__ = ["Engine", "Ranks", "finish_distributed", "start_distributed"]
