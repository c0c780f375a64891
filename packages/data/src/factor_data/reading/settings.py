"""import.yaml: how a source is to be read, beside it or named; its keys are those of `ReadConfig`, and `layout`."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any

from factor_data.description import parse_plain
from factor_data.reading.config import ReadConfig
from factor_data.reading.layouts import LAYOUTS
from factor_data.reading.sources import File, PathLike, locate

NAME = "import.yaml"
IMPORT = "import"  # the key of dataset.yaml under which an import remembers the same
LISTS = ("factors", "targets", "leave_out", "texts", "absent", "names")
MOST_BYTES = 2**20


def settings_for(root: File, map_file: PathLike | None, layout: str, config: ReadConfig) -> tuple[str, ReadConfig]:
    """Layout and configuration of a source: what is given, over what `map_file` or its own import.yaml says."""
    file = locate(map_file) if map_file is not None else root.child(NAME)
    if map_file is None and not (root.is_folder() and NAME in {entry.name for entry in root.children()}):
        return layout, config
    with file.open() as opened:
        document = parse_plain(bytes(opened.read(MOST_BYTES + 1)), file.path)
    if isinstance(document, dict) and isinstance(document.get(IMPORT), dict):
        document = document[IMPORT]  # a dataset.yaml
    said_layout, said = parse_settings(document, file.path)
    try:
        merged = ReadConfig(**(said | config.changed_fields()))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return (said_layout if layout == "auto" else layout), merged


def parse_settings(document: Any, path: str) -> tuple[str, dict[str, Any]]:
    """Layout, and arguments of `ReadConfig`; ValueError that names path, key and rule."""
    if not isinstance(document, dict):
        raise ValueError(f"{path}: must be keys and values, as 'time_format: \"%d.%m.%Y\"'")
    known = ["layout", *(one.name for one in fields(ReadConfig))]
    said = dict(document)
    for key in said:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise ValueError(f"{path}: unknown key {key!r}; {hint}")
    layout = said.pop("layout", "auto")
    if layout not in ("auto", *LAYOUTS):
        raise ValueError(f"{path}: layout must be one of {['auto', *LAYOUTS]}, got {layout!r}")
    return layout, {key: _checked(key, value, path) for key, value in said.items()}


def _checked(key: str, value: Any, path: str) -> Any:
    """One value in the type of its field."""
    default = next(one.default for one in fields(ReadConfig) if one.name == key)
    if key == "columns":
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in (*value, *value.values())):
            raise ValueError(f"{path}: columns must be our names and those of the file, as {{timestamp: Date}}")
        return value
    if key in LISTS:
        if value is None and default is None:
            return None
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ValueError(f"{path}: {key} must be a list of names, got {value!r}")
        return tuple(value)
    kind = type(default) if default is not None else str
    if value is None and default is None:
        return None
    if type(value) is not kind:
        raise ValueError(f"{path}: {key} must be {'text' if kind is str else kind.__name__}, got {value!r}")
    return value
