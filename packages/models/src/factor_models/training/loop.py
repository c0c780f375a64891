"""The training loop: batches and functions in, best weights and history out.

It knows no file, no params and no logger.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from factor_models.training.guards import GuardConfig, MemoryExhaustedError, NonFiniteError
from factor_models.training.inputs import Batch
from factor_models.training.schedules import Plateau, ScheduleOptions
from factor_models.training.seed import random_state, restore_random_state


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """Record of an optimiser step."""

    loss: float
    """Loss of the global batch before the step."""
    terms: dict[str, float]
    """The parts whose sum it is."""
    lr: float = math.nan
    """Learning rate of the step."""
    num_windows: int = 0
    """Windows of the whole batch, all processes together."""


class Trainer(Protocol):
    """Interface of an engine, as the loop uses it."""

    step: int
    """Steps done."""
    lr_factor: float
    """Factor on the schedule's rate."""

    def train_step(self, batch: Batch) -> StepRecord:
        """Make one optimiser step; NonFiniteError or MemoryExhaustedError if it fails."""

    def votes(self, vote: bool) -> int:
        """Return how many processes say yes. All processes must call it."""

    def current_model(self) -> nn.Module:
        """Return the network with its weights of now, for prediction."""

    def full_state_dict(self) -> dict[str, Tensor]:
        """Return the whole weights."""

    def state(self) -> Any:
        """Return all that `restore` needs. All processes must call it."""

    def restore(self, state: Any) -> None:
        """Go back to a state."""

    def shrink(self, most_pieces: int) -> str | None:
        """Take one more measure against a lack of memory; None if none is left."""

    @property
    def lr(self) -> float:
        """Return the learning rate of the next step."""


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


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """The start of an epoch, where a run goes back to when a step fails."""

    engine: Any
    """State of the engine."""
    random: dict[str, Tensor]
    """State of this process's generators."""


@dataclass(kw_only=True)
class FitState:
    """State of a run: enough, with the engine's own state and the generators, to continue."""

    next_epoch: int = 0
    """The epoch that is under way, or the next one."""
    next_step: int = 0
    """Steps of it that are done."""
    steps: list[StepRecord] = field(default_factory=list)
    """Those steps."""
    best_epoch: int = -1
    best_score: float = -math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[EpochRecord] = field(default_factory=list)
    plateau: Plateau = field(default_factory=Plateau)
    rollbacks: int = 0
    """Times the run went back because of a loss or gradient that was not finite."""
    notes: list[str] = field(default_factory=list)
    """Failures on the way and the measures taken."""
    anchor: Anchor | None = None


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Outcome of `fit`."""

    best_epoch: int
    best_score: float
    history: tuple[EpochRecord, ...]
    state_dict: dict[str, Tensor]
    """Plain fp32 CPU weights of the best epoch."""
    notes: tuple[str, ...] = ()
    """Rollbacks and measures against a lack of memory."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Length of a run, and how it reacts to failures."""

    epochs: int
    """Most epochs."""
    patience: int
    """Epochs without a better score before stopping."""
    plateau: ScheduleOptions | None = None
    """Lower the rate when the score stops rising; None: do not."""
    guard: GuardConfig = field(default_factory=GuardConfig)
    most_pieces: int = 1
    """Micro batches at most, if memory runs out: dates in a process's share of a batch."""
    advice: str = "use a shorter lookback, a smaller network, or fewer dates in a batch (batch_dates)"
    """What to do when memory runs out and nothing is left that gives the same result."""
    keep_last: bool = False
    """Where no epoch has a score: return the last one's weights, and say so in the notes, instead of an error."""

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "most_pieces"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be >= 1")


class UndefinedScoreError(ValueError):
    """No epoch had a score: predictions are constant, not finite, or too few to be scored."""


OnStep = Callable[[StepRecord, FitState], None]
OnEpoch = Callable[[EpochRecord, FitState], None]


def fit(
    engine: Trainer,
    train_batches: Callable[[int, int], Iterable[Batch]],
    score: Callable[[nn.Module], float],
    rules: Rules,
    *,
    on_step: Sequence[OnStep] = (),
    on_epoch: Sequence[OnEpoch] = (),
    on_note: Callable[[str], None] = lambda note: None,
    state: FitState | None = None,
) -> FitResult:
    """Train until `patience` epochs bring no better score; return the best epoch's weights.

    Parameters
    ----------
    engine : `factor_models.training.engine.Engine` or anything with its methods
    train_batches : (epoch, first step) -> this process's batches from that step on; the same number on each process
    score : module with the current weights in evaluation mode -> score, higher is better, the same on each
        process. NaN (a constant prediction) is worse than any number
    on_step : functions of (the step, state), called after each step; `state` may be saved to resume. An exception
        ends the run
    on_epoch : functions of (record, state), called after each epoch
    on_note : takes a sentence on each rollback and each measure against a lack of memory
    state : where to continue; None starts anew

    Raises
    ------
    ValueError : a loss or gradient is not finite once too often (step, layer and batch are named), an epoch has no
        batch, or processes have different numbers of batches
    UndefinedScoreError : no epoch had a defined score, unless `rules.keep_last`; a ValueError
    MemoryError : a step has no memory and every measure is taken
    MemoryExhaustedError : a step has no memory on one of several processes: all have to start again with less
    """
    state = FitState() if state is None else state
    is_alone = engine.votes(True) == 1
    while state.next_epoch < rules.epochs and not _exhausted(state, rules.patience):
        if state.anchor is None:
            state.anchor = Anchor(engine=engine.state(), random=random_state())
        try:
            _train_epoch(engine, train_batches, state, on_step)
        except (NonFiniteError, MemoryExhaustedError) as error:
            note = _go_back(engine, state, error, rules, is_alone)
            state.notes.append(note)
            on_note(note)
            continue
        record = _close_epoch(engine, state, float(score(engine.current_model())), rules)
        for callback in on_epoch:
            callback(record, state)
    if state.best_epoch < 0:
        why = (
            f"the score was NaN after each of {len(state.history)} epochs: predictions are constant, not finite or "
            "too few to be scored"
        )
        if not rules.keep_last:
            raise UndefinedScoreError(why)
        state.best_epoch, state.best_weights = len(state.history) - 1, copy.deepcopy(engine.full_state_dict())
        state.notes.append(f"{why}; the last one's weights are kept")
        on_note(state.notes[-1])
    return FitResult(
        best_epoch=state.best_epoch,
        best_score=state.best_score,
        history=tuple(state.history),
        state_dict=state.best_weights,
        notes=tuple(state.notes),
    )


def _train_epoch(
    engine: Trainer,
    train_batches: Callable[[int, int], Iterable[Batch]],
    state: FitState,
    on_step: Sequence[OnStep],
) -> None:
    """The steps of the epoch that are not done."""
    batches = iter(train_batches(state.next_epoch, state.next_step))
    num_processes = engine.votes(True)
    while True:
        batch = next(batches, None)
        num_with_batch = engine.votes(batch is not None)
        if 0 < num_with_batch < num_processes:
            raise ValueError(
                f"epoch {state.next_epoch}: after {state.next_step} steps {num_with_batch} of {num_processes} "
                "processes have another batch: each must have the same number"
            )
        if batch is None:
            break
        step = engine.train_step(batch)
        state.steps.append(step)
        state.next_step += 1
        for callback in on_step:
            callback(step, state)
    if not state.steps:
        raise ValueError(f"epoch {state.next_epoch} has no training batch")


def _close_epoch(engine: Trainer, state: FitState, score: float, rules: Rules) -> EpochRecord:
    """Note the epoch in the state and make it ready for the next one."""
    names = state.steps[0].terms
    if rules.plateau is not None:
        engine.lr_factor = max(engine.lr_factor * state.plateau.update(score, rules.plateau), rules.plateau.floor)
    record = EpochRecord(
        epoch=state.next_epoch,
        loss=_mean([step.loss for step in state.steps]),
        terms={name: _mean([step.terms[name] for step in state.steps]) for name in names},
        score=score,
        lr=engine.lr,
    )
    state.history.append(record)
    state.next_epoch, state.next_step, state.steps = record.epoch + 1, 0, []
    if score > state.best_score:
        state.best_epoch, state.best_score = record.epoch, score
        state.best_weights = copy.deepcopy(engine.full_state_dict())
    state.anchor = None
    return record


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _go_back(
    engine: Trainer,
    state: FitState,
    error: NonFiniteError | MemoryExhaustedError,
    rules: Rules,
    is_alone: bool,
) -> str:
    """Return to the start of the epoch with a lower rate or less memory; what was done, in words."""
    assert state.anchor is not None
    lr_factor = engine.lr_factor
    if isinstance(error, NonFiniteError):
        if state.rollbacks >= rules.guard.rollbacks:
            raise ValueError(
                f"{error}; failure {state.rollbacks + 1} of this run, which may roll back {rules.guard.rollbacks} "
                "times: lower the learning rate, or check features and targets of these dates"
            ) from error
        state.rollbacks += 1
        lr_factor *= rules.guard.lr_factor
        done = f"back to the start of epoch {state.next_epoch + 1}, learning rate times {rules.guard.lr_factor}"
        done += f" (rollback {state.rollbacks} of {rules.guard.rollbacks})"
    else:
        measure = engine.shrink(rules.most_pieces)
        if measure is None:
            raise MemoryError(
                f"{error}. Nothing is left that saves memory at the same result: {rules.advice}"
            ) from error
        if not is_alone:
            raise error  # the others wait in an exchange: only a new start helps
        done = f"{measure}; back to the start of epoch {state.next_epoch + 1}"
    engine.restore(state.anchor.engine)
    restore_random_state(state.anchor.random)
    engine.lr_factor = lr_factor
    state.next_step, state.steps = 0, []
    return f"{error}: {done}"


def _exhausted(state: FitState, patience: int) -> bool:
    """No better score for `patience` epochs; epochs before the first defined score count too."""
    return state.next_epoch - 1 - state.best_epoch >= patience
