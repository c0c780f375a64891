"""Write a file so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], None]) -> None:
    """Call `write` on a temporary file in the folder of `path`, sync it, then rename it to `path`.

    The folder must exist. If `write` fails, the temporary file goes and `path` stays as it was. What processes that
    were killed while they wrote `path` have left beside it goes before.
    """
    path = Path(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if not _is_held(left):
            with suppress(OSError):  # another user's, or gone
                left.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _open_held(temporary) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _open_held(path: Path) -> IO[bytes]:
    """Open a file of this process to be written, held until it is closed; again if it was swept before it was held."""
    while True:
        file = path.open("wb")
        with suppress(OSError):  # a disk without locks, on which nothing is swept either
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # freed by the system when this process ends, however
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write the content of a whole file; see `write_atomically`."""

    def write(file: IO[bytes]) -> None:
        file.write(content)

    write_atomically(path, write)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON. NaN and infinities are refused, since JSON has neither."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value` (sorted keys, no blanks) that hashes are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@contextmanager
def new_folder(target: Path, num_bytes: int) -> Iterator[Path]:
    """A folder beside `target` that takes its name when the block ends without an error, and goes otherwise.

    What killed processes have left of such folders goes before. ValueError where it cannot be made, or its disk has
    fewer than `num_bytes` free.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
            if not _is_held(left):
                shutil.rmtree(left)
        partial.mkdir()
        held = os.open(partial, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)  # freed by the system when this process ends, however it ends
    except OSError as error:
        raise ValueError(f"{target.parent}: cannot be written to ({error.strerror})") from error
    try:
        free = shutil.disk_usage(partial).free
        if free < num_bytes:
            raise ValueError(
                f"{target.parent}: its disk has {free / 2**20:.0f} MiB free, what is written may need "
                f"{num_bytes / 2**20:.0f} MiB"
            )
        yield partial
        partial.rename(target)
    finally:
        os.close(held)
        shutil.rmtree(partial, ignore_errors=True)


def _is_held(path: Path) -> bool:
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
