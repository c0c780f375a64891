"""Training in one process with torch alone: the steps of the engine in fp32, without DeepSpeed.

For the estimators, which have to start in milliseconds, and as the reference that the engine is compared with: the
same batches give the same weights up to rounding.
"""

import copy

import torch
from torch import Tensor, nn

from factor_models.losses import Loss
from factor_models.training.engine_config import EngineConfig, learning_rate
from factor_models.training.inputs import Batch, micro_batches, tensor_batch
from factor_models.training.loop import StepRecord
from factor_models.training.objective import Objective


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
            raise ValueError(
                f"EngineConfig.precision = {config.precision!r}: without DeepSpeed it must be 'fp32'"
            )
        self.config, self.total_steps, self.step = config, total_steps, 0
        self.device = next(model.parameters()).device
        self._objective = Objective(model, loss).to(self.device)
        self._optimizer = torch.optim.AdamW(
            _parameter_groups(self._objective, config.weight_decay), lr=config.lr
        )

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return learning_rate(self.step, self.total_steps, self.config)

    def train_step(self, batch: Batch) -> StepRecord:
        """One optimizer step on a batch, cut into `accumulation` pieces of whole dates."""
        self._objective.train()
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr
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
        if self.config.clip_norm > 0:
            nn.utils.clip_grad_norm_(self._objective.parameters(), self.config.clip_norm)
        self._optimizer.step()
        self.step += 1
        return StepRecord(loss=sum(terms.values()), terms=terms)

    def _prepare_loss(self, batch: Batch, num_dates: int) -> None:
        """Tell the loss what it must know of the whole batch before its forward passes."""
        whole = tensor_batch(batch)
        assert whole.targets is not None
        loss = self._objective.loss
        sums = loss.batch_statistic(whole.targets, whole.groups, num_dates)
        if sums is not None:
            loss.start_step((sums.double() / num_dates).tolist())

    def current_model(self) -> nn.Module:
        """The model itself, in evaluation mode."""
        return self._objective.model.eval()

    def full_state_dict(self) -> dict[str, Tensor]:
        """A copy of the weights."""
        return copy.deepcopy(self._objective.model.state_dict())


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Matrices are decayed, vectors are not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in parameters if one.ndim >= 2], "weight_decay": weight_decay},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
