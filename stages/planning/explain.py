"""Why a stage will run: what differs between its plan now and the plan of the last commit's results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line per setting, module or distribution that differs between two plans."""
    lines = []
    for kind, word in (("settings", ""), ("modules", "code of "), ("distributions", "version of ")):
        old, new = flat(before.get(kind, {}), kind), flat(now.get(kind, {}), kind)
        for key in sorted(old.keys() | new.keys()):
            if key not in new:
                lines.append(f"{word}{key}: no longer counts")
            elif key not in old:
                value = "" if kind == "modules" else f" = {new[key]!r}"
                lines.append(f"{word}{key}: new{value}")
            elif old[key] != new[key]:
                change = "changed" if kind == "modules" else f"{old[key]!r} -> {new[key]!r}"
                lines.append(f"{word}{key}: {change}")
    return lines


def flat(document: Mapping[str, Any], kind: str, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted keys; modules are flat already and have dots in their names."""
    if kind != "settings":
        return dict(document)
    keys: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            keys |= flat(value, kind, f"{prefix}{key}.")
        else:
            keys[f"{prefix}{key}"] = value
    return keys
