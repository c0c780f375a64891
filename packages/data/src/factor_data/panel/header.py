"""The header of a saved panel, `panel.json`: it is written last, so a folder without it holds no panel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HEADER = "panel.json"
FORMAT = 1


def read_header(directory: Path) -> dict[str, Any]:
    """Return the header of the panel saved in a folder; ValueError where there is none, or one of another format."""
    path = directory / HEADER
    if not path.is_file():
        raise ValueError(f"{directory} holds no saved panel: {HEADER} is missing")
    header = json.loads(path.read_text())
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}: format {header.get('format')!r}, this version reads {FORMAT}")
    return header
