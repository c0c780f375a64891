"""One mapping laid over another: a preset over params.yaml, a model's own keys of `train` over the section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WHOLE = ("labels",)
"""Keys whose mapping is one value, a table: it is replaced and not merged."""

GOES_WITH = {"loss": "loss_settings", "schedule": "schedule_options"}
"""Keys of `train` whose options belong to their value: who names another value starts from its defaults."""


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge key by key; anything else of `above` takes the place of what lies below."""
    merged = dict(below)
    for key, value in above.items():
        merged[key] = overlay(merged[key], value) if merges(key, merged.get(key), value) else value
    return merged


def merges(key: str, below: Any, above: Any) -> bool:
    """Return whether two values of a key are put together; else the upper one takes the place of the lower."""
    return isinstance(below, Mapping) and isinstance(above, Mapping) and key not in WHOLE


def overlay_train(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Section `train` with a model's own keys in the place of its."""
    anew: dict[str, Any] = {options: {} for choice, options in GOES_WITH.items() if choice in own and options in common}
    return overlay({**common, **anew}, own)


def decided_by(own: Mapping[str, Any]) -> set[str]:
    """The keys of `train` that own keys decide: themselves, and the options of what they choose."""
    return set(own) | {options for choice, options in GOES_WITH.items() if choice in own}
