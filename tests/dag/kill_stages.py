"""Every stage through DVC, make use-data and an import: killed at a random moment, run again; used by test and soak.

SIGKILL goes in turn to what was started (DVC, the command) and to a process below it. Afterwards nothing of it may be
alive, and the same command must end well, with the `dvc.lock`, `data.dvc` or folder of the undisturbed run.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from checkout import Checkout, make_checkout
from layout_samples import long_frame

ORPHAN_SECONDS = 60.0
STAGES = (
    "plan",
    "split",
    "tokenize",
    "tokenize_kline",
    "inputs",
    "train@linear",
    "train@lstm",
    "evaluate@linear",
    "stack",
    "report@linear",
    "report_stack",
)
USE_DATA, IMPORT = "use-data", "import"


@dataclass
class StageTally:
    """What was killed, and whether all came out well."""

    kills: Counter[str] = field(default_factory=Counter)
    """By stage or command."""
    late: int = 0
    """Kills whose moment came after the end."""
    orphans: int = 0
    lost: list[str] = field(default_factory=list)
    """Commands that did not end well when run again, or left another result."""


@dataclass(frozen=True)
class Target:
    """A command, what tells whether its result is that of the undisturbed run, and how long that took."""

    name: str
    checkout: Checkout
    command: tuple[str, ...]
    result: Callable[[], str]
    prepare: Callable[[], object]
    expected: str
    seconds: float


def prepare_targets(folder: Path) -> list[Target]:
    """A copy in which the whole DAG has run, and one for other data; each command undisturbed once."""
    runs = make_checkout(folder / "runs")
    runs.change_params(lambda params: params.update(models=["linear", "lstm"]))
    runs.commit("two models")
    runs.run("dvc", "repro")
    own = folder / "own"
    own.mkdir()
    long_frame().to_parquet(own / "bars.parquet")
    data = make_checkout(folder / "data")
    lock, pointer, imported = runs.path / "dvc.lock", data.path / "data.dvc", data.path / "imported"
    start_over = data.path / ".."  # where nothing is to be made ready
    targets = [
        measure(name, runs, ("dvc", "repro", "--single-item", "--force", name), lambda: digest(lock), start_over.exists)
        for name in STAGES
    ]
    command = (sys.executable, "-m", "stages.commands.use_data", str(own))
    reset = ("git", "checkout", "--quiet", "data.dvc", "simulated")
    targets.append(measure(USE_DATA, data, command, lambda: digest(pointer), lambda: data.run(*reset)))
    command = (sys.executable, "-m", "factor_data", "import", str(own), str(imported))
    remove = lambda: shutil.rmtree(imported, ignore_errors=True)  # noqa: E731 -- beside the others
    targets.append(measure(IMPORT, data, command, lambda: digest_of_import(imported), remove))
    return targets


def measure(
    name: str,
    checkout: Checkout,
    command: tuple[str, ...],
    result: Callable[[], str],
    prepare: Callable[[], object],
) -> Target:
    """The command run once, undisturbed."""
    prepare()
    began = time.monotonic()
    checkout.run(*command)
    return Target(name, checkout, command, result, prepare, result(), time.monotonic() - began)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"


def digest_of_import(folder: Path) -> str:
    """Return the hashes of all files of the import, and the names of what lies beside it that is not its."""
    beside = sorted(path.name for path in folder.parent.glob(f".{folder.name}.*"))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return " ".join([*beside, *(f"{path.relative_to(folder)}={digest(path)}" for path in files)])


def kill_stages(
    targets: list[Target], num_kills: int, seed: int, told: Callable[[StageTally], None] = lambda tally: None
) -> StageTally:
    """Kill `num_kills` times, the targets in turn, and run each again."""
    draw, tally, number = random.Random(seed), StageTally(), 0
    while tally.kills.total() < num_kills:
        target = targets[number % len(targets)]
        kill_once(target, below=number // len(targets) % 2 == 1, draw=draw, tally=tally)
        number += 1
        told(tally)
    return tally


def kill_once(target: Target, below: bool, draw: random.Random, tally: StageTally) -> None:
    """Start, kill at a moment of the undisturbed run's length, look for orphans, run again."""
    target.prepare()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    root = subprocess.Popen(
        target.command,
        cwd=target.checkout.path,
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        root.wait(draw.uniform(0.1, 1.0) * target.seconds)
        tally.late += 1
    except subprocess.TimeoutExpired:
        under = psutil.Process(root.pid).children(recursive=True) if below else []
        os.kill(draw.choice(sorted(one.pid for one in under)) if under else root.pid, signal.SIGKILL)
        tally.kills[target.name] += 1
        root.wait(ORPHAN_SECONDS + 60)
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (left := living(target.checkout)) and time.monotonic() < deadline:
        time.sleep(0.1)
    tally.orphans += len(left)
    for process in left:
        process.kill()
    again = target.checkout.run(*command_again(target), check=False)
    if again.returncode or target.result() != target.expected:
        tally.lost.append(f"{target.name}: {again.returncode} {again.stderr[-300:]}")


def command_again(target: Target) -> tuple[str, ...]:
    """The same command; an import that had ended before its kill has its folder, which another one must not have."""
    if target.name == IMPORT:
        target.prepare()
    return target.command


def living(checkout: Checkout) -> list[psutil.Process]:
    """Every process at work in a copy, whoever started it; DVC's own helpers are none."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        command = process.info["cmdline"] or []
        works = any(part.startswith(("stages.", "factor_data")) for part in command)
        if process.info["cwd"] == str(checkout.path) and works and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
