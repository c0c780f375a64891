"""How much of this machine the stages that read bars may use: hardware, not experiment, so no result depends on it."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from factor_data import Workers
from stages.run import StageError

MEMORY = "FACTORCAST_MEMORY_MB"
DEFAULT_MEMORY_MB = 1024


@contextmanager
def local_workers() -> Iterator[Workers]:
    """A thread per core of this process; the parts in work share the bytes that FACTORCAST_MEMORY_MB allows."""
    count = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(count) as executor:
        yield Workers(max_bytes=memory_budget(), count=count, executor=executor)


def memory_budget() -> int:
    """Bytes for the data that are worked on; the interpreter and its libraries come on top."""
    text = os.environ.get(MEMORY, str(DEFAULT_MEMORY_MB))
    if not text.isdecimal() or int(text) < 1:
        raise StageError(f"{MEMORY}: {text!r} must be a whole number of MiB, at least 1")
    return int(text) * 2**20
