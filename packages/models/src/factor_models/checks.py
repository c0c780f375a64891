"""Checks shared by the models: each raises ValueError naming the argument, its value and the rule.

Those of a configuration's fields begin with the bare name of the field, `lookback = 0: must be >= 1`, so that a caller
can put its own key path before it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def check_at_least(config: object, minimums: Mapping[str, float]) -> None:
    """Each named field is at least its minimum."""
    for field, minimum in minimums.items():
        value = getattr(config, field)
        if not value >= minimum:
            raise ValueError(f"{field} = {value!r}: must be >= {minimum}")


def check_at_most(config: object, maximums: Mapping[str, float]) -> None:
    """Each named field is at most its maximum."""
    for field, maximum in maximums.items():
        value = getattr(config, field)
        if not value <= maximum:
            raise ValueError(f"{field} = {value!r}: must be <= {maximum}")


def check_share(config: object, field: str) -> None:
    """The named field lies in [0, 1)."""
    value = getattr(config, field)
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{field} = {value!r}: must be in [0, 1)")


def check_one_of(config: object, field: str, allowed: tuple) -> None:
    """The named field is one of the allowed values."""
    value = getattr(config, field)
    if value not in allowed:
        raise ValueError(f"{field} = {value!r}: must be one of {', '.join(map(repr, allowed))}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name: the known one it may stand for, and all known ones."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known are {', '.join(names)}"


def check_windows(x_BLF: Tensor, lookback: int, num_features: int) -> None:
    """Windows have the shape the model was built for."""
    if x_BLF.ndim != 3 or tuple(x_BLF.shape[1:]) != (lookback, num_features):
        raise ValueError(
            f"windows have shape {tuple(x_BLF.shape)}: the model was built for "
            f"(batch, lookback={lookback}, num_features={num_features})"
        )
