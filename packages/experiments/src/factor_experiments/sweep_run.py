"""The trials of a sweep as ordinary DVC experiments: run in copies, some at a time, what is there is not run again."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from factor_experiments.git import EXPERIMENTS, Git
from factor_experiments.layout import LOCK, metrics_path, stage_of
from factor_experiments.lock import lock_outs
from factor_experiments.stored import Stored
from factor_experiments.sweeps import overrides

Status = Literal["waiting", "running", "done", "failed", "refused"]
SCORE = "valid_rank_ic"
LAST_LINES = 4
POLL = 0.2


@dataclass(kw_only=True)
class Job:
    """One trial of a sweep, and how far it is."""

    name: str
    """Name of its experiment."""
    point: Mapping[str, Any]
    """Keys and values that it sets."""
    status: Status = "waiting"
    reason: str = ""
    """Why it failed or was refused: the last lines of its log."""
    score: float = math.nan
    """Rank IC on valid dates; NaN until it is done, or where it is undefined."""
    seconds: float = 0.0


def experiments_here(git: Git) -> dict[str, str]:
    """Return name -> commit of the experiments of the commit that is checked out."""
    head = git.commit("HEAD")
    return {ref.split("/")[-1]: commit for commit, ref in git.refs(f"{EXPERIMENTS}/{head[:2]}/{head[2:]}/")}


def find_done(git: Git, stored: Stored, jobs: Sequence[Job], model: str, label: str | None) -> None:
    """Mark the jobs whose experiment is there as done, with their scores."""
    there = experiments_here(git)
    for job in jobs:
        if job.status != "refused" and job.name in there:
            job.status, job.reason = "done", ""
            job.score = valid_rank_ic(git, stored, there[job.name], model, label)


def valid_rank_ic(git: Git, stored: Stored, commit: str, model: str, label: str | None) -> float:
    """Return a model's rank IC on the valid dates of an experiment; NaN where it has none."""
    content = next(git.contents([f"{commit}:{LOCK}"]))
    outs = lock_outs((content or b"").decode(errors="replace"), (stage_of(model),), f"{LOCK} of {commit[:9]}")
    path = metrics_path(model)
    folder, _, file = path.rpartition("/")
    out = outs.get(path, outs.get(folder))
    found = None if out is None else stored.file(out, file)
    if found is None:
        return math.nan
    metrics = json.loads(found)
    scores = metrics.get(label if label is not None else next(iter(metrics)), {})
    value = scores.get(SCORE)
    return math.nan if value is None else float(value)


def run_jobs(
    root: Path,
    jobs: Sequence[Job],
    logs: Path,
    at_a_time: int,
    deadline: float | None,
    finished: Callable[[Job], None],
) -> None:
    """Run the jobs that wait, some at a time, until all have ended or the deadline (of `time.monotonic`) has passed.

    `finished` is called for each that has ended, as failed or, for now, as done. Ctrl-C stops those that run.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting = [job for job in jobs if job.status == "waiting"]
    running: dict[int, tuple[Job, subprocess.Popen[bytes], float]] = {}
    with _stopped_at_the_end(running):
        while waiting or running:
            late = deadline is not None and time.monotonic() > deadline
            while waiting and len(running) < at_a_time and not late:
                job = waiting.pop(0)
                process = _start(root, job, logs / f"{job.name}.log")
                running[process.pid] = (job, process, time.monotonic())
                job.status = "running"
            if late and not running:
                return
            for pid, (job, process, started) in list(running.items()):
                if process.poll() is not None:
                    del running[pid]
                    job.seconds = time.monotonic() - started
                    _end(job, process.returncode, logs / f"{job.name}.log")
                    finished(job)
            time.sleep(POLL)


def _start(root: Path, job: Job, log: Path) -> subprocess.Popen[bytes]:
    command = ["dvc", "exp", "run", "--temp", "--name", job.name, *overrides(job.point)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    with log.open("wb") as file:
        return subprocess.Popen(
            command, cwd=root, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


def _end(job: Job, code: int, log: Path) -> None:
    job.status = "done" if code == 0 else "failed"
    if code < 0:
        job.reason = f"killed by {signal.Signals(-code).name}"
    elif code > 0:
        with log.open(encoding="utf-8", errors="replace") as file:
            job.reason = "\n".join(_telling(file)) or f"exit status {code}, and no word"


def _telling(file: IO[str]) -> list[str]:
    """Return the lines of a log that say why it ended: those with an error, else the last ones."""
    lines = [line.strip() for line in file if line.strip()]
    errors = [line for line in lines if "error" in line.lower() and not line.startswith("ERROR: failed to reproduce")]
    return (errors or lines)[-LAST_LINES:]


@contextmanager
def _stopped_at_the_end(running: Mapping[int, tuple[Job, subprocess.Popen[bytes], float]]) -> Iterator[None]:
    """Stop what still runs when the block is left by an error or Ctrl-C, with all processes that it has started."""
    try:
        yield
    finally:
        for _, process, _ in running.values():
            os.killpg(process.pid, signal.SIGTERM)
        for _, process, _ in running.values():
            process.wait()


def best_of(jobs: Sequence[Job]) -> Job | None:
    """Return the job with the highest score; None where none has one."""
    scored = [job for job in jobs if math.isfinite(job.score)]
    return max(scored, key=lambda job: (job.score, job.name), default=None)
