"""Training runs that are killed at random moments and started again until they end; used by a test and by a soak."""

from __future__ import annotations

import hashlib
import math
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from checkout import Checkout, make_checkout
from warm import path_of_programs

VICTIMS = ("rank", "launcher", "dvc")
ORPHAN_SECONDS = 90.0
NUM_STEPS = 30  # of a run, about: moments are drawn over them


@dataclass
class Tally:
    """What was killed when, and whether all came out well."""

    kills: list[tuple[str, str]] = field(default_factory=list)
    """(victim, moment)."""
    attempts: int = 0
    finished: int = 0
    different: int = 0
    orphans: int = 0
    resumed: int = 0
    """Attempts that found a checkpoint."""


def prepare(path: Path, cold: bool = False) -> Checkout:
    """A copy with features, whose network trains for some dozens of steps and saves after each."""
    checkout = make_checkout(path, cold)

    def change(params: dict) -> None:
        params["models"] = ["lstm"]
        params["split"]["folds"] |= {"train": 180, "step": 80}  # one fold
        params["train"] |= {"epochs": 2, "patience": 2, "batch_dates": 10}
        params["train"]["live_ic"] = {"every_steps": None, "every_minutes": None}
        params["train"]["checkpoint"] = {"every_steps": 1}
        params["zoo"]["lstm"]["dropout"] = 0.2  # generators count too

    checkout.change_params(change)
    checkout.commit("a network alone")
    checkout.run("dvc", "repro", "tokenize", "inputs")
    return checkout


def command_for(victim: str) -> list[str]:
    if victim == "dvc":
        return ["dvc", "repro", "--single-item", "--force", "train@lstm"]
    return ["python", "-m", "stages.train", "lstm"]


def start(checkout: Checkout, victim: str, processes: int) -> subprocess.Popen:
    path = path_of_programs(cold=checkout.cold or victim == "dvc")  # a stage looks for DVC among its parents
    environment = {**os.environ, "PATH": path, "FACTORCAST_PROCESSES": str(processes), "OMP_NUM_THREADS": "1"}
    with (checkout.path / "attempt.log").open("ab") as log:
        return subprocess.Popen(
            command_for(victim),
            cwd=checkout.path,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def trainers(checkout: Checkout) -> list[psutil.Process]:
    """Every living process that trains in this copy, whoever started it."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        if process.info["cwd"] == str(checkout.path) and "stages.train" in command:
            found.append(process)
    return found


def choose(checkout: Checkout, victim: str, root: subprocess.Popen, draw: random.Random) -> int:
    """The process to kill: what was started, or one of its ranks, if there are some yet."""
    if victim in ("dvc", "launcher"):
        return root.pid
    ranks = [process.pid for process in trainers(checkout) if process.pid != root.pid]
    return draw.choice(sorted(ranks)) if ranks else root.pid


@dataclass(frozen=True)
class Moment:
    """When an attempt is killed: so many seconds after its start, or when a checkpoint of this step or later is there.

    The first also falls into start-up and the end; the second makes sure that there is something to go on from,
    however slow the machine is.
    """

    seconds: float
    step: int | None = None

    @classmethod
    def draw(cls, draw: random.Random, run_seconds: float, by_step: bool) -> Moment:
        return cls(draw.uniform(0.05, 1.1) * run_seconds, draw.randint(1, NUM_STEPS - 1) if by_step else None)

    def has_come(self, checkout: Checkout, started: float) -> bool:
        if self.step is not None:
            return newest_step(checkout) >= self.step
        return time.monotonic() - started >= self.seconds

    def __str__(self) -> str:
        return f"after {self.seconds:.1f} s" if self.step is None else f"from step {self.step} on"


def newest_step(checkout: Checkout) -> int:
    """Step of the newest checkpoint; 0 without one, also where a run that ends takes its folder away meanwhile."""
    try:
        names = [path.name for path in (checkout.path / ".checkpoints").glob("*/step_*")]
    except FileNotFoundError:
        return 0
    return max((int(name.removeprefix("step_").split(".")[0]) for name in names), default=0)


def attempt(checkout: Checkout, victim: str, moment: Moment, draw: random.Random, tally: Tally, processes: int) -> bool:
    """Start, kill one process when the moment has come, wait until nothing of it is left. True: it ended before."""
    tally.attempts += 1
    tally.resumed += newest_step(checkout) > 0
    root, started = start(checkout, victim, processes), time.monotonic()
    while root.poll() is None and not moment.has_come(checkout, started):
        time.sleep(0.02)
    if root.poll() is None:
        os.kill(choose(checkout, victim, root, draw), signal.SIGKILL)
        tally.kills.append((victim, str(moment)))
        root.wait(ORPHAN_SECONDS + 60)
        deadline = time.monotonic() + ORPHAN_SECONDS
        while trainers(checkout) and time.monotonic() < deadline:
            time.sleep(0.1)
        left = trainers(checkout)
        tally.orphans += len(left)
        for process in left:
            process.kill()
        return False
    if root.returncode:
        raise AssertionError(f"an attempt that was not killed failed:\n{log_of(checkout)}")
    return True


def log_of(checkout: Checkout) -> str:
    return (checkout.path / "attempt.log").read_text(errors="replace")[-3000:]


def results_of(checkout: Checkout) -> dict[str, str]:
    """Hash of every file that the run left as its result."""
    folder = checkout.path / "results" / "train" / "lstm"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def uninterrupted(checkout: Checkout, processes: int) -> tuple[dict[str, str], float]:
    """Results of a run that nobody disturbs, and the seconds it took."""
    began = time.monotonic()
    root = start(checkout, "launcher", processes)
    assert root.wait(600) == 0, log_of(checkout)
    return results_of(checkout), time.monotonic() - began


def kill_runs(
    checkout: Checkout,
    num_kills: int,
    seed: int,
    processes: int = 2,
    told: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Kill `num_kills` times, over runs that are each started again until they have ended.

    Every second moment is one of the clock, the others wait for a checkpoint.
    """
    expected, seconds = uninterrupted(checkout, processes)
    draw, tally = random.Random(seed), Tally()
    while len(tally.kills) < num_kills:
        victim = VICTIMS[len(tally.kills) % len(VICTIMS)]
        moment = Moment.draw(draw, seconds, by_step=len(tally.kills) % 2 == 0)
        if attempt(checkout, victim, moment, draw, tally, processes):
            note_end(checkout, expected, tally)
        told(tally)
    while not attempt(checkout, "launcher", Moment(math.inf), draw, tally, processes):
        pass
    note_end(checkout, expected, tally)
    return tally


def note_end(checkout: Checkout, expected: dict[str, str], tally: Tally) -> None:
    tally.finished += 1
    tally.different += results_of(checkout) != expected
