"""Numbers that one stage writes and another draws: dataclasses with arrays, as JSON and back.

Floats come back to the bit, NaN stands as null, dates as ISO text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from factor_data.whole_file import write_bytes
from factor_metrics import to_json_safe
from stages.json_files import read_json

T = TypeVar("T")


def write_record(path: Path, record: object) -> None:
    """Write a dataclass as JSON on one line: series of thousands of dates are not for people to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(record), separators=(",", ":"), allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_record(path: Path, kind: type[T]) -> T:
    """Return the dataclass of type `kind` that a JSON file holds."""
    record: T = parse(kind, read_json(path))
    return record


def plain(value: Any) -> Any:
    """Nested lists and dictionaries by field name; a dataclass's own `to_dict` is not asked."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain_array(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return to_json_safe(value)


def plain_array(values: np.ndarray) -> Any:
    """Return an array as nested lists: dates as ISO text, None for what is not finite."""
    if values.dtype.kind == "M":
        return np.datetime_as_string(values).tolist()
    if values.dtype.kind != "f":
        return to_json_safe(values)
    known = np.isfinite(values)
    if known.all():
        return values.tolist()
    with_gaps = values.astype(object)
    with_gaps[~known] = None
    return with_gaps.tolist()


def parse(kind: Any, value: Any) -> Any:
    """A value of `plain` as the type that it had."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return (
            None
            if value is None and NoneType in inner
            else parse(next(one for one in inner if one is not NoneType), value)
        )
    if origin is np.ndarray or kind is np.ndarray:
        return parse_array(value, dates="datetime64" in str(kind))
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: parse(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    if origin is not None and issubclass(origin, Mapping):
        key, item = inner
        return {key(name): parse(item, one) for name, one in value.items()}
    if origin is tuple:
        return tuple(parse(inner[0], one) for one in value)
    if origin is not None and issubclass(origin, Sequence):
        return [parse(inner[0], one) for one in value]
    if kind is float:
        return float("nan") if value is None else float(value)
    return value


def parse_array(value: Any, dates: bool) -> np.ndarray:
    """Return a list of JSON as an array: of dates, of whole numbers, or of float64 with NaN for null."""
    if dates:
        return np.array(value, dtype="datetime64[ns]")
    if (read := np.array(value)).dtype.kind in "if":  # no gaps
        return read.astype(np.int64 if read.dtype.kind == "i" else np.float64, copy=False)
    array = np.array(value, dtype=object)
    whole = array.size > 0 and all(isinstance(one, int) for one in array.ravel())
    return array.astype(np.int64) if whole else array.astype(np.float64)
