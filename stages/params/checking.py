"""A document held against a dataclass: no unknown key, no coerced type, messages as `file: key: value breaks rule`."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from stages.running.stage import StageError

LARGEST = 1e15
"""No setting is larger: what is comes from a slip of the hand, and overflows somewhere late."""
LARGEST_WHOLE = 2**32
"""Whole numbers are below: seeds, as generators take them, and counts."""
MOST_LINES = 5

MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")

Location = tuple[int | str, ...]


def validate(schema: type, document: Any, where: str) -> Any:
    """`document` as `schema`: no unknown key, no coerced type. JSON in between, since YAML lists stand for tuples."""
    for location, rule in broken_rules(document):
        raise StageError(f"{where}{dotted(location)}: {rule}")
    try:
        section = adapter(schema).validate_json(json.dumps(document), strict=True)
    except ValidationError as failure:
        raise StageError("\n  ".join(explain(failure, schema, document, where)[:MOST_LINES])) from None
    for location, number in whole_numbers(section):
        if number >= LARGEST_WHOLE:
            raise StageError(f"{where}{dotted(location)}: {number} must be below 2^32")
    return section


@cache
def adapter(schema: type) -> TypeAdapter:
    """Return what pydantic makes of a schema, which takes it a while."""
    return TypeAdapter(schema)


def broken_rules(value: Any, location: Location = ()) -> Iterator[tuple[Location, str]]:
    """Yield (location, what is wrong) of every value that no section can have."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield (*location, str(key)), f"the key {key!r} must be text"
            yield from broken_rules(item, (*location, str(key)))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from broken_rules(item, (*location, number))
    elif isinstance(value, float) and not math.isfinite(value):
        yield location, f"{value!r} must be a finite number"
    elif isinstance(value, int | float) and abs(value) > LARGEST:
        yield location, f"{value!r} must be in [-{LARGEST:g}, {LARGEST:g}]"
    elif not isinstance(value, str | int | float | None):
        yield location, f"{value} is read as a {type(value).__name__}: a text is written in quotes"


def whole_numbers(value: Any, location: Location = ()) -> Iterator[tuple[Location, int]]:
    """Yield (location, number) of every whole number in a section."""
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from whole_numbers(item, (*location, key))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from whole_numbers(item, (*location, number))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield location, value


def explain(failure: ValidationError, schema: type, document: Any, where: str) -> list[str]:
    """One line per wrong key, `file: key: value breaks rule`; what several alternatives say of it is one line."""
    lines: dict[str, list[str]] = {}
    for error in failure.errors():
        location = locate(error, document)
        lines.setdefault(f"{where}{dotted(location)}", []).append(broken_rule(error, location, schema, document))
    return [tell(key, rules) for key, rules in lines.items()]


def tell(key: str, rules: Sequence[str]) -> str:
    """Return a key with all that is said of it, each thing once; a rule begins with what goes between."""
    first, *others = dict.fromkeys(rules)
    if first.startswith(":"):
        key = key.rstrip(": .")  # of the document or section as a whole, which has no key of its own
    return "; or ".join([f"{key}{first}", *(one.removeprefix(": ") for one in others)])


def locate(error: Any, document: Any) -> Location:
    """Where an error is in the document, without the names of alternatives that pydantic puts in between."""
    found: list[int | str] = []
    for part in error["loc"]:
        is_key = isinstance(document, Mapping) and part in document
        is_number = isinstance(document, list) and isinstance(part, int) and part < len(document)
        if is_key or is_number:
            found.append(part)
            document = document[part]
    return (*found, error["loc"][-1]) if error["type"] in MISSING else tuple(found)


def broken_rule(error: Any, location: Location, schema: type, document: Any) -> str:
    """What is wrong at a location, in words."""
    if error["type"] == "unexpected_keyword_argument":
        known = known_keys(schema, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        return ": unknown key; " + (f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}")
    if error["type"] in MISSING:
        return ": missing"
    value = walk(document, location)
    if error["type"] == "value_error":
        return f".{error['ctx']['error']}" if location else str(error["ctx"]["error"])
    if error["type"] in ("dataclass_type", "dataclass_exact_type"):
        return f": {value!r} is refused: must be a section with the keys {', '.join(known_keys(schema, location))}"
    return f": {value!r} is refused: {error['msg'].lower()}"


def known_keys(schema: Any, location: Location) -> list[str]:
    """The keys that are allowed at `location` of `schema`, through alternatives, mappings and lists."""
    sections = dataclasses_in(schema)
    for part in location:
        inner = [hints[str(part)] for one in sections if str(part) in (hints := get_type_hints(one))]
        if inner:  # else it is a name of the user's in a mapping, or a place in a list
            sections = [found for one in inner for found in dataclasses_in(one)]
    return [field.name for one in sections for field in fields(one)]


def dataclasses_in(kind: Any) -> list[Any]:
    """The dataclasses among the alternatives of a type."""
    if isinstance(kind, type) and is_dataclass(kind):
        return [kind]
    return [found for one in get_args(kind) for found in dataclasses_in(one)]


def walk(document: Any, location: Location) -> Any:
    """The value of `document` at `location`."""
    for part in location:
        document = document[part]
    return document


def dotted(location: Sequence[int | str]) -> str:
    """Return a location as it is written in messages."""
    return ".".join(str(part) for part in location)
