"""JSON as the results have it: the one way in which stages write and read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from factor_data.json_document import read_document
from factor_data.whole_file import write_bytes


def write_json(path: Path, document: Any) -> None:
    """Write JSON that any reader takes; NaN and infinity are refused (ValueError)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json_bytes(document))


def json_bytes(document: Any) -> bytes:
    """Return what `write_json` writes."""
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; ValueError naming one that is none, later file and key that it lacks."""
    return read_document(path)
