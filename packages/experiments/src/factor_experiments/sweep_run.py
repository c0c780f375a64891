"""The trials of a sweep as ordinary DVC experiments: run in copies, some at a time, what is there is not run again."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
import psutil

from factor_experiments.git import EXPERIMENTS, Git
from factor_experiments.layout import (
    LOCK,
    fold_metadata,
    judged_path,
    metrics_path,
    stage_of,
    training_path,
    training_pattern,
    training_stage,
)
from factor_experiments.lock import lock_outs, out_of
from factor_experiments.stored import Stored
from factor_experiments.sweep_devices import VISIBLE, shares
from factor_experiments.sweeps import overrides
from factor_experiments.writing import write_text
from factor_metrics import bootstrap_interval
from factor_metrics.json_document import parse_document

if TYPE_CHECKING:
    from factor_experiments.sweep_choice import Choice

Status = Literal["waiting", "running", "done", "failed", "refused", "stopped"]
SCORE = "valid_rank_ic"
LAST_LINES = 4
POLL = 0.2
LOOK = 1.0
"""Seconds between two looks at the folds of a trial."""
PATIENCE = 20.0
"""Seconds that a trial has to end when it is asked to."""
STANDALONE = Path(".dvc", "tmp", "exps", "standalone")
"""Where DVC puts the copies that experiments run in."""
RECORD = "trials.json"
DVC_SUMMARY = "ERROR: failed to reproduce"
EXITED = re.compile(r"failed to run: (.+), exited with (-?\d+)$")
"""What DVC says of a stage whose command has failed."""


@dataclass(kw_only=True)
class Job:
    """One trial of a sweep, and how far it is."""

    name: str
    """Name of its experiment."""
    point: Mapping[str, Any]
    """Keys and values that it sets."""
    status: Status = "waiting"
    """stopped: early, since the scores of its first folds were below those of the others."""
    reason: str = ""
    """Why it failed, was refused or stopped: of a failed one the last lines of its log."""
    score: float = math.nan
    """Rank IC on valid dates; NaN until it is done, or where it is undefined."""
    interval: tuple[float, float] = (math.nan, math.nan)
    """95 % block-bootstrap interval of that score; NaN where it is not known."""
    seconds: float = 0.0
    """Since it was started, or as long as it took."""
    cpu_seconds: float = 0.0
    """CPU seconds of all its processes; 0 where it is not known."""
    folds: list[float] = field(default_factory=list)
    """Rank IC on the valid dates of each fold that was finished, of the label that decides, else mean over labels."""


def experiments_here(git: Git) -> dict[str, str]:
    """Return name -> commit of the experiments of the commit that is checked out."""
    head = git.commit("HEAD")
    return {ref.split("/")[-1]: commit for commit, ref in git.refs(f"{EXPERIMENTS}/{head[:2]}/{head[2:]}/")}


def find_ended(git: Git, stored: Stored, job: Job, model: str, label: str | None) -> None:
    """Take in what a job that has ended has left: done is what has left an experiment, and nothing else."""
    if job.status == "done":
        job.status, job.reason = "failed", "DVC has ended without an experiment of it: its log says what happened"
    find_done(git, stored, [job], model, label)


def find_done(git: Git, stored: Stored, jobs: Sequence[Job], model: str, label: str | None) -> None:
    """Mark the jobs whose experiment is there as done, with their scores."""
    there = experiments_here(git)
    found = [job for job in jobs if job.status != "refused" and job.name in there]
    locks = git.contents([f"{there[job.name]}:{LOCK}" for job in found])
    for job, lock in zip(found, locks, strict=True):
        where = f"{LOCK} of {there[job.name][:9]}"
        stages = (stage_of(model), training_stage(model))
        outs = lock_outs((lock or b"").decode(errors="replace"), stages, where)
        job.status, job.reason = "done", ""
        job.score = valid_rank_ic(stored, outs, model, label)
        job.interval = valid_interval(stored, outs, model, label)
        job.folds = stored_fold_scores(stored, outs, model, label) or job.folds


def valid_rank_ic(stored: Stored, outs: Mapping[str, str], model: str, label: str | None) -> float:
    """Return a model's rank IC on valid dates by the outputs of an experiment; NaN where it has none."""
    found = _file(stored, outs, metrics_path(model))
    if found is None:
        return math.nan
    metrics = parse_document(found, metrics_path(model))
    scores = metrics.get(label if label is not None else next(iter(metrics)), {})
    value = scores.get(SCORE)
    return math.nan if value is None else float(value)


def valid_interval(stored: Stored, outs: Mapping[str, str], model: str, label: str | None) -> tuple[float, float]:
    """Return the interval of that rank IC: fold by fold one after another, in blocks of dates; NaN where not known."""
    found = _file(stored, outs, judged_path(model))
    if found is None:
        return math.nan, math.nan
    page = parse_document(found, judged_path(model))
    chosen = label if label is not None else next(iter(page["valid"]))
    overlap = next((one["overlap"] for one in page["subjects"] if one["label"] == chosen), 1)
    values = np.array(page["valid"].get(chosen, []), dtype=np.float64).ravel()
    return bootstrap_interval(values[np.isfinite(values)], overlap)


def _file(stored: Stored, outs: Mapping[str, str], path: str) -> bytes | None:
    """Return a file of the outputs; None where none of them has it, or neither cache nor remote."""
    out = out_of(outs, path)
    return None if out is None else stored.file(out, path.rpartition("/")[2])


class Record:
    """What is known of trials that ended beside their experiments, in a file of the sweep's logs.

    A trial is named by its values alone, so what is known of it counts at the commit that it was started from.
    """

    KEPT = ("status", "reason", "seconds", "cpu_seconds", "folds")

    def __init__(self, logs: Path, commit: str) -> None:
        self.file, self.commit = logs / RECORD, commit
        self.known: dict[str, dict[str, Any]] = {}
        if self.file.is_file():
            try:
                self.known = json.loads(self.file.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{self.file}: is not JSON ({error}): delete it") from None
            if not isinstance(self.known, dict) or not all(map(_is_of_a_trial, self.known.values())):
                raise ValueError(f"{self.file}: is not what a sweep writes: delete it")

    def restore(self, job: Job) -> None:
        """Take in how a trial was before: folds and seconds of one that is done, and whether it was stopped early."""
        known = self.known.get(job.name, {})
        if known.get("commit") != self.commit:
            return
        if job.status == "done" or (job.status == "waiting" and known.get("status") == "stopped"):
            for key in self.KEPT if job.status == "waiting" else self.KEPT[2:]:
                setattr(job, key, known.get(key) or getattr(job, key))

    @property
    def points(self) -> list[dict[str, Any]]:
        """What was tried at this commit, in the order in which it first ended."""
        return [known["point"] for known in self.known.values() if known.get("commit") == self.commit]

    def keep(self, job: Job) -> None:
        """Write down a trial that has ended."""
        self.known[job.name] = {
            **{key: getattr(job, key) for key in self.KEPT},
            "point": dict(job.point),
            "commit": self.commit,
        }
        write_text(self.file, json.dumps(self.known, indent=1) + "\n")


def _is_of_a_trial(known: Any) -> bool:
    """Return whether this is what `Record.keep` writes, as far as it is read."""
    if not isinstance(known, dict):
        return False
    folds = known.get("folds", [])
    numbers = [known.get("seconds", 0), known.get("cpu_seconds", 0), *(folds if isinstance(folds, list) else [None])]
    texts = known.get("status", ""), known.get("reason", "")
    return all(isinstance(one, str) for one in texts) and all(isinstance(one, int | float) for one in numbers)


@dataclass(kw_only=True, eq=False)
class _Running:
    """A trial that runs."""

    job: Job
    process: subprocess.Popen[bytes]
    log: Path
    started: float
    devices: tuple[str, ...]
    """GPUs that it sees."""
    folder: Path | None = None
    looked: float = 0.0
    has_trained: bool = False
    cpu_seconds: float = 0.0
    """CPU seconds of its processes when last looked at: a killed one's never reach its parent."""

    def look(self, root: Path, model: str, label: str | None) -> None:
        """Find the copy that it runs in, below `root`, and read the scores of the folds that are finished."""
        if time.monotonic() - self.looked < LOOK:
            return
        self.looked = time.monotonic()
        self.job.seconds = self.looked - self.started
        processes = _descendants(self.process.pid)
        self.cpu_seconds = max(self.cpu_seconds, sum(_cpu(one) for one in processes))
        self.folder = self.folder or _folder_of(processes, root)
        if self.folder is not None:
            self.has_trained = self.has_trained or _judges(self.log, model)
            self.job.folds = fold_scores(self.folder, model, label, self.has_trained) or self.job.folds

    def stop(self, reason: str) -> None:
        """Ask it to end, as Ctrl-C does: DVC then takes its copy away. Else it is killed, and its copy goes too."""
        self.job.status, self.job.reason = "stopped", reason
        self.cpu_seconds = max(self.cpu_seconds, sum(_cpu(one) for one in _descendants(self.process.pid)))
        _interrupt([self.process])
        if self.folder is not None:
            _take_away(self.folder)

    def end(self) -> bool:
        """Return whether it has ended, then with its status, reason and seconds."""
        if self.process.returncode is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if not pid:
                return False
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_seconds = max(self.cpu_seconds, usage.ru_utime + usage.ru_stime)
        self.job.seconds = time.monotonic() - self.started
        self.job.cpu_seconds = round(self.cpu_seconds, 2)
        if self.job.status == "running":
            _end(self.job, self.process.returncode, self.log)
        return True


def run_jobs(
    root: Path,
    choice: Choice,
    logs: Path,
    at_a_time: int,
    deadline: float | None,
    finished: Callable[[Job], None],
    model: str = "",
    label: str | None = None,
    devices: Sequence[str] = (),
) -> None:
    """Run trials as they are chosen, some at a time, until all have ended or the deadline has passed.

    `deadline` is a time of `time.monotonic`. `finished` is called for each that has ended, as failed, stopped early or,
    for now, as done; then the choice takes it in. The folds of `model` at `label` decide which is stopped. `devices`
    are the GPUs that the trials share. Ctrl-C stops those that run.

    One is started when the one before has its copy: DVC runs whatever was put into its stash last.
    """
    root = root.resolve()
    logs.mkdir(parents=True, exist_ok=True)
    running: list[_Running] = []
    free = shares(devices, at_a_time)
    with _stopped_at_the_end(running):
        while True:
            late = deadline is not None and time.monotonic() > deadline
            starting = any(one.folder is None for one in running)
            if free and not late and not starting and (job := choice.next()) is not None:
                running.append(_start(root, job, logs / f"{job.name}.log", free.pop(0)))
            if not running:
                return
            for one in list(running):
                if one.end():
                    running.remove(one)
                    free.append(one.devices)
                    finished(one.job)
                    choice.ended(one.job)
                elif one.job.status == "running":
                    one.look(root, model, label)
                    if choice.stops(one.job):
                        said = ", ".join(f"{score:+.4f}" for score in one.job.folds)
                        one.stop(f"below the median of the others after {len(one.job.folds)} folds ({said})")
            time.sleep(POLL)


def fold_scores(folder: Path, model: str, label: str | None, has_trained: bool = False) -> list[float]:
    """Return the rank IC on valid dates of each fold that a training in `folder` has finished, in order.

    Of `label`, without one the mean over labels. Those that are undefined are left out. Until it `has_trained`, what
    stands in the place of its result is that of the commit.
    """
    found = {}
    where = training_path(model) if has_trained else training_pattern(model)
    for file in folder.glob(f"{where}/{fold_metadata('*')}"):
        with suppress(OSError):  # the training has ended just now, and its folder has another name
            found[file.parent.name] = _fold_score(file.read_bytes(), label)
    return [found[name] for name in sorted(found) if math.isfinite(found[name])]


def stored_fold_scores(stored: Stored, outs: Mapping[str, str], model: str, label: str | None) -> list[float]:
    """Return what `fold_scores` does of a training that has ended, by the outputs of an experiment."""
    out = outs.get(training_path(model))
    files = () if out is None else takewhile(bool, (stored.file(out, fold_metadata(f"{fold:02d}")) for fold in count()))
    scores = [_fold_score(file, label) for file in files if file is not None]
    return [score for score in scores if math.isfinite(score)]


def _fold_score(metadata: bytes, label: str | None) -> float:
    scores = parse_document(metadata, "metadata.json of a training")[SCORE]
    values = list(scores.values()) if label is None else [scores.get(label)]
    return math.nan if None in values else float(np.mean(values))


def _judges(log: Path, model: str) -> bool:
    """Return whether DVC has come as far as to judge a model, by what it has printed: then its training has ended."""
    return f"Running stage '{stage_of(model)}'" in log.read_text(encoding="utf-8", errors="replace")


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _cpu(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and of its children that have ended; 0 of one that is gone."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _folder_of(processes: Sequence[psutil.Process], root: Path) -> Path | None:
    """Return the copy that an experiment runs in: the folder below `root` where DVC, or what it has started, works."""
    for process in processes:
        try:
            folder = Path(process.cwd())
        except psutil.Error:
            continue
        if folder != root and folder.is_relative_to(root):
            return folder
    return None


def _take_away(folder: Path) -> None:
    """Delete the copy that `folder` is or lies in, where DVC was killed before it had."""
    for copy in (folder, *folder.parents):
        if copy.parts[-5:-1] == STANDALONE.parts:
            shutil.rmtree(copy, ignore_errors=True)  # what is left then is DVC's own to find
            return


def _start(root: Path, job: Job, log: Path, devices: tuple[str, ...]) -> _Running:
    command = ["dvc", "--wait-for-lock", "exp", "run", "--temp", "--name", job.name, *overrides(job.point)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    if devices:
        environment[VISIBLE] = ",".join(devices)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    job.status = "running"
    return _Running(job=job, process=process, log=log, started=time.monotonic(), devices=devices)


def _end(job: Job, code: int, log: Path) -> None:
    job.status = "done" if code == 0 else "failed"
    if code < 0:
        job.reason = f"killed by {signal.Signals(-code).name}"
    elif code > 0:
        with log.open(encoding="utf-8", errors="replace") as file:
            job.reason = "\n".join(_telling(file)) or f"exit status {code}, and no word"


def _signal(status: int) -> str | None:
    """Return the signal that an exit status tells of: DVC's shell replaces itself by the command, or adds 128."""
    number = -status if status < 0 else status - 128
    return signal.Signals(number).name if number in set(signal.Signals) else None


def _telling(file: IO[str]) -> list[str]:
    """Return the lines of a log that say why it ended: those with an error or of a kill, else the last ones."""
    lines = [line.strip() for line in file if line.strip()]
    summary = [line for line in lines if line.startswith(DVC_SUMMARY)]
    errors = [line for line in lines if "error" in line.lower() and line not in summary]
    if not errors and summary and (exited := EXITED.search(summary[-1])) and (name := _signal(int(exited[2]))):
        return [f"{exited[1]} was killed by {name}"]
    return (errors or lines)[-LAST_LINES:]


def _interrupt(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask processes and all that they have started to end as Ctrl-C does; kill what does not in time."""
    waiting = [process for process in processes if process.returncode is None]
    for sign, seconds in ((signal.SIGINT, PATIENCE), (signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
        for process in waiting:
            os.killpg(process.pid, sign)
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            waiting = [process for process in waiting if process.poll() is None]
            time.sleep(POLL / 4)
        if not waiting:
            return


@contextmanager
def _stopped_at_the_end(running: Sequence[_Running]) -> Iterator[None]:
    """Stop what still runs when the block is left by an error or Ctrl-C, with all processes that it has started."""
    try:
        yield
    finally:
        _interrupt([one.process for one in running])


def best_of(jobs: Sequence[Job]) -> Job | None:
    """Return the job with the highest score; None where none has one."""
    scored = [job for job in jobs if math.isfinite(job.score)]
    return max(scored, key=lambda job: (job.score, job.name), default=None)
