"""During a training: whether it moves, what its losses are, and whether the device works."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from factor_metrics.system import gpu_figures
from stages.commands.checks.asked import Asked, NotYet
from stages.running.environment import timeout_minutes
from stages.running.files import LOCKS, RESULTS
from stages.running.lock import holder, is_held
from stages.running.stage import StageError

LIVE = Path(".live")
LEAST_GPU_PERCENT = 80.0


def under_way() -> list[Path]:
    """Locks that a process holds: one for each stage that runs."""
    return [path for path in sorted(LOCKS.glob("*")) if path.is_file() and is_held(path)]


def running(asked: Asked) -> str:
    """Stages that a process is at."""
    held = under_way()
    if not held:
        raise NotYet("no stage is running")
    return ", ".join(f"{path.name} ({holder(path)})" for path in held)


def moves(asked: Asked) -> str:
    """Age of the last line of the logs of trainings under way."""
    names = [path.name.partition("train.")[2] for path in under_way() if path.name.startswith("train.")]
    logs = {name: LIVE / name / "train.log" for name in names if (LIVE / name / "train.log").is_file()}
    if not logs:
        raise NotYet("no model is being trained")
    minutes = {name: (time.time() - path.stat().st_mtime) / 60 for name, path in logs.items()}
    for name, age in minutes.items():
        if age > timeout_minutes():
            raise StageError(f"{logs[name]}: nothing was said for {age:.0f} minutes (FACTORCAST_TIMEOUT_MINUTES)")
    return ", ".join(f"{name}: last line {60 * age:.0f} s ago" for name, age in minutes.items())


def losses_so_far(asked: Asked) -> str:
    """The curves of trainings under way."""
    return held_against(curves(RESULTS / "train", ".*.partial/live"), "is being trained")


def curves(folder: Path, pattern: str) -> Iterator[tuple[Path, pd.DataFrame]]:
    """Yield (file, steps and values) of every curve of a loss or its terms."""
    for live in sorted(folder.glob(pattern)):
        for path in sorted((live / "plots" / "metrics").rglob("*.tsv")):
            if path.stem not in ("score", "lr"):
                yield path, pd.read_csv(path, sep="\t")


def held_against(found: Iterator[tuple[Path, pd.DataFrame]], what: str) -> str:
    """Refuse the first value of curves that is not finite; else say how many there are."""
    num_values = 0
    for path, frame in found:
        values = pd.to_numeric(frame.iloc[:, -1], errors="coerce")
        if bad := [int(step) for step, value in zip(frame["step"], values, strict=True) if not math.isfinite(value)]:
            raise StageError(f"{path}: the loss of epoch {bad[0]} is not finite")
        num_values += len(values)
    if not num_values:
        raise NotYet(f"no network {what}")
    return f"{num_values} values of losses and their terms are finite"


def gpu(asked: Asked) -> str:
    """Utilisation of each GPU while a model is trained."""
    gpus, note = gpu_figures()
    if gpus is None:
        raise NotYet(str(note), never=True)
    if not any(path.name.startswith("train.") for path in under_way()):
        raise NotYet("no model is being trained")
    idle = [one for one in gpus if one["percent"] is not None and one["percent"] < LEAST_GPU_PERCENT]
    if len(idle) == len(gpus):
        raise StageError(
            f"every GPU is used by less than {LEAST_GPU_PERCENT:.0f}%: larger batches (batch_dates) or "
            "FACTORCAST_PARALLEL_FOLDS keep it busy"
        )
    return ", ".join(f"{one['index']}: {one['percent']}%" for one in gpus)


CHECKS: dict[str, Callable[[Asked], str]] = {
    "a stage runs": running,
    "it moves": moves,
    "losses so far": losses_so_far,
    "GPU is used": gpu,
}
