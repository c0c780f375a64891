"""The variables FACTORCAST_*: what a run may take of this machine. Hardware, not experiment: no result depends on them.

docs/pipeline.md has them in one table; `VARIABLES` is what it is held against.
"""

from __future__ import annotations

import os

from stages.running.stage import StageError

VARIABLES = {
    "FACTORCAST_DEBUG": "1: errors keep their traceback",
    "FACTORCAST_KERNEL_CACHE": "folder of compiled kernels, by default ~/.cache/factorcast/kernels",
    "FACTORCAST_LAUNCHER": "set by the launcher for its processes: who started them",
    "FACTORCAST_MEMORY_MB": "MiB of data that split and tokenize hold at a time, by default 1024",
    "FACTORCAST_PARALLEL_FOLDS": "folds trained at a time, each in a process of its own, by default 1",
    "FACTORCAST_PROCESSES": "processes that train one network, by default one per GPU, else 1",
    "FACTORCAST_TIMEOUT_MINUTES": "minutes without a step after which a process counts as hung, by default 30",
}
DEFAULT_MEMORY_MB = 1024


def memory_budget() -> int:
    """Bytes for the data that are worked on; the interpreter and its libraries come on top."""
    return whole_number("FACTORCAST_MEMORY_MB", DEFAULT_MEMORY_MB) * 2**20


def whole_number(variable: str, default: int) -> int:
    """A whole number >= 1 from the environment."""
    text = os.environ.get(variable, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise StageError(f"{variable} is {text!r}: must be a whole number >= 1")
    return int(text)


def timeout_minutes() -> float:
    """FACTORCAST_TIMEOUT_MINUTES: after how long without a step a process counts as hung."""
    text = os.environ.get("FACTORCAST_TIMEOUT_MINUTES", "30")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise StageError(f"FACTORCAST_TIMEOUT_MINUTES is {text!r}: must be a number > 0")
    return value
