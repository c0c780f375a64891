"""What a training takes of memory: batches that are made ahead, and what to make smaller where it runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from factor_data import prefetch
from stages.running.environment import prefetch_budget

T = TypeVar("T")


def made_ahead(batches: Iterable[T], num_bytes: Callable[[T], int], largest: int) -> Iterable[T]:
    """The same batches in their order, made by a thread while the consumer works, within FACTORCAST_PREFETCH_MB.

    `largest` is about the bytes of the largest batch: where two of them are more than the budget they are made one at a
    time, when they are asked for.
    """
    budget = prefetch_budget()
    return prefetch(batches, budget, num_bytes) if 2 * largest <= budget else batches


def smaller(*sizes: tuple[str, int, int]) -> str:
    """Return advice on sizes (key, value, least): halve, in this order, what is above its least; the result changes."""
    halves = [f"{key} from {value} to {max(value // 2, least)}" for key, value, least in sizes if value > least]
    network = "make the network smaller"
    return f"lower, in this order, {', '.join(halves)}, or {network}" if halves else network
