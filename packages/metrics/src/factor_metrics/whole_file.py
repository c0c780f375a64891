"""Write a file so that a reader sees the old one or the new one, never half of either.

It is made beside its place, synced and renamed. What processes that were killed have left is removed by the next write.
This file lies in several packages, the same to the byte, since none imports another.
"""

from __future__ import annotations

import fcntl
import glob
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], None]) -> None:
    """Call `write` on a temporary file in the folder of `path`, sync it, then rename it to `path`.

    The folder must exist. If `write` fails, the temporary file goes and `path` stays as it was. What processes that
    were killed while they wrote `path` have left beside it goes before.
    """
    path = Path(path)
    temporary = temporary_of(path)
    try:
        with open_held(temporary) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write the content of a whole file; see `write_atomically`."""

    def write(file: IO[bytes]) -> None:
        file.write(content)

    write_atomically(path, write)


def temporary_of(path: Path) -> Path:
    """Return where this process writes `path`, without what killed processes have left there of it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if not is_held(left):
            with suppress(OSError):  # another user's, or gone
                left.unlink()
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def open_held(path: Path) -> IO[bytes]:
    """Open a file of this process to be written, held until it is closed; again if it was swept before it was held."""
    while True:
        file = path.open("w+b")
        with suppress(OSError):  # a disk without locks, on which nothing is swept either
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # freed by the system when this process ends, however
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def is_held(path: Path) -> bool:
    """Whether a living process writes into the folder or file; True where that cannot be told."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
