"""The header of a saved panel, `panel.json`, which names its files; `sums.json`, written last, has their digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from factor_data.sums import Sums

HEADER = "panel.json"
FORMAT = 1


def read_header(directory: Path) -> dict[str, Any]:
    """Return the header of the panel saved in a folder, all of whose files are those that were written.

    ValueError where there is none, or one of another format; DamagedError where a file is damaged.
    """
    path = directory / HEADER
    if not path.is_file():
        raise ValueError(f"{directory} holds no saved panel: {HEADER} is missing")
    Sums(directory).check_all()
    header = json.loads(path.read_text(encoding="utf-8"))
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}: format {header.get('format')!r}, this version reads {FORMAT}")
    return header
