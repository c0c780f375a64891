"""What a person sees while a model trains: a live line on a terminal, one line an epoch in a log, and train.log.

The live line has epoch and step, the loss by terms, learning rate, rank IC, windows per second, memory and the time
that is left. Without a terminal (in CI) there is a line an epoch. .live/<model>/train.log keeps all that is said, with
times; the other processes write rank_1.log and so on beside it.
"""

import logging
import sys
import time
from pathlib import Path
from types import TracebackType

import psutil
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from factor_models import EpochRecord, FitState, StepRecord

REFRESH_SECONDS = 0.25


class TrainingProgress:
    """Counts optimiser steps over all folds. Silent when `shown` is False (every process but the first)."""

    def __init__(
        self, model: str, num_folds: int, steps_per_fold: int, shown: bool, score_name: str = "valid rank IC"
    ) -> None:
        self.score_name = score_name
        self.model, self.num_folds, self.steps_per_fold, self.shown = model, num_folds, steps_per_fold, shown
        self.started, self.steps, self.fold = time.monotonic(), 0, 0
        self.windows, self.windows_since, self.refreshed = 0, time.monotonic(), 0.0
        self.score: float | None = None
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console,
            disable=not (shown and console.is_terminal),
        )
        self.task = self.bar.add_task(model, total=num_folds * steps_per_fold, detail="")

    def __enter__(self) -> "TrainingProgress":
        self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, error, trace)

    def start_fold(self, fold: int) -> None:
        """Jump to the fold's first step: an earlier fold may have stopped early."""
        self.fold, self.steps, self.score = fold, fold * self.steps_per_fold, None
        self.bar.update(self.task, completed=self.steps, description=self._where(), detail="")

    def step(self, step: StepRecord | None = None, state: FitState | None = None) -> None:
        """Another step is done; of a network with what it was."""
        self.steps += 1
        if step is not None:
            self.windows += step.num_windows
        now = time.monotonic()
        if self.bar.disable or now - self.refreshed < REFRESH_SECONDS:
            return
        self.refreshed = now
        detail = "" if step is None or state is None else self._detail(step, state)
        self.bar.update(self.task, completed=self.steps, detail=detail)

    def _detail(self, step: StepRecord, state: FitState) -> str:
        terms = " ".join(f"{name} {value:.4f}" for name, value in step.terms.items())
        score = "" if self.score is None else f" {self.score_name} {self.score:+.4f}"
        return (
            f"epoch {state.next_epoch + 1} step {state.next_step} {terms} lr {step.lr:.2e}{score} "
            f"{self._per_second():,.0f} windows/s {memory_in_use()}"
        )

    def _per_second(self) -> float:
        return self.windows / max(time.monotonic() - self.windows_since, 1e-9)

    def epoch(self, record: EpochRecord, score: float) -> None:
        """One line an epoch, with the time that is left at this pace."""
        self.score = score
        if not self.shown:
            return
        elapsed = time.monotonic() - self.started
        left = elapsed / max(self.steps, 1) * (self.num_folds * self.steps_per_fold - self.steps)
        line = f"{self._where()} epoch {record.epoch + 1}: loss {record.loss:.4f}, {self.score_name} {score:+.4f}"
        line += (
            f", lr {record.lr:.2e}, {self._per_second():,.0f} windows/s, {memory_in_use()}, ETA {left:.0f} s"
        )
        self.windows, self.windows_since = 0, time.monotonic()
        self._print(line)

    def note(self, sentence: str) -> None:
        """Something that a person should know of."""
        if self.shown:
            self._print(f"{self._where()}: {sentence}")

    def _print(self, line: str) -> None:
        if self.bar.disable:
            print(line, file=sys.stderr)
        else:
            self.bar.console.print(line, highlight=False)

    def _where(self) -> str:
        return f"{self.model} fold {self.fold + 1}/{self.num_folds}"


def memory_in_use() -> str:
    """Of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB GPU"
    return f"{psutil.Process().memory_info().rss / 2**30:.1f} GiB"


def keep_log(folder: Path, rank: int) -> None:
    """Let this process's messages go to a file: train.log of the first one, rank_<k>.log of the others."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("train.log" if rank == 0 else f"rank_{rank}.log")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(f"%(asctime)s [rank {rank}] %(levelname)s %(name)s: %(message)s"))
    for name in ("factorcast", "factor_models"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        logger.propagate = (
            name == "factor_models" and rank == 0
        )  # warnings of the packages are for the terminal too
