"""YAML read as DVC reads it, so that what is recorded is what was used.

DVC reads YAML 1.2 (ruamel.yaml). Many other tools and people read 1.1, in which `010` is 8, `1:30` is 90 and `yes` is
true: a value that the two read differently is refused, as is a key that stands twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MOST_SIGNS = 2**20
MOST_ENTRIES = 100_000
MOST_DEEP = 50


def parse_yaml(text: str) -> Any:
    """Return the document. ValueError where it is no valid YAML, has a key twice or a value that can be misread."""
    return deepcopy(_parsed(text))


@lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    """Read a text once: `plan` needs params.yaml twice, and two readers take a tenth of a second each time."""
    if len(text) > MOST_SIGNS:
        raise ValueError(f"has {len(text):,} signs, at most {MOST_SIGNS:,} are read")
    try:
        check_depth(text)
        document = YAML(typ="safe").load(text)
        older = yaml.load(text, Loader=LOADER)
    except (MarkedYAMLError, yaml.MarkedYAMLError) as error:
        where = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise ValueError(f"{(error.problem or str(error)).strip()}{where}") from None
    except (YAMLError, yaml.YAMLError) as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError(f"lists or mappings are more than {MOST_DEEP} deep") from None
    check_size(document)
    for key, value, other in misread(document, older):
        raise ValueError(f"{key}: is {value!r} in YAML 1.2 and {other!r} in YAML 1.1: write it so that both agree")
    return document


def check_depth(text: str) -> None:
    """ValueError for lists or mappings too deep: the reader of 1.2 takes minutes for a few thousand."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEEP:
            raise ValueError(f"lists or mappings are more than {MOST_DEEP} deep")


def check_size(document: Any) -> None:
    """ValueError for a document that is no settings: one that holds itself, is too deep, or explodes by aliases."""
    waiting: list[tuple[Any, tuple[int, ...]]] = [(document, ())]
    num_entries = 0
    while waiting:
        value, above = waiting.pop()
        if not isinstance(value, dict | list):
            continue
        if id(value) in above:
            raise ValueError("an alias (*name) holds itself")
        inner = list(value.values()) if isinstance(value, dict) else value
        num_entries += len(inner)
        if num_entries > MOST_ENTRIES:
            raise ValueError(f"more than {MOST_ENTRIES:,} entries, those of aliases (*name) counted each time")
        if len(above) >= MOST_DEEP:
            raise ValueError(f"lists or mappings are more than {MOST_DEEP} deep")
        waiting += [(one, (*above, id(value))) for one in inner]


def misread(value: Any, older: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, as 1.2 has it, as 1.1 has it) of every scalar that differs.

    `1e-3`, which 1.1 takes for a text, is a number to everybody else and left alone.
    """
    if isinstance(value, dict) and isinstance(older, dict) and len(value) == len(older):
        for (name, one), (other_name, other) in zip(value.items(), older.items(), strict=True):
            path = f"{key}.{name}" if key else str(name)
            if type(name) is not type(other_name) or name != other_name:
                yield path, name, other_name
            yield from misread(one, other, path)
    elif isinstance(value, list) and isinstance(older, list) and len(value) == len(older):
        for number, (one, other) in enumerate(zip(value, older, strict=True)):
            yield from misread(one, other, f"{key}.{number}")
    elif not (isinstance(value, float) and isinstance(older, str)):
        same = value == older or (value != value and older != older)  # NaN
        if type(value) is not type(older) or not same:
            yield key, value, older
