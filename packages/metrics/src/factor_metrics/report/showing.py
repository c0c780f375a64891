"""A page in a notebook: in a frame of its own, whose styles meet nothing else."""

from __future__ import annotations

from html import escape


def page_frame(page: str, height: int = 640) -> str:
    """Return an element that shows an HTML document inline, apart from the page around it; it may run its script."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" title="report" '
        f'style="width:100%;height:{height}px;border:1px solid rgba(128,128,128,.35);border-radius:6px"></iframe>'
    )
