"""One run at a time for what two would destroy."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stages.running.stage import StageError


@contextmanager
def exclusive(path: Path, wait_seconds: float = 60.0) -> Iterator[None]:
    """Hold `path` as a lock: a run that is still ending is waited for, one that goes on is not disturbed.

    The system frees the lock when its holder ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        deadline, told = time.monotonic() + wait_seconds, False
        while not _locked(file):
            if time.monotonic() > deadline:
                raise StageError(f"another run holds {path}: wait until it has ended, or end it")
            if not told:
                print(f"another run holds {path}: waiting for it to end ...", file=sys.stderr, flush=True)
                told = True
            time.sleep(0.2)
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
