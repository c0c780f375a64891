"""Checks that sections share."""

from __future__ import annotations


def check_at_least(section: object, **minimums: int) -> None:
    """Each named field of a section is at least its minimum; ValueError names key, value and rule."""
    for name, minimum in minimums.items():
        if getattr(section, name) < minimum:
            raise ValueError(f"{name}: {getattr(section, name)} must be >= {minimum}")
