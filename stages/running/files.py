"""Results that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.running.stage import StageError

RESULTS = Path("results")
CHECKPOINTS = Path(".checkpoints")
"""Where a killed run goes on; no output of a stage."""
MIN_FREE_BYTES = 256 * 2**20


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
