"""JSON that is written whole or not at all, and read back by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from factor_models.json_document import read_document
from factor_models.whole_file import write_bytes


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write sorted, indented JSON; NaN and infinity are refused (ValueError)."""
    write_bytes(path, (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def read_json(path: Path, advice: str = "") -> dict[str, Any]:
    """Return the object that a JSON file holds; ValueError, which `advice` ends where the file is absent."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file{advice}")
    content = read_document(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold one object, found {type(content).__name__}")
    return content
