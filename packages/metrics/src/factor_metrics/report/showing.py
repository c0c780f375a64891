"""A page in a notebook and in a file: a frame of its own, whose styles meet nothing else; written whole or not."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path


def page_frame(page: str, height: int = 640) -> str:
    """Return an element that shows an HTML document inline, apart from the page around it; it may run its script."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" title="report" '
        f'style="width:100%;height:{height}px;border:1px solid rgba(128,128,128,.35);border-radius:6px"></iframe>'
    )


def write_page(path: str | Path, page: str) -> Path:
    """Write a page beside its place, then rename it into place; return the path."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
