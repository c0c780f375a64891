"""JSON of a file as Python has it, except that what an object lacks is told by file and key.

Whoever reads a file takes its keys as given; one that was forged, or written by another version, may lack them, and a
KeyError would say neither where nor that it is the file. This file lies in several packages, the same to the byte,
since none imports another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn


class Document(dict[str, Any]):
    """An object of a JSON file; ValueError with file and key for `[key]` where it has none."""

    where = ""

    def __missing__(self, key: object) -> NoReturn:
        raise ValueError(f"{self.where}: lacks {key!r}: damaged, or written by another version")


def parse_document(text: bytes, where: object) -> Any:
    """Return what JSON in UTF-8 holds, objects as `Document`; ValueError beginning with `where` for what is none."""

    def named(values: dict[str, Any]) -> Document:
        found = Document(values)
        found.where = str(where)
        return found

    try:
        return json.loads(text.decode(), object_hook=named)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: is not JSON ({error})") from error


def read_document(path: str | Path) -> Any:
    """Return what a JSON file holds, as `parse_document` does."""
    return parse_document(Path(path).read_bytes(), path)


@contextmanager
def as_written(where: object) -> Iterator[None]:
    """Within, a value of another type, or against a rule, than what is written there is a ValueError naming `where`."""
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError or str(where) in str(error):
            raise
        raise ValueError(f"{where}: {error}") from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{where}: is not what is written there: {error!r}") from error
