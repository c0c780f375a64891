"""Progress of a training: a live display on a terminal, one line an epoch in a log, and train.log.

The display has a bar with the time that is left and, below it, epoch and step, the loss by terms, learning rate, score,
windows per second and memory, over two lines where the terminal is narrow. Without a terminal, or in CI, there is a
line an epoch. .live/<model>/train.log keeps all that is said, with times; the other processes write rank_1.log and so
on beside it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import psutil
import torch
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

if TYPE_CHECKING:
    from factor_models import EpochRecord, FitState, StepRecord

REFRESH_SECONDS = 0.25


class TrainingProgress:
    """Counts optimiser steps over all folds. Silent when `shown` is False (every process but the first)."""

    def __init__(
        self, model: str, num_folds: int, steps_per_fold: int, shown: bool, score_name: str = "valid rank IC"
    ) -> None:
        self.score_name = score_name
        self.model, self.num_folds, self.steps_per_fold, self.shown = model, num_folds, steps_per_fold, shown
        self.started, self.fold, self.seed = time.monotonic(), 0, ""
        self.position, self.done = 0, 0  # a fold that stops early moves the position by more than was done
        self.windows, self.windows_since, self.refreshed = 0, time.monotonic(), 0.0
        self.score: float | None = None
        self.console = Console(stderr=True)
        self.is_live = shown and sys.stderr.isatty() and not self.console.is_dumb_terminal
        self.is_live = self.is_live and not os.environ.get("CI")
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
        )
        self.task = self.bar.add_task(model, total=num_folds * steps_per_fold, left="")
        self.detail = Text()
        self.live = Live(Group(self.bar, self.detail), console=self.console, refresh_per_second=1 / REFRESH_SECONDS)

    def __enter__(self) -> TrainingProgress:
        if self.is_live:
            self.live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.is_live:
            return
        if error is None:  # the last fold may have stopped early
            self.position = self.num_folds * self.steps_per_fold
            self._refresh()
        self.live.__exit__(kind, error, trace)

    def start_fold(self, fold: int) -> None:
        """Jump to the fold's first step: an earlier fold may have stopped early."""
        self.fold, self.seed, self.position, self.score = fold, "", fold * self.steps_per_fold, None
        self.windows, self.windows_since = 0, time.monotonic()
        self.detail.plain = ""
        self._refresh()

    def start_seed(self, number: int, num_seeds: int) -> None:
        """Jump to the first step of one of the networks of a fold; nothing where there is one alone."""
        if num_seeds > 1:
            self.seed, self.score = f" seed {number + 1}/{num_seeds}", None
            self.position = self.fold * self.steps_per_fold + number * (self.steps_per_fold // num_seeds)
            self._refresh()

    def step(self, step: StepRecord | None = None, state: FitState | None = None) -> None:
        """Another step is done; of a network with what it was."""
        self.position, self.done = self.position + 1, self.done + 1
        if step is not None:
            self.windows += step.num_windows
        if time.monotonic() - self.refreshed < REFRESH_SECONDS:
            return
        if step is not None and state is not None:
            self.detail.plain = self._detail(step, state)
        self._refresh()

    def _refresh(self) -> None:
        self.refreshed = time.monotonic()
        self.bar.update(self.task, completed=self.position, description=self._where(), left=f"ETA {self._left()}")

    def _detail(self, step: StepRecord, state: FitState) -> str:
        score = "" if self.score is None else f"{self.score_name} {self.score:+.4f}, "
        return (
            f"epoch {state.next_epoch + 1} step {state.next_step}, {loss_by_terms(step.loss, step.terms)}, "
            f"lr {step.lr:.2e}, {score}{self._pace()}"
        )

    def _pace(self) -> str:
        rate = self.windows / max(time.monotonic() - self.windows_since, 1e-9)
        return f"{rate:,.0f} windows/s, {memory_in_use()}"

    def _left(self) -> str:
        """The time that is left at the pace so far, if no fold stops early."""
        if not self.done:
            return "-:--:--"
        pace = (time.monotonic() - self.started) / self.done
        steps = max(self.num_folds * self.steps_per_fold - self.position, 0)
        return str(timedelta(seconds=round(pace * steps)))

    def epoch(self, record: EpochRecord, score: float) -> None:
        """One line an epoch, with the time that is left at this pace."""
        self.score = score
        self._refresh()
        self._print(
            f"{self._where()} epoch {record.epoch + 1}: {loss_by_terms(record.loss, record.terms)}, "
            f"{self.score_name} {score:+.4f}, lr {record.lr:.2e}, {self._pace()}, ETA {self._left()}"
        )
        self.windows, self.windows_since = 0, time.monotonic()

    def note(self, sentence: str) -> None:
        """Something that a person should know of."""
        self._print(f"{self._where()}: {sentence}")

    def _print(self, line: str) -> None:
        if self.is_live:
            self.console.print(line, highlight=False, markup=False)
        elif self.shown:
            print(line, file=sys.stderr)

    def _where(self) -> str:
        return f"{self.model} fold {self.fold + 1}/{self.num_folds}{self.seed}"


def loss_by_terms(loss: float, terms: Mapping[str, float]) -> str:
    """The loss, and of several terms each."""
    if len(terms) < 2:
        return f"loss {loss:.4f}"
    return f"loss {loss:.4f} ({', '.join(f'{name} {value:.4f}' for name, value in terms.items())})"


def memory_in_use() -> str:
    """Return the memory in use, of the GPU where there is one, else of this process."""
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
        logger.propagate = False
    if rank == 0 and logging.lastResort is not None:  # warnings of the packages are for the terminal too
        logging.getLogger("factor_models").addHandler(logging.lastResort)
