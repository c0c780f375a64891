"""When a run is saved: after so many steps or minutes, after each epoch, and before it ends because it was asked to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from factor_models.training.loop import EpochRecord, FitState, StepRecord
from factor_models.training.resume import Resumable, RunFolder


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Frequency of checkpoints, and how many are kept. It does not change the result."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    every_steps: int | None = None
    """Optimizer steps between two checkpoints, besides those after each epoch; null: not for this reason."""
    every_minutes: float | None = 10.0
    """Minutes between two checkpoints, likewise."""
    keep: int = 2
    """Checkpoints that stay, the newest; the best weights stay as well."""

    def __post_init__(self) -> None:
        for name in ("every_steps", "every_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} = {value}: must be > 0")
        if self.keep < 1:
            raise ValueError(f"keep = {self.keep}: must be >= 1")


class StoppedError(Exception):
    """The run was asked to end and did so, after writing a checkpoint."""


class Voter(Resumable, Protocol):
    """An engine whose processes can vote."""

    def votes(self, vote: bool) -> int:
        """Return how many processes say yes. All processes must call it."""


class Keeper:
    """Callbacks of `fit` that save the run.

    Parameters
    ----------
    stop : whether this process was asked to end; the run does so if any process was
    urgent : whether a checkpoint is due for a reason of this process's own
    clock : seconds of this process; the first process's decide
    """

    def __init__(
        self,
        folder: RunFolder,
        engine: Voter,
        config: CheckpointConfig,
        stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        urgent: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folder, self.engine, self.config, self.stop, self.clock = folder, engine, config, stop, clock
        self.urgent = urgent
        self.saved_at = clock()

    def after_step(self, step: StepRecord, state: FitState) -> None:
        """Save where a checkpoint is due; StoppedError where a stop is requested."""
        due = self.config.every_steps is not None and self.engine.step % self.config.every_steps == 0
        late = self.config.every_minutes is not None and self._minutes() >= self.config.every_minutes
        stopping = False
        if self.engine.votes(late or self.urgent() or self.stop()):
            due, stopping = True, self.engine.votes(self.stop()) > 0
        if due:
            self._save(state)
        if stopping:
            raise StoppedError(f"stopped after step {self.engine.step}; a checkpoint was written")

    def after_epoch(self, record: EpochRecord, state: FitState) -> None:
        """Save; StoppedError where a stop is requested."""
        self._save(state)
        if self.engine.votes(self.stop()):
            raise StoppedError(f"stopped after epoch {record.epoch + 1}; a checkpoint was written")

    def _save(self, state: FitState) -> None:
        self.folder.save(self.engine, state)
        self.saved_at = self.clock()

    def _minutes(self) -> float:
        return (self.clock() - self.saved_at) / 60.0
