"""One network through the engine: where it goes on, what is logged, and what was met on the way."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

from dvclive.live import Live
from torch import nn

from factor_models import (
    Batch,
    CheckpointConfig,
    Engine,
    EngineConfig,
    EpochRecord,
    FitResult,
    FitState,
    GuardConfig,
    Keeper,
    Loss,
    MemoryExhaustedError,
    Rules,
    RunFolder,
    StepRecord,
    fit,
    run_key,
)
from stages.fitting.identity import decisive
from stages.processes.launch import OUT_OF_MEMORY
from stages.processes.memory import MemoryWatch
from stages.processes.progress import TrainingProgress
from stages.processes.watch import Watch
from stages.running.files import CHECKPOINTS, MIN_FREE_BYTES, check_writable

log = logging.getLogger("factorcast.train")


class Reporter(Protocol):
    """Looks at the network while it trains."""

    def after_step(self, step: StepRecord) -> None:
        """Take note of a step that was made."""

    def report(self) -> None:
        """Report at the end of an epoch."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Network, data and length of a training."""

    fold: int
    network: nn.Module
    """Ends in evaluation mode with the weights of its best epoch, on the engine's device."""
    loss: Loss
    config: EngineConfig
    epochs: int
    patience: int
    steps_per_epoch: int
    batches: Callable[[int, int], Iterable[Batch]]
    """(epoch, first step) -> this process's batches from that step on."""
    most_pieces: int
    """Dates in a process's share of a batch."""
    score: Callable[[nn.Module], float]
    """Higher is better: what early stopping and the plateau look at."""
    identity: dict[str, Any]
    """With `config` and the code, all that decides the weights."""
    code: str
    """Digest of the code that the stage's plan names."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    keep_last: bool = False
    """Where no epoch has a score (there is no signal): the last one's weights, instead of an error."""
    describe: Callable[[Batch], str] | None = None
    """Describes a batch in a warning."""
    advice: str = "use a smaller network"
    """What to do when memory runs out and nothing is left that gives the same result."""
    shown: Callable[[EpochRecord], float] = lambda record: record.score
    """Score that is displayed per epoch."""
    reporter: Callable[[Engine, bool], Reporter] | None = None
    """(engine, whether the run goes on from a checkpoint) -> receiver of each step and epoch."""
    suffix: str = ""
    """Tells its curves from those of other networks of the fold."""

    @property
    def num_steps(self) -> int:
        """Return the steps of all epochs."""
        return self.epochs * self.steps_per_epoch

    @cached_property
    def folder(self) -> RunFolder:
        """Folder of the checkpoints that a killed run continues from."""
        key = run_key(train=decisive(self.config), **self.identity, code=self.code)
        return RunFolder(CHECKPOINTS, key, self.checkpoint.keep)

    def run(self, progress: TrainingProgress, live: Live | None, watch: Watch) -> FitResult:
        """Train from where the last checkpoint is, with the generators as they are; `live` is the first process's."""
        return EngineFit(self, progress, live, watch).run()


class EngineFit:
    """A training under way."""

    def __init__(self, training: Training, progress: TrainingProgress, live: Live | None, watch: Watch) -> None:
        self.training, self.progress, self.live, self.watch = training, progress, live, watch
        self.reporter: Reporter | None = None
        self.memory = MemoryWatch(self.note)

    def run(self) -> FitResult:
        """Train from the start or from the last checkpoint; return the best weights and what happened."""
        training, folder = self.training, self.training.folder
        engine = Engine(training.network, training.loss, training.config, training.num_steps, training.describe)
        measures = self.meet_shortages(engine)
        state = folder.restore(engine)
        for record in state.history if state else []:
            self.log(record)  # a run that goes on logs the epochs before it was killed as well
        if training.reporter is not None:
            self.reporter = training.reporter(engine, state is not None)
        keeper = Keeper(folder, engine, training.checkpoint, self.watch.stop_requested, urgent=self.memory.urgent)
        schedule = training.config.schedule
        rules = Rules(
            epochs=training.epochs,
            patience=training.patience,
            plateau=training.config.schedule_options if schedule == "plateau" else None,
            guard=training.guard,
            keep_last=training.keep_last,
            most_pieces=training.most_pieces,
            advice=training.advice,
        )
        try:
            result = fit(
                engine,
                training.batches,
                self.score,
                rules,
                on_step=[self.after_step, keeper.after_step],
                on_epoch=[self.after_epoch, keeper.after_epoch],
                on_note=self.note,
                state=state,
            )
        except MemoryExhaustedError as error:
            self.start_again_with_less(error)
        engine.close()
        training.network.load_state_dict(result.state_dict)
        training.network.to(engine.device).eval()
        return replace(result, notes=(*measures, *result.notes))

    def meet_shortages(self, engine: Engine) -> list[str]:
        """Take the measures against a lack of memory that earlier attempts found to be needed; what they are."""
        measures = []
        for _ in range(self.training.folder.shortages()):
            measures.append(
                engine.shrink(self.training.most_pieces) or "every measure against a lack of memory is taken"
            )
            self.note(measures[-1])
        if measures:
            engine.restore(engine.state())
        return measures

    def start_again_with_less(self, error: MemoryExhaustedError) -> None:
        """One of several processes is out of memory: all start again, with one measure more against it."""
        self.training.folder.note_shortage()
        print(f"{error}: starting again with less memory", file=sys.stderr, flush=True)
        os._exit(OUT_OF_MEMORY)  # the others wait in an exchange that this one will not join

    def score(self, network: nn.Module) -> float:
        """Return the score of the validation windows; the watch hears of its start and end."""
        self.watch.beat()
        score = self.training.score(network)
        self.watch.beat()
        return score

    def after_step(self, step: StepRecord, state: FitState) -> None:
        """Show a step that was made."""
        self.watch.beat()
        self.memory.look()
        self.progress.step(step, state)
        if self.reporter is not None:
            self.reporter.after_step(step)

    def after_epoch(self, record: EpochRecord, state: FitState) -> None:
        """Show and log the record of an epoch."""
        shown = self.training.shown(record)
        self.progress.epoch(record, shown)
        log.info("fold %d %s, %s %.4f", self.training.fold, record, self.progress.score_name, shown)
        if self.reporter is not None:
            self.reporter.report()
        self.log(record)
        self.watch.beat()

    def note(self, sentence: str) -> None:
        """Log a sentence about an unusual event and show it."""
        log.warning("fold %d: %s", self.training.fold, sentence)
        self.progress.note(sentence)

    def log(self, record: EpochRecord) -> None:
        """Loss, its terms, score and rate of an epoch."""
        if not self.live:
            return
        self.live.step = record.epoch
        terms = record.terms if len(record.terms) > 1 else {}
        values = {"loss": record.loss, **terms, "score": record.score, "lr": record.lr}
        for metric, value in values.items():
            self.live.log_metric(f"fold_{self.training.fold}{self.training.suffix}/{metric}", value)
        self.live.next_step()


def reserve_checkpoints(network: nn.Module, config: EngineConfig, checkpoint: CheckpointConfig, folds: int) -> None:
    """Refuse before the first step what would fail at a checkpoint: a folder or disk that does not take them all.

    Each fold keeps some, with Adam's moments and an anchor.
    """
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    kinds = 3 if config.ema_decay is None else 4
    files = checkpoint.keep + 1  # one is written before the oldest goes
    check_writable(CHECKPOINTS, MIN_FREE_BYTES + folds * files * weights * (2 * kinds + 1))
