"""Plain JSON values: NaN and infinity become null, numpy becomes Python."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np


def to_json_safe(value: Any) -> Any:  # noqa: C901 -- a table of types, one line each
    """Return `value` as nested dict, list, str, int, float, bool and None, without NaN or infinity.

    Accepts dataclasses, mappings, sequences, numpy arrays and scalars, datetimes (as ISO text). A dataclass
    with a method `to_dict` is written as what it returns. Anything else raises ValueError naming its type.

    Examples
    --------
    >>> to_json_safe({"ic": np.array([0.5, np.nan])})
    {'ic': [0.5, None]}
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return [to_json_safe(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "to_dict"):
            return to_json_safe(value.to_dict())
        return {field.name: to_json_safe(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_safe(item) for item in value]
    raise ValueError(f"cannot write a {type(value).__name__} as JSON")
