"""Files that are whole or absent."""

from __future__ import annotations

from pathlib import Path

from factor_metrics.writing import write_text as write_whole


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
