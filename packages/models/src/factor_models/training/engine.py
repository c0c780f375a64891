"""Training through DeepSpeed ZeRO: the only file that imports deepspeed.

An `Engine` turns global batches into optimizer steps. A batch is a set of whole dates. Each process brings
its share; a share is cut into `accumulation` micro batches of whole dates. Every piece is weighted by its
number of dates, so neither the number of processes nor of micro batches changes the step beyond rounding. One
process or many, CPU (gloo) or GPU (nccl), run the same code.
"""

from __future__ import annotations

import copy
import ctypes
import importlib
import logging
import os
import sys
from collections.abc import Callable

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from factor_models.extras import from_extra
from factor_models.losses.base import Loss
from factor_models.training.distributed import Ranks, all_say, finish_distributed, start_distributed
from factor_models.training.ema import WeightAverage
from factor_models.training.engine_config import EngineConfig, learning_rate
from factor_models.training.gradient_norm import norm_as_without_offload
from factor_models.training.guards import (
    GradientWatch,
    MemoryExhaustedError,
    NonFiniteError,
    is_out_of_memory,
    less_memory,
    watch_outputs,
)
from factor_models.training.inputs import Batch, micro_batches
from factor_models.training.loop import StepRecord
from factor_models.training.objective import Objective
from factor_models.training.optimizers import (
    build_optimizer,
    deepspeed_config,
    parameter_groups,
    refuse_impossible,
    warn_of_slow_precision,
)
from factor_models.training.recompute import recompute_blocks
from factor_models.training.states import EngineState
from factor_models.training.whole_state import (
    forget_updates,
    loss_scale,
    num_updates,
    set_loss_scale,
    set_moments,
    set_whole_weights,
    whole_moments,
    whole_weight,
)

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed searches, and warns that it found no GPU
# DeepSpeed would load XGBoost, a second's work, for a tuner of its own that is not used here.
sys.modules.setdefault("xgboost", None)  # type: ignore[arg-type]
try:
    with from_extra("train"):
        import deepspeed
        import deepspeed.ops
finally:
    if sys.modules["xgboost"] is None:
        del sys.modules["xgboost"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Engine:
    """Model, optimizer and schedule of one training run.

    Parameters
    ----------
    model : a module; the engine trains a copy
    loss : what is minimised; its parameters, if it has any, are trained with the model's
    config : see `EngineConfig`
    total_steps : number of steps of the whole run, for the schedule
    describe : what a batch is, in words, for the message of a step that fails; e.g. its dates
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        config: EngineConfig,
        total_steps: int,
        describe: Callable[[Batch], str] | None = None,
    ) -> None:
        if total_steps < 1:
            raise ValueError(f"total_steps = {total_steps}: must be >= 1")
        self.ranks = start_distributed()
        _quiet_deepspeed()
        _keep_freed_memory()
        self.config, self.total_steps, self.step = config, total_steps, 0
        self.lr_factor = 1.0
        self.describe = describe or (lambda batch: f"{len(batch.rows)} windows")
        self._plain = copy.deepcopy(Objective(model, loss)).float()
        self._average = None if config.ema_decay is None else WeightAverage(config.ema_decay)
        self._build()

    def _build(self) -> None:
        """A DeepSpeed engine around a copy of the plain network, as it is now."""
        config = self.config
        refuse_impossible(config, deepspeed)
        warn_of_slow_precision(config.precision)
        objective = copy.deepcopy(self._plain).cpu().train()
        if config.recompute:
            recompute_blocks(objective.model)
        if config.compile:
            objective.model.compile()
        self._watch = GradientWatch(objective)
        optimizer = build_optimizer(parameter_groups(objective, config.weight_decay), config, deepspeed)
        if config.zero.stage:
            _load_muon_uncompiled()
        self._engine, *_ = deepspeed.initialize(
            model=objective, optimizer=optimizer, config=deepspeed_config(objective, config)
        )
        if config.zero.offload_optimizer and config.zero.stage < 3:
            norm_as_without_offload(self._engine.optimizer)
        self.device = self._engine.device
        self._dtype = DTYPES[config.precision]
        if config.precision != "fp32":
            parameters = dict(self._engine.module.named_parameters())
            weights = {parameters[name]: value.data for name, value in self._plain.named_parameters()}
            set_whole_weights(self._engine.optimizer, weights)
            forget_updates(self._engine.optimizer)

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return self.lr_factor * learning_rate(self.step, self.total_steps, self.config)

    def train_step(self, batch: Batch) -> StepRecord:
        """One optimizer step on this process's share of a batch.

        Raises NonFiniteError (on every process) or MemoryExhaustedError before any weight has changed.
        """
        try:
            return self._step(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryExhaustedError(f"step {self.step + 1} has no memory: {error}") from error

    def _step(self, batch: Batch) -> StepRecord:
        self._engine.train()
        lr = self.lr
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr
        self._watch.clear()
        share, num_windows = self._share_of_mean(batch)
        self._prepare_loss(batch, share)
        totals: dict[str, Tensor] = {}
        for number, piece in enumerate(micro_batches(batch, self.config.accumulation, self.device)):
            terms = self._engine(piece.to(self._dtype))
            weight = piece.num_dates * share * self.config.accumulation
            self._engine.backward(torch.stack(list(terms.values())).sum() * weight)
            for name, value in terms.items():
                part = value.detach().double().cpu() * (piece.num_dates * share)
                totals[name] = totals.get(name, torch.zeros((), dtype=torch.float64)) + part
            if number + 1 == self.config.accumulation:
                means = self._checked_means(torch.stack(list(totals.values())), batch)
            self._engine.step()
        self.step += 1
        if self._average is not None:
            self._average.update(self._whole_weights())
        return StepRecord(loss=sum(means), terms=dict(zip(totals, means, strict=True)), lr=lr, num_windows=num_windows)

    def _prepare_loss(self, batch: Batch, share: float) -> None:
        """Tell the loss what it must know of the whole batch, all processes together, before its forward passes."""
        loss: Loss = self._engine.module.loss
        dates, groups = np.unique(np.asarray(batch.groups), return_inverse=True)
        target = torch.as_tensor(np.asarray(batch.targets), dtype=torch.float32)
        sums = loss.batch_statistic(target, torch.from_numpy(groups.astype(np.int64)), len(dates))
        if sums is not None:
            loss.start_step(self._mean_over_ranks(sums.double() * share).tolist())

    def _share_of_mean(self, batch: Batch) -> tuple[float, int]:
        """Weight of one date such that the mean over processes is the mean over all dates; windows of the batch."""
        sizes = torch.tensor([len(np.unique(batch.groups)), len(batch.rows)], dtype=torch.float64)
        if self.ranks.world_size > 1:
            sizes = sizes.to(self.device)
            dist.all_reduce(sizes)
        num_dates, num_windows = sizes.tolist()
        if num_dates == 0:
            raise ValueError("the batch is empty on every process: a step needs at least one window")
        return self.ranks.world_size / num_dates, int(num_windows)

    def _mean_over_ranks(self, values: Tensor) -> Tensor:
        if self.ranks.world_size > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
            values = values / self.ranks.world_size
        return values.cpu()

    def _checked_means(self, totals: Tensor, batch: Batch) -> list[float]:
        """Terms of the loss over all processes; NonFiniteError if one, or a gradient anywhere, is not finite."""
        # fp16 looks for overflowing gradients itself, and skips such steps.
        finite = torch.tensor(True) if self.config.precision == "fp16" else self._watch.all_finite().cpu()
        bad_here = not (bool(finite) and bool(totals.isfinite().all()))
        values = torch.cat([totals, torch.tensor([float(bad_here)], dtype=torch.float64)])
        *means, share_bad = self._mean_over_ranks(values).tolist()
        if share_bad:
            raise NonFiniteError(self._diagnosis(bad_here, totals, batch))
        return means

    def _diagnosis(self, bad_here: bool, totals: Tensor, batch: Batch) -> str:
        """Return the place of the first failure: step, process, dates, and the module or parameter."""
        loss_is_finite = bool(totals.isfinite().all())
        with torch.no_grad(), watch_outputs(self._engine.module) as offenders:
            for piece in micro_batches(batch, self.config.accumulation, self.device):
                self._engine(piece.to(self._dtype))
        if loss_is_finite:
            what = f"the gradient is not finite, first in {self._watch.first_offender()}"
        else:
            where = offenders[0] if offenders else "the loss itself"
            what = f"the loss is {float(totals.sum())}, not finite first in the output of {where}"
        reports = all_say(f"{what} (process {self.ranks.rank}, {self.describe(batch)})" if bad_here else None)
        return f"step {self.step + 1}: {next(report for report in reports if report)}"

    def agree(self, decision: bool) -> bool:
        """Return the decision of the first process on every process. All processes must call it."""
        if self.ranks.world_size == 1:
            return decision
        value = torch.tensor([float(decision)], device=self.device)
        dist.broadcast(value, src=0)
        return bool(value.item())

    def votes(self, vote: bool) -> int:
        """Return how many processes say yes. All processes must call it."""
        if self.ranks.world_size == 1:
            return int(vote)
        value = torch.tensor([float(vote)], device=self.device)
        dist.all_reduce(value)
        return int(value.item())

    def full_state_dict(self) -> dict[str, Tensor]:
        """Plain fp32 CPU weights on every process, at any ZeRO stage; their moving average if there is one.

        All processes must call it.
        """
        weights = self._whole_weights() if self._average is None or not self._average.values else self._average.values
        state = dict(self._engine.module.named_buffers()) | weights
        plain = self._plain.model.state_dict()
        return {name: _plain_copy(state[f"model.{name}"], kept) for name, kept in plain.items()}

    def _whole_weights(self) -> dict[str, Tensor]:
        in_place = self.config.precision == "fp32" and self.config.zero.stage < 3
        parameters, optimizer = self._engine.module.named_parameters(), self._engine.optimizer
        return {name: value.data if in_place else whole_weight(optimizer, value) for name, value in parameters}

    def current_model(self) -> nn.Module:
        """An ordinary fp32 module with the current weights, in evaluation mode on the engine's device.

        It runs without the other processes, so each may predict any number of batches. All processes must
        call this method. The same module is returned each time, with new weights.
        """
        self._plain.model.load_state_dict(self.full_state_dict())
        return self._plain.model.to(self.device).eval()

    def state(self) -> EngineState:
        """Return the state needed to continue. All processes must call it; the tensors are on the first one only."""
        keep = self.ranks.rank == 0
        optimizer = self._engine.optimizer
        tensors: dict[str, Tensor] = {}
        for name, parameter in self._engine.module.named_parameters():
            values = {"weights": whole_weight(optimizer, parameter)}
            if parameter.requires_grad:
                values |= whole_moments(optimizer, parameter)
            if keep:
                tensors |= {f"{kind}/{name}": _plain_copy(value) for kind, value in values.items()}
        average = {} if self._average is None else self._average.values
        if keep:
            buffers = self._engine.module.named_buffers()
            tensors |= {f"buffers/{name}": value.detach().cpu().clone() for name, value in buffers}
            tensors |= {f"average/{name}": _plain_copy(value) for name, value in average.items()}
        numbers = {"step": self.step, "updates": num_updates(optimizer), "lr_factor": self.lr_factor}
        numbers["average_updates"] = 0 if self._average is None else self._average.num_updates
        return EngineState(tensors=tensors, numbers=numbers | loss_scale(optimizer))

    def restore(self, state: EngineState) -> None:
        """Inverse of `state`, at any number of processes and ZeRO stage. All processes must call it."""
        numbers = dict(state.numbers)
        kinds = self._spread(state.tensors)
        self._plain.load_state_dict(kinds["weights"] | kinds.get("buffers", {}))
        self._engine.destroy()
        self._build()
        parameters = dict(self._engine.module.named_parameters())
        moments = {
            parameters[name]: {kind: kinds[kind][name] for kind in ("exp_avg", "exp_avg_sq")}
            for name in kinds.get("exp_avg", {})
        }
        set_moments(self._engine.optimizer, moments, int(numbers.pop("updates")))
        self.step, self.lr_factor = int(numbers.pop("step")), numbers.pop("lr_factor")
        num_averaged = int(numbers.pop("average_updates"))
        if self._average is not None:
            self._average.num_updates, self._average.values = num_averaged, kinds.get("average", {})
        if self.config.precision == "fp16":
            set_loss_scale(self._engine.optimizer, numbers)

    def _spread(self, tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The first process's tensors on every process's device, by kind and name."""
        heads = {name: (value.shape, value.dtype) for name, value in tensors.items()}
        heads = all_say(heads)[0]
        kinds: dict[str, dict[str, Tensor]] = {}
        for full_name, (shape, dtype) in heads.items():
            value = tensors[full_name] if full_name in tensors else torch.empty(shape, dtype=dtype)
            value = value.to(self.device, copy=True)
            if self.ranks.world_size > 1:
                dist.broadcast(value, src=0)
            kind, name = full_name.split("/", 1)
            kinds.setdefault(kind, {})[name] = value
        return kinds

    def shrink(self, most_pieces: int) -> str | None:
        """Take the next measure that saves memory; what it was, or None if none is left. `restore` must follow."""
        measure = less_memory(self.config, most_pieces, self.device.type == "cuda")
        if measure is None:
            return None
        self.config, what = measure
        return what

    def close(self) -> None:
        """Release hooks and buffers; the engine cannot be used afterwards."""
        self._engine.destroy()


def _plain_copy(value: Tensor, like: Tensor | None = None) -> Tensor:
    shape, dtype = (value.shape, torch.float32) if like is None else (like.shape, like.dtype)
    return value.detach().to("cpu", dtype, copy=True).reshape(shape).contiguous()


def _load_muon_uncompiled() -> None:
    """Load DeepSpeed's Muon, which no one here uses, without compiling it.

    DeepSpeed loads it to see whether an optimizer may be split, and it has its functions compiled as it is loaded:
    torch's compiler alone takes two seconds to load.
    """
    from deepspeed.runtime import compiler

    compile_function = compiler.compile
    compiler.compile = lambda *arguments, **options: lambda function: function
    try:
        importlib.import_module("deepspeed.runtime.zero.muon.muon_optimizer")
    finally:
        compiler.compile = compile_function


def _keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next step, instead of giving it back to the system.

    By default glibc does give back tensors of megabytes, and the system clears each page when it is asked for again:
    up to a fifth of a step on a CPU. The peak of memory is the same.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # None: another C library
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, (1 << 31) - 1)


def _quiet_deepspeed() -> None:
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # The shared-memory operator would be compiled at first use, for minutes; gloo serves as well. Private table, which
    # DeepSpeed asks about this operator alone: to read it would try every operator, compilers and setuptools included.
    vars(deepspeed.ops).setdefault("__compatible_ops__", {})["deepspeed_shm_comm"] = False
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    deepspeed.init_distributed(dist_backend=backend, verbose=False)


__all__ = ["Engine", "EngineState", "Ranks", "finish_distributed", "start_distributed"]
