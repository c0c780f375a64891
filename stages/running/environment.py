"""The variables FACTORCAST_*: what a run may take of this machine. Hardware, not experiment: no result depends on them.

docs/pipeline.md has them in one table; `VARIABLES` is what it is held against.
"""

from __future__ import annotations

import os
import re

from stages.running.stage import StageError

VARIABLES = {
    "FACTORCAST_CLUSTER": "Dask workers for split and tokenize: local:4, or tcp://host:8786 of a scheduler",
    "FACTORCAST_DEBUG": "1: errors keep their traceback",
    "FACTORCAST_KERNEL_CACHE": "folder of compiled kernels, by default ~/.cache/factorcast/kernels",
    "FACTORCAST_LAUNCHER": "set by the launcher for its processes: who started them",
    "FACTORCAST_MEMORY_ALARMS": "percent of memory in use at which a training gives back and saves, by default 95,98",
    "FACTORCAST_MEMORY_MB": "MiB of data that split and tokenize hold at a time, by default 1024",
    "FACTORCAST_PARALLEL_FOLDS": "folds trained at a time, each in a process of its own, by default 1",
    "FACTORCAST_PREFETCH_MB": "MiB of batches that a training makes ahead, by default 64; 0: none",
    "FACTORCAST_PROCESSES": "processes that train one network, by default one per GPU, else 1",
    "FACTORCAST_TIMEOUT_MINUTES": "minutes without a step after which a process counts as hung, by default 30",
}
DEFAULT_MEMORY_MB = 1024
DEFAULT_PREFETCH_MB = 64
DEFAULT_ALARMS = "95,98"
MOST = {
    "FACTORCAST_MEMORY_MB": 2**30,
    "FACTORCAST_PREFETCH_MB": 2**30,
    "FACTORCAST_PARALLEL_FOLDS": 4096,
    "FACTORCAST_PROCESSES": 4096,
}
"""Beyond are slips of the hand: a pebibyte, more processes than a cluster has."""
MOST_MINUTES = 525_600


def memory_budget() -> int:
    """Bytes for the data that are worked on; the interpreter and its libraries come on top."""
    return whole_number("FACTORCAST_MEMORY_MB", DEFAULT_MEMORY_MB) * 2**20


def cluster() -> str | None:
    """Where a Dask cluster is; None: this process does the work."""
    address = os.environ.get("FACTORCAST_CLUSTER") or None
    if address is None or re.fullmatch(r"local:[1-9]\d{0,3}", address):
        return address
    found = re.fullmatch(r"(?:tcp|tls)://(?:[\w.-]+|\[[\da-fA-F:.]+\]):(\d{1,5})", address, re.ASCII)
    if found is not None and 0 < int(found[1]) < 2**16:
        return address
    raise StageError(
        f"FACTORCAST_CLUSTER is {shown(address)}: must be local: and a number of processes, as local:4, or the address "
        f"of a scheduler, as tcp://host:8786"
    )


def prefetch_budget() -> int:
    """Bytes of batches that are made ahead; 0: none are."""
    if os.environ.get("FACTORCAST_PREFETCH_MB") == "0":
        return 0
    return whole_number("FACTORCAST_PREFETCH_MB", DEFAULT_PREFETCH_MB) * 2**20


def memory_alarms() -> tuple[float, float]:
    """Shares of memory in use at which a training acts: first mildly, then thoroughly."""
    text = os.environ.get("FACTORCAST_MEMORY_ALARMS", DEFAULT_ALARMS)
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        first = second = -1.0
    if not 0 < first < second <= 100:
        raise StageError(
            f"FACTORCAST_MEMORY_ALARMS is {shown(text)}: must be two rising numbers of percent, as {DEFAULT_ALARMS}"
        )
    return first / 100, second / 100


def whole_number(variable: str, default: int) -> int:
    """A whole number >= 1 from the environment."""
    text = os.environ.get(variable, str(default))
    if not text.isdecimal() or not text.isascii() or int(text[:20]) < 1:
        raise StageError(f"{variable} is {shown(text)}: must be a whole number >= 1")
    most = MOST[variable]
    if len(text) > 20 or int(text) > most:
        raise StageError(f"{variable} is {shown(text)}: must be at most {most:,}")
    return int(text)


def shown(text: str) -> str:
    """Return a value for a message, whatever stands in it."""
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def check_launcher() -> None:
    """StageError unless the variables of a launcher of several machines are all there, and make sense."""
    if "RANK" not in os.environ:
        return
    for variable in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        if variable not in os.environ:
            raise StageError(
                f"RANK is set and {variable} is not: a launcher sets both (docs/training.md); else unset RANK"
            )
    bounds = {"WORLD_SIZE": (1, 2**20), "MASTER_PORT": (1, 2**16 - 1), "LOCAL_RANK": (0, 4096)}
    bounds["RANK"] = (0, number_between("WORLD_SIZE", *bounds["WORLD_SIZE"]) - 1)
    for variable, (least, most) in bounds.items():
        if variable in os.environ:
            number_between(variable, least, most)


def number_between(variable: str, least: int, most: int) -> int:
    """A whole number that a launcher has set."""
    text = os.environ[variable]
    if not (text.isdecimal() and text.isascii() and len(text) < 20 and least <= int(text) <= most):
        raise StageError(f"{variable} is {shown(text)}: must be a whole number from {least} to {most}")
    return int(text)


def timeout_minutes() -> float:
    """FACTORCAST_TIMEOUT_MINUTES: after how long without a step a process counts as hung."""
    text = os.environ.get("FACTORCAST_TIMEOUT_MINUTES", "30")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise StageError(f"FACTORCAST_TIMEOUT_MINUTES is {shown(text)}: must be a number > 0")
    if value > MOST_MINUTES:
        raise StageError(f"FACTORCAST_TIMEOUT_MINUTES is {shown(text)}: must be at most {MOST_MINUTES:,}, a year")
    return value
