"""The header of a saved panel, `panel.json`, which names its files; `sums.json`, written last, has their digests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factor_data.json_document import read_document
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
    header: dict[str, Any] = read_document(path)
    if not isinstance(header, dict):
        raise ValueError(f"{path}: holds no header of a panel")
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}: format {header.get('format')!r}, this version reads {FORMAT}")
    files = header["columns"]
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise ValueError(f"{path}: columns: must be names with their files")
    if missing := [file for file in files.values() if not (directory / file).is_file()]:
        raise ValueError(f"{path}: columns: {missing[0]!r} is no file of the panel")
    return header
