"""Checks that sections share."""

from __future__ import annotations

MOST_THREADS = 1024
"""CPU threads of one process: no machine has more cores, and libraries end the process at far more."""


def check_at_least(section: object, **minimums: int) -> None:
    """Each named field of a section is at least its minimum; ValueError names key, value and rule."""
    for name, minimum in minimums.items():
        if getattr(section, name) < minimum:
            raise ValueError(f"{name}: {getattr(section, name)} must be >= {minimum}")


def check_at_most(section: object, **maximums: int) -> None:
    """Each named field of a section is at most its maximum; ValueError names key, value and rule."""
    for name, maximum in maximums.items():
        if getattr(section, name) > maximum:
            raise ValueError(f"{name}: {getattr(section, name)} must be <= {maximum}")
