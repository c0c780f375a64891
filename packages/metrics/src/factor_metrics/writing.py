"""Texts in files that are whole or absent: a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

from pathlib import Path

from factor_metrics.whole_file import write_bytes


def write_text(path: str | Path, text: str) -> Path:
    """Write a text whole or not at all, in UTF-8; return the path. The folder must exist."""
    write_bytes(path, text.encode())
    return Path(path)
