"""Training in one process with torch alone: the steps of the engine in fp32, without DeepSpeed.

For the estimators, which have to start in milliseconds, and as the reference that the engine is compared with: the
same batches give the same weights up to rounding.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from factor_models.losses.base import Loss
from factor_models.training.engine_config import EngineConfig, learning_rate
from factor_models.training.guards import NonFiniteError
from factor_models.training.inputs import Batch, micro_batches
from factor_models.training.loop import StepRecord
from factor_models.training.objective import Objective
from factor_models.training.optimizers import parameter_groups


class PlainTrainer:
    """AdamW with the engine's groups, schedule, clipping and accumulation; a `Trainer` for `fit`.

    Parameters
    ----------
    model : a module on the device it is to be trained on; trained in place
    loss : what is minimised; its parameters, if it has any, are trained with the model's
    config : see `EngineConfig`; precision must be fp32, `zero` is not read
    total_steps : number of steps of the whole run, for the schedule
    """

    def __init__(self, model: nn.Module, loss: Loss, config: EngineConfig, total_steps: int) -> None:
        if total_steps < 1:
            raise ValueError(f"total_steps = {total_steps}: must be >= 1")
        if config.precision != "fp32":
            raise ValueError(f"precision = {config.precision!r}: without DeepSpeed it must be 'fp32'")
        self.config, self.total_steps, self.step = config, total_steps, 0
        self.lr_factor = 1.0
        self.device = next(model.parameters()).device
        self._objective = Objective(model, loss).to(self.device)
        self._optimizer = torch.optim.AdamW(parameter_groups(self._objective, config.weight_decay), lr=config.lr)

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return self.lr_factor * learning_rate(self.step, self.total_steps, self.config)

    def train_step(self, batch: Batch) -> StepRecord:
        """One optimizer step on a batch, cut into `accumulation` pieces of whole dates."""
        self._objective.train()
        lr = self.lr
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.zero_grad()
        pieces = list(micro_batches(batch, self.config.accumulation, self.device))
        num_dates = sum(piece.num_dates for piece in pieces)
        if num_dates == 0:
            raise ValueError("the batch is empty: a step needs at least one window")
        self._prepare_loss(batch, num_dates)
        terms: dict[str, float] = {}
        for piece in pieces:
            share = piece.num_dates / num_dates
            values = self._objective(piece)
            (torch.stack(list(values.values())).sum() * share).backward()
            for name, value in values.items():
                terms[name] = terms.get(name, 0.0) + float(value.detach().double()) * share
        bound = self.config.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self._objective.parameters(), bound)
        if not (math.isfinite(sum(terms.values())) and norm.isfinite()):
            raise NonFiniteError(f"step {self.step + 1}: the loss is {sum(terms.values())}, the gradient norm {norm}")
        self._optimizer.step()
        self.step += 1
        return StepRecord(loss=sum(terms.values()), terms=terms, lr=lr, num_windows=len(batch.rows))

    def _prepare_loss(self, batch: Batch, num_dates: int) -> None:
        """Tell the loss what it must know of the whole batch before its forward passes."""
        loss: Loss = self._objective.loss
        groups = np.unique(np.asarray(batch.groups), return_inverse=True)[1].astype(np.int64)
        targets = torch.as_tensor(np.asarray(batch.targets), dtype=torch.float32)
        sums = loss.batch_statistic(targets, torch.from_numpy(groups), num_dates)
        if sums is not None:
            loss.start_step((sums.double() / num_dates).tolist())

    def current_model(self) -> nn.Module:
        """The model itself, in evaluation mode."""
        return self._objective.model.eval()

    def votes(self, vote: bool) -> int:
        """Return the own vote: there is one process."""
        return int(vote)

    def shrink(self, most_pieces: int) -> str | None:
        """Return None: there is no measure against a lack of memory."""
        return None

    def state(self) -> dict[str, Any]:
        """Return a copy, in memory, that `restore` goes back to."""
        return copy.deepcopy(
            {
                "objective": self._objective.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "step": self.step,
                "lr_factor": self.lr_factor,
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self._objective.load_state_dict(state["objective"])
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.step, self.lr_factor = state["step"], state["lr_factor"]

    def full_state_dict(self) -> dict[str, Tensor]:
        """A copy of the weights."""
        return copy.deepcopy(self._objective.model.state_dict())
