"""dataset.yaml: what is known of a data set that its numbers do not say, read within limits and checked."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from typing import Any

import yaml

MOST_BYTES = 2**20
MOST_VALUES = 10_000
DEEPEST = 16
# What YAML 1.1, which is read here, takes for a flag or a number, and YAML 1.2 for something else
OF_1_1 = re.compile(
    r"(?i:yes|no|on|off)|[-+]?0[0-9_]*(?:[89_]|[1-9][0-9_])[0-9_]*|[-+]?0[bo][0-9_]+|[-+]?0x[0-9a-fA-F]*_[0-9a-fA-F_]*"
    r"|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"
    r"|[-+]?[0-9][0-9.]*_[0-9_.]*(?:e[-+]?[0-9]+)?"
)
UNREAD_TAGS = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"}
UNKNOWN = "unknown"
UNKNOWN_UNIVERSE = "not stated: treat results as if the symbols were picked with hindsight (survivorship bias)"
# key -> what stands for it where it is not written; None: it must be written
KEYS: dict[str, str | None] = {
    "name": None,
    "universe": None,
    "frequency": UNKNOWN,
    "time_zone": UNKNOWN,
    "adjustment": UNKNOWN,
}
WHAT = {"name": "what the data are called", "universe": "how the symbols were picked"}


def parse_description(text: bytes | str, path: str) -> dict[str, Any]:
    """Return the description: the keys of `KEYS` as text, then whatever else it says, as plain data.

    Parameters
    ----------
    text : one YAML document without aliases and tags, of text, numbers, true and false, null, lists and maps
    path : what messages name

    Raises
    ------
    ValueError that names file, key and rule: for what is no such document, is too large or too deep, has a key twice,
    lacks `name` or `universe`, or has anything but text for a key of `KEYS`
    """
    document = parse_plain(text, path)
    if not isinstance(document, dict):
        raise ValueError(f"{path}: must be keys and values, as 'name: my market'; is {_shown(document)}")
    for key in document:
        if not isinstance(key, str):
            raise ValueError(f"{path}: key {_shown(key)} must be text")
    found: dict[str, Any] = {}
    for key, default in KEYS.items():
        value = document.get(key, default)
        if key not in document and default is None:
            raise ValueError(f"{path}: key {key!r} is missing; it says {WHAT[key]}, and split needs {list(WHAT)}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)  # name: 2024
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{path}: {key} must be text, is {_shown(value)}")
        found[key] = value
    return found | {key: value for key, value in document.items() if key not in KEYS}


def parse_plain(text: bytes | str, path: str) -> Any:
    """Return one YAML document of plain data; ValueError that names the path for any other, or beyond the limits."""
    if len(text) > MOST_BYTES:
        raise ValueError(f"{path}: has {len(text):,} bytes, at most {MOST_BYTES:,} are read")
    try:
        _check_events(text)
        document = yaml.load(text, Loader=_Plain)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        said = getattr(error, "problem", None) or str(error)
        raise ValueError(f"{path}: is no valid YAML: {' '.join(said.split())}{where}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    _check_values(document, path, "")
    return document


class _Plain(yaml.SafeLoader):
    """Dates stay text, and a key must not come twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                raise yaml.MarkedYAMLError(problem="a key is no text", problem_mark=key.start_mark)
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"key {name!r} comes twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in UNREAD_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _check_events(text: bytes | str) -> None:
    """Go through a document without building it: what it names twice could grow beyond all memory when built."""
    depth = count = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        count += isinstance(event, yaml.NodeEvent)
        rule, tag = "", getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            rule = "anchors (&) and aliases (*) are not read"
        elif tag not in (None, "!"):
            rule = f"tags are not read, as {tag}"
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0] and OF_1_1.fullmatch(event.value):
            rule = f"{event.value!r} is one thing in YAML 1.1 and another in 1.2: write it plainly, or in quotes"
        elif documents > 1:
            rule = "one document is read, and a second begins"
        elif depth > DEEPEST:
            rule = f"maps and lists lie in each other more than {DEEPEST} deep"
        elif count > MOST_VALUES:
            rule = f"more than {MOST_VALUES:,} values"
        if rule:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ValueError(f"{rule} (line {line})")


def _check_values(value: Any, path: str, key: str) -> None:
    """Refuse numbers that JSON has not, since the description is carried on as JSON."""
    if isinstance(value, dict):
        for name, inside in value.items():
            _check_values(inside, path, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, inside in enumerate(value):
            _check_values(inside, path, f"{key}.{number}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path}: {key or 'the document'} must be a finite number, is {value}")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError(f"{path}: {key or 'the document'} must be a number below 2**63")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
