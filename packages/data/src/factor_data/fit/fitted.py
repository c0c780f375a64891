"""Fitted state as JSON: what normalisers and tokenizers share to be written, checked and read back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from factor_data.atomic import canonical_json, write_json
from factor_data.json_document import read_document


def content_hash(content: Mapping[str, Any]) -> str:
    """Return the sha256 of the canonical JSON: equal for equal content, in any process."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def save_fitted(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write `content` with its hash, as a whole or not at all."""
    write_json(path, {**content, "hash": content_hash(content)})


def load_fitted(path: str | Path, expected_hash: str | None = None) -> dict[str, Any]:
    """Read what `save_fitted` wrote.

    ValueError if the file is not such a file, was changed since, or is not the one with `expected_hash`.
    """
    content = read_document(path)
    if not isinstance(content, dict) or "hash" not in content:
        raise ValueError(f"{path}: holds no fitted state: 'hash' is missing")
    stored = content.pop("hash")
    found = content_hash(content)
    if stored != found:
        raise ValueError(f"{path}: was changed after it was written: hash says {stored}, content has {found}")
    if expected_hash not in (None, found):
        raise ValueError(f"{path}: has hash {found}, expected {expected_hash}: it was fitted on something else")
    return content


def check_columns(num_columns: int, fitted: Sequence[str], given: Sequence[str] | None) -> None:
    """Refuse other columns than the fitted ones."""
    if num_columns != len(fitted):
        raise ValueError(f"values must have the {len(fitted)} fitted columns, got {num_columns}")
    if given is not None and tuple(given) != tuple(fitted):
        different = [(a, b) for a, b in zip(fitted, given, strict=False) if a != b][:3]
        raise ValueError(f"names differ from the fitted ones, first (fitted, given): {different}")


def joined_names(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the names of column groups that were fitted apart, side by side; ValueError if one repeats."""
    names = tuple(name for part in parts for name in part)
    if not parts:
        raise ValueError("parts must not be empty")
    if len(set(names)) < len(names):
        raise ValueError(f"parts repeat the columns {sorted({n for n in names if names.count(n) > 1})[:3]}")
    return names
