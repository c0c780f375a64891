"""What every stage shares: short errors instead of tracebacks, and outputs that appear whole or not at all."""

import errno
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

RESULTS = Path("results")
MIN_FREE_BYTES = 256 * 2**20


LOST_PEER = 76
"""Exit status of a process that could not go on because another one of its run has ended."""


class StageError(ValueError):
    """A reason to stop that the user can act on."""


def run(stage: str, main: Callable[[], None]) -> None:
    """Run a stage; what the user can mend ends as one short message and exit status 2.

    Programming errors keep their traceback. FACTORCAST_DEBUG=1 shows it for every error.
    """
    try:
        main()
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        lost = isinstance(error, RuntimeError) and has_lost_peer(error)
        told = describe(error)
        if os.environ.get("FACTORCAST_DEBUG") or not (lost or told):
            raise
        if lost:
            print("the connection to another process is lost: its own message says why", file=sys.stderr)
            sys.exit(LOST_PEER)
        print(f"error in stage '{stage}': {told}", file=sys.stderr)
        print("Earlier results are untouched. (FACTORCAST_DEBUG=1 shows the traceback.)", file=sys.stderr)
        sys.exit(2)


def has_lost_peer(error: RuntimeError) -> bool:
    """Whether an exchange broke off because the process on its other side has ended (gloo, NCCL)."""
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
    return any(sign in str(error) for sign in signs)


def describe(error: Exception) -> str | None:
    """The message of an error, with the common system errors said in words; None for an error of the program."""
    if isinstance(error, RuntimeError):
        in_use = "EADDRINUSE" in str(error)
        return "MASTER_PORT is in use: choose another one" if in_use else None
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            f"the disk is full (while writing {error.filename or 'an output'}): free some space and run again"
        )
    if isinstance(error, PermissionError):
        return f"no permission for {error.filename}: make it readable and its folder writable, then run again"
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"{error.filename} does not exist: run 'dvc repro' so that the stage before writes it"
    return str(error) or type(error).__name__


@contextmanager
def stage_output(name: str, min_free_bytes: int = MIN_FREE_BYTES) -> Iterator[Path]:
    """A fresh folder that becomes `results/<name>` when the block ends without an error.

    Writability and free space are checked on entry, before any work. Files are fsynced before the folder
    takes its place by renaming; on an error the folder of the last good run stays as it was.
    """
    target = RESULTS / name
    partial = target.with_name(f".{target.name}.partial")
    check_writable(target.parent, min_free_bytes)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in sorted(partial.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        replace_folder(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_writable(folder: Path, min_free_bytes: int = MIN_FREE_BYTES) -> None:
    """Refuse before the work what would fail after it: a folder that cannot be written, a full disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StageError(
            f"{folder} cannot be written to ({error.strerror}): a stage writes its results there"
        ) from None
    free = shutil.disk_usage(folder).free
    if free < min_free_bytes:
        raise StageError(
            f"the disk of {folder} has {free / 2**20:.0f} MiB free, the stage needs {min_free_bytes / 2**20:.0f} MiB"
        )


def replace_folder(new: Path, target: Path) -> None:
    """Put `new` in the place of `target` by renaming; the old folder is deleted last."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


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


def whole_number(variable: str, default: int) -> int:
    """A whole number >= 1 from the environment."""
    text = os.environ.get(variable, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise StageError(f"{variable} is {text!r}: must be a whole number >= 1")
    return int(text)


def write_json(path: Path, document: Any) -> None:
    """Write JSON that any reader takes; NaN and infinity are refused (ValueError)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
