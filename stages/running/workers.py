"""Threads and memory of the stages that read bars."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from factor_data import Workers
from stages.running.environment import memory_budget


@contextmanager
def local_workers() -> Iterator[Workers]:
    """A thread per core of this process; the parts in work share the bytes that FACTORCAST_MEMORY_MB allows."""
    count = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(count) as executor:
        yield Workers(max_bytes=memory_budget(), count=count, executor=executor)
