"""What a person sees while a model trains: a bar with ETA on a terminal, one line an epoch in a log."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingProgress:
    """Counts optimiser steps over all folds. Silent when `shown` is False (every process but the first)."""

    def __init__(
        self, model: str, num_folds: int, steps_per_fold: int, shown: bool, score: str = "valid rank IC"
    ) -> None:
        self.score = score
        self.model, self.num_folds, self.steps_per_fold, self.shown = model, num_folds, steps_per_fold, shown
        self.started, self.steps, self.fold = time.monotonic(), 0, 0
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not (shown and console.is_terminal),
        )
        self.task = self.bar.add_task(model, total=num_folds * steps_per_fold)

    def __enter__(self) -> "TrainingProgress":
        self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, error, trace)

    def start_fold(self, fold: int) -> None:
        """Jump to the fold's first step: an earlier fold may have stopped early."""
        self.fold, self.steps = fold, fold * self.steps_per_fold
        self.bar.update(self.task, completed=self.steps, description=self._where())

    def step(self) -> None:
        self.steps += 1
        self.bar.update(self.task, completed=self.steps)

    def epoch(self, epoch: int, loss: float, score: float, lr: float) -> None:
        """One line an epoch, with the time that is left at this pace."""
        if not self.shown:
            return
        elapsed = time.monotonic() - self.started
        left = elapsed / max(self.steps, 1) * (self.num_folds * self.steps_per_fold - self.steps)
        line = f"{self._where()} epoch {epoch + 1}: loss {loss:.4f}, {self.score} {score:+.4f}, lr {lr:.2e}"
        line += f", ETA {left:.0f} s"
        if self.bar.disable:
            print(line, file=sys.stderr)
        else:
            self.bar.console.print(line, highlight=False)

    def _where(self) -> str:
        return f"{self.model} fold {self.fold + 1}/{self.num_folds}"
