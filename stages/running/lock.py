"""One run at a time for what two would destroy."""

from __future__ import annotations

import fcntl
import os
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stages.running.stage import StageError

MOST_LETTERS = 100  # of a command in a message


@contextmanager
def exclusive(path: Path, wait_seconds: float = 60.0) -> Iterator[None]:
    """Hold `path` as a lock: a run that is still ending is waited for, one that goes on is not disturbed.

    The system frees the lock when its holder ends, however it ends. The file says who holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        deadline, told = time.monotonic() + wait_seconds, False
        while not _locked(file):
            if time.monotonic() > deadline:
                raise StageError(f"another run ({holder(path)}) holds {path}: wait until it has ended, or end it")
            if not told:
                print(f"another run ({holder(path)}) holds {path}: waiting for it ...", file=sys.stderr, flush=True)
                told = True
            time.sleep(0.2)
        file.truncate(0)
        file.write(f"process {os.getpid()}: {textwrap.shorten(' '.join(sys.orig_argv[1:]), MOST_LETTERS)}")
        file.flush()
        yield


def is_held(path: Path) -> bool:
    """Return whether a process holds a lock."""
    with path.open("a+") as file:
        return not _locked(file)


def holder(path: Path) -> str:
    """Return what the holder of a lock has written of itself."""
    return path.read_text(encoding="utf-8", errors="replace") or "that has just begun"


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
