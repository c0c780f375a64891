"""A stage as a process: what the user can mend ends as one short message and exit status 2, Ctrl-C as one line."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from stages.running.starter import Stopped, stoppable

LOST_PEER = 76
"""Exit status of a process that could not go on because another one of its run has ended."""

RESTORE = "The last good results are in the DVC cache: make restore brings them back."
UNTOUCHED = "Nothing was changed."


LESS_MEMORY = (
    "end other programs, lower FACTORCAST_MEMORY_MB, FACTORCAST_PARALLEL_FOLDS or train.batch_dates, or make the "
    "model smaller"
)


class StageError(ValueError):
    """A reason to stop that the user can act on."""


def run(stage: str, main: Callable[[], None], hint: str = RESTORE) -> None:
    """Run a stage or command; what the user can mend ends as one short message, a hint and exit status 2.

    Programming errors keep their traceback. FACTORCAST_DEBUG=1 shows it for every error.
    """
    try:
        with stoppable():
            main()
    except Stopped as stopped:
        print(f"\n{stage}: stopped ({stopped}). {hint}", file=sys.stderr)
        sys.exit(stopped.exit_status)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        lost = isinstance(error, RuntimeError) and has_lost_peer(error)
        told = describe(error)
        if os.environ.get("FACTORCAST_DEBUG") or not (lost or told):
            raise
        if lost:
            print("the connection to another process is lost: its own message says why", file=sys.stderr)
            sys.exit(LOST_PEER)
        print(f"error in stage '{stage}': {told}", file=sys.stderr)
        print(f"{hint} (FACTORCAST_DEBUG=1 shows the traceback.)", file=sys.stderr)
        sys.exit(2)


def has_lost_peer(error: RuntimeError) -> bool:
    """Return True if an exchange broke off because the process on its other side has ended (gloo, NCCL)."""
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
    return any(sign in str(error) for sign in signs)


def is_shortage(error: Exception) -> bool:
    """Return True for a lack of memory, in the ways of Python, torch, Arrow and the system."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    signs = ("not enough memory", "can't allocate memory", "out of memory", "std::bad_alloc")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def describe(error: Exception) -> str | None:
    """The message of an error, with the common system errors said in words; None for an error of the program."""
    if is_shortage(error):
        said = str(error).strip().splitlines()[0] if str(error).strip() else "no memory is left"
        return f"out of memory ({said}): {LESS_MEMORY}"
    if isinstance(error, RuntimeError):
        in_use = "EADDRINUSE" in str(error)
        return "MASTER_PORT is in use: choose another one" if in_use else None
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return (
            f"too many files are open (at {error.filename or 'a file'}): raise the limit (ulimit -n 4096) and run again"
        )
    if type(error).__name__ == "NoRoomError":  # of `whole_file` in any package
        return f"{error}: free some space and run again"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full (while writing {error.filename or 'an output'}): free some space and run again"
    if isinstance(error, PermissionError):
        return f"no permission for {error.filename}: make it readable and its folder writable, then run again"
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"{error.filename} does not exist: run 'dvc repro' so that the stage before writes it"
    return str(error) or type(error).__name__
