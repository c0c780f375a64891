"""DVC's list of running stages, which a DVC that was killed while it wrote it leaves empty or cut off.

The next DVC refuses to start over such a file. It says nothing that is still true once no DVC runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil

from stages.running.starter import is_dvc

RWLOCK = Path(".dvc") / "tmp" / "rwlock"


def remove_broken_rwlock() -> None:
    """Remove the list where it is no JSON and no DVC runs here, and say so."""
    if RWLOCK.is_file() and not is_whole(RWLOCK) and not dvc_runs(Path.cwd()):
        RWLOCK.unlink(missing_ok=True)
        print(f"{RWLOCK}: a DVC that was killed has left it cut off, so DVC would not start: removed", file=sys.stderr)


def is_whole(path: Path) -> bool:
    """Return whether a file holds the JSON that DVC writes there."""
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (ValueError, RecursionError):
        return False


def dvc_runs(folder: Path) -> bool:
    """Return whether a DVC runs in a folder or below it; True where that cannot be told."""
    for process in psutil.process_iter():
        if is_dvc(process):
            try:
                if Path(process.cwd()).is_relative_to(folder):
                    return True
            except psutil.NoSuchProcess:
                continue
            except (psutil.Error, OSError):
                return True
    return False
