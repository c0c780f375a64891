"""What a sweep shows: one live view on a terminal, lines elsewhere, and a table of all trials at its end.

The view says how many trials are done, stopped, failed, refused, running and waiting, the time so far and the time that
is left, the best by valid dates with its interval, what runs with the folds that it has finished, and why others
failed. Above it stays a line for each trial that has ended. Without a terminal, or in CI, these lines say it all.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from factor_experiments.sweep_choice import Choice
from factor_experiments.sweep_run import Job, best_of

REFRESH_SECONDS = 0.5
STATUSES = ("done", "stopped", "failed", "refused", "running", "waiting")
COLORS = {"running": "cyan", "failed": "red", "refused": "yellow"}


class SweepView:
    """Shows the trials of a choice from the block's beginning to its end.

    `wanted` are all trials of a sweep that goes on choosing; None where all are known.
    """

    def __init__(self, choice: Choice, wanted: int | None = None) -> None:
        self.choice, self.wanted = choice, wanted
        self.begun = self.last = time.monotonic()
        self.num_ended = 0
        self.console = Console()
        self.is_live = sys.stdout.isatty() and not self.console.is_dumb_terminal and not os.environ.get("CI")
        self.live = Live(
            get_renderable=self._frame,
            console=self.console,
            refresh_per_second=1 / REFRESH_SECONDS,
            transient=True,  # the table comes in its place
        )

    def __enter__(self) -> SweepView:
        if self.is_live:
            self.live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_live:
            self.live.__exit__(kind, error, trace)

    def ended(self, job: Job) -> None:
        """Say how a trial has ended."""
        self.num_ended, self.last = self.num_ended + 1, time.monotonic()
        line = f"{job.name} ({values_of(job)}): {'' if job.status == 'done' else f'{job.status}: '}{outcome(job)}"
        if self.is_live:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)
            return
        best = best_of(self.choice.jobs)
        told = "" if best is None else f", best {best.name} {score_of(best)} on valid dates"
        print(f"{line}\n  {self._counts()}, ETA {self._left()}{told}", flush=True)

    def _counts(self) -> str:
        return ", ".join(f"{number} {status}" for status, number in self._by_status().items() if number)

    def _by_status(self) -> dict[str, int]:
        jobs = list(self.choice.jobs)
        counts = {status: sum(job.status == status for job in jobs) for status in STATUSES}
        counts["waiting"] += max(0, (self.wanted or 0) - len(jobs))
        return counts

    def _left(self) -> str:
        """Return the time that is left at the pace from one end to the next so far."""
        if not self.num_ended:
            return "-:--:--"
        each, counts = (self.last - self.begun) / self.num_ended, self._by_status()
        left = each * (counts["waiting"] + counts["running"]) - (time.monotonic() - self.last)
        return str(timedelta(seconds=max(0, round(left))))

    def _frame(self) -> Group:
        """Return the view as it is now; called by the thread that repaints it."""
        jobs, best = list(self.choice.jobs), best_of(self.choice.jobs)
        so_far = timedelta(seconds=round(time.monotonic() - self.begun))
        lines = [Text(f"{self._counts()}; {so_far} so far, ETA {self._left()}", style="bold")]
        if best is not None:
            lines.append(Text(f"best {best.name} {score_of(best)} on valid dates ({values_of(best)})"))
        table = Table.grid(padding=(0, 2))
        for _ in range(4):
            table.add_column(overflow="fold")
        for status in COLORS:
            for job in jobs:
                if job.status == status:
                    cells = (status, job.name, values_of(job), outcome(job))
                    table.add_row(*(Text(cell) for cell in cells), style=COLORS[status])
        return Group(*lines, table)


def outcome(job: Job) -> str:
    """Return how a trial stands in one line: its score, why it has none, or how far it is."""
    if job.status == "done":
        return score_of(job)
    if job.status == "running":
        folds = ", ".join(f"{score:+.4f}" for score in job.folds)
        return f"{timedelta(seconds=round(job.seconds))}" + (f", folds {folds}" if folds else "")
    return job.reason.splitlines()[-1]


def score_of(job: Job) -> str:
    """Return the rank IC of a trial that is done with its interval, in words where there is none."""
    if not math.isfinite(job.score):
        return "no IC"
    low, high = job.interval
    return f"{job.score:+.4f}" + (f" [{low:+.4f}, {high:+.4f}]" if math.isfinite(low) else "")


def values_of(job: Job) -> str:
    """Return the values of a trial in words."""
    return ", ".join(f"{key} {value}" for key, value in job.point.items())


def trials_table(jobs: Sequence[Job]) -> str:
    """Return all trials, best first by their rank IC on valid dates, and below them why others have none."""
    done = [job for job in jobs if job.status == "done"]
    done.sort(key=lambda job: (not math.isfinite(job.score), -job.score, job.name))
    wide = max([7, *(len(score_of(job)) for job in done)])
    lines = [f"{score_of(job):>{wide}}  {job.name}  {values_of(job)}" for job in done]
    lines += [f"{job.status:>7}  {job.name}  {values_of(job)}" for job in jobs if job.status == "waiting"]
    for job in jobs:
        if job.status in ("failed", "refused", "stopped"):
            lines.append(f"{job.status:>7}  {job.name}  {values_of(job)}")
            lines += [f"         {line}" for line in job.reason.splitlines()]
    return "\n".join(lines)
