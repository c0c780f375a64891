"""Write a file so that a reader sees the old one or the new one, never half of either.

It is made beside its place, synced and renamed. What processes that were killed have left is removed by the next write.
Where there is no room for it, the error says how much is wanted and how much is free.
This file lies in several packages, the same to the byte, since none imports another.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WROTE_LESS = "requested and"
"""Part of what numpy says where less was written than asked for; it does not hand on why."""


class NoRoomError(OSError):
    """There is no room for a file or folder."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], None], num_bytes: int | None = None) -> None:
    """Call `write` on a temporary file in the folder of `path`, sync it, then rename it to `path`.

    The folder must exist. If `write` fails, the temporary file goes and `path` stays as it was. What processes that
    were killed while they wrote `path` have left beside it goes before. NoRoomError where there is no room for the
    file, with the `num_bytes` that it will have, where that is known.
    """
    path = Path(path)
    temporary = temporary_of(path)
    try:
        with room_told(path, temporary, num_bytes), open_held(temporary) as file:
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

    write_atomically(path, write, len(content))


@contextmanager
def room_told(path: Path, made: Path | None, num_bytes: int | None = None) -> Iterator[None]:
    """Within, no room for a file or folder is a NoRoomError: which, how many bytes are wanted, how many are free.

    `made` is where it is being written, None where a file grows that stays. What lies there counts as free, since it
    goes, and as the least that is wanted where `num_bytes` is not known.
    """
    try:
        yield
    except OSError as error:
        name = str(error.filename or path)
        if made is not None and name.startswith(str(made)):  # by the name that it will have
            name = str(path) + name.removeprefix(str(made))
        if type(error).__name__ == NoRoomError.__name__:  # told already, by another package's copy of this file perhaps
            error.filename = name
            raise
        if error.errno not in NO_ROOM and WROTE_LESS not in str(error):
            raise
        size, room = (0, 0) if made is None else _taken_by(made)
        wanted = f"more than {size:,}" if num_bytes is None else f"{num_bytes:,}"
        free = shutil.disk_usage(path.parent).free + room
        why = os.strerror(error.errno) if error.errno else "less was written than was asked for"
        said = f"no room: {wanted} bytes are wanted, {free:,} are free ({why})"
        raise NoRoomError(error.errno or errno.ENOSPC, said, name) from error


def _taken_by(made: Path) -> tuple[int, int]:
    """Return the bytes of a file, or of all files below a folder, and the bytes of the disk that they take."""
    size = room = 0
    for path in (made, *made.rglob("*")):
        with suppress(OSError):  # it has gone meanwhile
            if path.is_file():
                found = path.stat()
                size, room = size + found.st_size, room + 512 * found.st_blocks
    return size, room


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
