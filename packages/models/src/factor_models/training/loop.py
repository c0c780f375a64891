"""The training loop: batches and functions in, best weights and history out.

It knows no file, no params and no logger.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from factor_models.training.inputs import Batch, tensor_batch


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What an optimizer step was."""

    loss: float
    """Of the whole batch, all processes together, as it was before the step."""
    terms: dict[str, float]
    """The parts whose sum it is."""


class Trainer(Protocol):
    """What the loop needs of an engine."""

    step: int
    """Steps done."""

    def train_step(self, batch: Batch) -> StepRecord: ...

    def current_model(self) -> nn.Module: ...

    def full_state_dict(self) -> dict[str, Tensor]: ...

    @property
    def lr(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of the history."""

    epoch: int
    """0-based."""
    loss: float
    """Mean training loss over the epoch's steps, all processes."""
    terms: dict[str, float] = field(default_factory=dict)
    """Mean of each term of the loss."""
    score: float
    """Score on the valid dates after the epoch; NaN where it is undefined."""
    lr: float
    """Learning rate after the epoch."""


@dataclass(kw_only=True)
class FitState:
    """Where a run stands after an epoch: enough, with the engine's own state, to go on."""

    next_epoch: int = 0
    best_epoch: int = -1
    best_score: float = -math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[EpochRecord] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Outcome of `fit`."""

    best_epoch: int
    best_score: float
    history: tuple[EpochRecord, ...]
    state_dict: dict[str, Tensor]
    """Plain fp32 CPU weights of the best epoch."""


def fit(
    engine: Trainer,
    train_batches: Callable[[int], Iterable[Batch]],
    score: Callable[[nn.Module], float],
    *,
    epochs: int,
    patience: int,
    on_step: Sequence[Callable[[int, StepRecord], None]] = (),
    on_epoch: Sequence[Callable[[EpochRecord, FitState], None]] = (),
    state: FitState | None = None,
) -> FitResult:
    """Train until `patience` epochs bring no better score; return the best epoch's weights.

    Parameters
    ----------
    engine : `factor_models.training.engine.Engine` or anything with its methods
    train_batches : epoch -> this process's batches; the same number on each process
    score : module with the current weights in evaluation mode -> score, higher is better, the same on each
        process. NaN (a constant prediction) is worse than any number
    epochs, patience : most epochs; epochs without a better score before stopping
    on_step : functions of (number of steps done, the last one), called after each step
    on_epoch : functions of (record, state), called after each epoch; `state` may be saved to resume
    state : where to continue; None starts anew

    Raises
    ------
    ValueError : a loss is not finite (epoch and step are named), no epoch had a defined score, or an epoch
        has no batch
    """
    for name, value in (("epochs", epochs), ("patience", patience)):
        if value < 1:
            raise ValueError(f"{name} = {value}: must be >= 1")
    state = FitState() if state is None else state
    while state.next_epoch < epochs and not _exhausted(state, patience):
        epoch = state.next_epoch
        mean_loss, terms = _train_epoch(engine, train_batches(epoch), epoch, on_step)
        record = EpochRecord(
            epoch=epoch,
            loss=mean_loss,
            terms=terms,
            score=float(score(engine.current_model())),
            lr=engine.lr,
        )
        _note(state, record, engine)
        for callback in on_epoch:
            callback(record, state)
    if state.best_epoch < 0:
        raise ValueError(
            f"the score was NaN after each of {len(state.history)} epochs: "
            "predictions are constant or not finite"
        )
    return FitResult(
        best_epoch=state.best_epoch,
        best_score=state.best_score,
        history=tuple(state.history),
        state_dict=state.best_weights,
    )


def _train_epoch(
    engine: Trainer,
    batches: Iterable[Batch],
    epoch: int,
    on_step: Sequence[Callable[[int, StepRecord], None]],
) -> tuple[float, dict[str, float]]:
    steps = []
    for batch in batches:
        step = engine.train_step(batch)
        if not math.isfinite(step.loss):
            raise ValueError(
                f"the training loss is {step.loss} in epoch {epoch} at step {engine.step}: "
                "lower the learning rate, or check features and targets"
            )
        steps.append(step)
        for callback in on_step:
            callback(engine.step, step)
    if not steps:
        raise ValueError(f"epoch {epoch} has no training batch")
    terms = {name: math.fsum(step.terms[name] for step in steps) / len(steps) for name in steps[0].terms}
    return math.fsum(step.loss for step in steps) / len(steps), terms


def _note(state: FitState, record: EpochRecord, engine: Trainer) -> None:
    state.history.append(record)
    state.next_epoch = record.epoch + 1
    if record.score > state.best_score:
        state.best_epoch, state.best_score = record.epoch, record.score
        state.best_weights = copy.deepcopy(engine.full_state_dict())


def _exhausted(state: FitState, patience: int) -> bool:
    """No better score for `patience` epochs; epochs before the first defined score count too."""
    return state.next_epoch - 1 - state.best_epoch >= patience


@torch.no_grad()
def predict(model: nn.Module, batches: Iterable[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (N,) int64 and predictions (N, H) float32, in the order of the batches."""
    model.eval()
    device = next(model.parameters()).device
    rows, predictions = [np.empty(0, np.int64)], []
    for batch in batches:
        if len(batch.rows) == 0:
            continue
        rows.append(np.asarray(batch.rows, np.int64))
        tensors = tensor_batch(batch, device)
        predictions.append(model(tensors.windows, **tensors.extras(model)).float().cpu().numpy())
    if not predictions:
        raise ValueError("there is no window to predict: every batch is empty")
    return np.concatenate(rows), np.concatenate(predictions)


def gather_predictions(rows: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All processes' rows and predictions on each process, sorted by row; alone it only sorts."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        rows = _gather(torch.from_numpy(np.ascontiguousarray(rows, np.int64))).numpy()
        predictions = _gather(torch.from_numpy(np.ascontiguousarray(predictions, np.float32))).numpy()
    order = np.argsort(rows, kind="stable")
    return rows[order], predictions[order]


def _gather(values: Tensor) -> Tensor:
    """Concatenate along axis 0 over processes whose lengths differ: padded to the longest, then cut."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    length = torch.tensor([len(values)], device=device)
    lengths = [torch.zeros_like(length) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, length)
    counts = [int(count) for count in lengths]
    padded = torch.zeros((max(counts), *values.shape[1:]), dtype=values.dtype, device=device)
    padded[: len(values)] = values.to(device)
    parts = [torch.zeros_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]).cpu()
