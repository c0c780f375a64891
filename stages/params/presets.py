"""Presets: what differs from the committed params.yaml for a purpose, laid over it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.params.overlays import overlay
from stages.params.reading import read_document
from stages.running.stage import StageError

PRESETS = Path("presets")


def preset_names() -> list[str]:
    """Return the names of all presets, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def with_preset(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The document with the values of presets/<name>.yaml in the place of its own."""
    return overlay(document, preset(name))


def preset(name: str) -> dict[str, Any]:
    """The values of presets/<name>.yaml."""
    if name not in preset_names():
        raise StageError(f"there is no preset {name!r}: {PRESETS}/ has {', '.join(preset_names())}")
    return read_document(PRESETS / f"{name}.yaml")
