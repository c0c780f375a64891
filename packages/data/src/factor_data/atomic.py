"""JSON and folders that are whole or absent: a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factor_data.whole_file import is_held, room_told, write_bytes


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON. NaN and infinities are refused, since JSON has neither."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value` (sorted keys, no blanks) that hashes are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@contextmanager
def new_folder(target: Path, num_bytes: int) -> Iterator[Path]:
    """A folder beside `target` that takes its name when the block ends without an error, and goes otherwise.

    What killed processes have left of such folders goes before. ValueError where another process is writing the same
    one, or has written it meanwhile, where it cannot be made, or its disk has fewer than `num_bytes` free. NoRoomError
    where it fills up on the way.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
            if not is_held(left):
                shutil.rmtree(left)
            elif is_alive(pid := left.name.split(".")[-2]):
                raise ValueError(f"{target}: process {pid} is writing it: wait until that has ended, or end it")
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
        with room_told(target, partial):
            yield partial
        _put_in_place(partial, target)
    finally:
        os.close(held)
        shutil.rmtree(partial, ignore_errors=True)


def is_alive(pid: str) -> bool:
    """Return whether another process of this machine has a number."""
    if not pid.isdecimal() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _put_in_place(partial: Path, target: Path) -> None:
    try:
        partial.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise ValueError(f"{target}: another process has written it meanwhile; that one stays") from error
