"""Write a file so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], None]) -> None:
    """Call `write` on a temporary file in the folder of `path`, sync it, then rename it to `path`.

    The folder must exist. If `write` fails, the temporary file goes and `path` stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON. NaN and infinities are refused, since JSON has neither."""
    text = (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()

    def write(file: IO[bytes]) -> None:
        file.write(text)

    write_atomically(path, write)


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value` (sorted keys, no blanks) that hashes are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
