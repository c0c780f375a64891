"""Results that appear whole or not at all, with digests that every reader holds them against."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from factor_data import Sums, checked, write_sums
from factor_data.sums import SUMS
from factor_data.whole_file import room_told
from stages.running.lock import exclusive
from stages.running.stage import StageError

RESULTS = Path("results")
CHECKPOINTS = Path(".checkpoints")
"""Where a killed run goes on; no output of a stage."""
MIN_FREE_BYTES = 256 * 2**20


LOCKS = Path(".live") / "locks"
CACHE = Path(".dvc") / "cache"
DECIDED = Path(".data.decided")
"""There while `make use-data` puts other data in place, and after it was killed just then."""


@contextmanager
def stage_output(name: str, min_free_bytes: int = MIN_FREE_BYTES) -> Iterator[Path]:
    """A fresh folder that becomes `results/<name>` when the block ends without an error.

    Writability and free space are checked on entry, before any work. Files are fsynced before the folder
    takes its place by renaming; on an error the folder of the last good run stays as it was. Another run of the same
    stage is waited for, or named; what dead ones have left is removed.
    """
    target = RESULTS / name
    check_writable(target.parent, min_free_bytes)
    with exclusive(LOCKS / name.replace("/", ".")):
        tidy(target)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        partial.mkdir()
        try:
            with room_told(target, partial):
                yield partial
                if not (partial / SUMS).exists():  # a store has its own
                    write_sums(partial)
                for path in sorted(partial.rglob("*")):
                    if path.is_file():
                        with path.open("rb") as file:
                            os.fsync(file.fileno())
            replace_folder(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def tidy(target: Path) -> None:
    """Remove what dead runs have left beside `target`; who calls it holds the lock, so none of them is alive.

    One that was killed between the two renames of `replace_folder` has left the last result under its other name.
    """
    for partial in target.parent.glob(f".{target.name}.*.partial"):
        shutil.rmtree(partial)
    old = old_name(target)
    if old.exists() and not target.exists():
        old.rename(target)
    elif old.exists():
        shutil.rmtree(old)


def old_name(target: Path) -> Path:
    """Return the name under which a folder waits to be deleted while another one takes its place."""
    return target.with_name(f".{target.name}.old")


def stored(name: str, file: str) -> Path:
    """Return a file or folder below `results/<name>`; DamagedError where it is not what the stage has written."""
    return checked(RESULTS / name, file)


def check_data(data: Path, without: str | None = None) -> None:
    """Hold the data against the digests that were written with them; what was put there by hand may have none.

    The folder `without` is not read.
    """
    if (data / SUMS).is_file():
        sums = Sums(data)
        for name in sums.digests:
            if without is None or not name.startswith(f"{without}/"):
                sums.path(name)


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
    old = old_name(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
