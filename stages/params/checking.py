"""A document held against a dataclass: no unknown key, no coerced type, messages as `file: key: value breaks rule`."""

from __future__ import annotations

import difflib
import json
from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from stages.running.stage import StageError


def validate(schema: type, document: Any, where: str) -> Any:
    """`document` as `schema`: no unknown key, no coerced type. JSON in between, since YAML lists stand for tuples."""
    try:
        return TypeAdapter(schema).validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as failure:
        lines = [explain(error, schema, document, where) for error in failure.errors()[:5]]
        raise StageError("\n  ".join(lines)) from None


def explain(error: Any, schema: type, document: Any, where: str) -> str:
    """One validation error as `file: key: value breaks rule`."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        known = known_keys(schema, error["loc"][:-1])
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
        return f"{where}{key}: unknown key; {hint}"
    if error["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{where}{key}: missing"
    if error["type"] == "value_error":
        prefix = f"{key}." if key else ""
        return f"{where}{prefix}{error['ctx']['error']}"
    return f"{where}{key}: {walk(document, error['loc'])!r} is refused: {error['msg'].lower()}"


def known_keys(schema: type, location: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed at `location` of `schema`."""
    for part in location:
        schema = get_type_hints(schema)[str(part)]
    return [field.name for field in fields(schema)]


def walk(document: Any, location: tuple[int | str, ...]) -> Any:
    """The value of `document` at `location`."""
    for part in location:
        document = document[part]
    return document
