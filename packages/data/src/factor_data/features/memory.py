"""Long memory: exponential averages of what a bar shows, at several half-lives.

With the set `memory` a model of the last bar sees what a sequence model finds in a long window: moves, moves that went
with volume, volume itself, place in the range, gaps, size of moves. Inputs are ratios, so no unit of price or volume
and no later split shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from factor_data.features.window_kernels import known_exponential_mean
from factor_data.history import Floats
from factor_data.panel.panel import Panel

HALF_LIVES = (5, 10, 20, 40, 80)
WINDOW_HALF_LIVES = 8
"""Half-lives that an average looks back: the weight of the next bar would be 1/256."""


def remembered(panel: Panel, source: Callable[[Panel], Floats], half_life: int) -> Floats:
    """Average of a feature of the symbol whose weights halve every `half_life` bars; missing values are left out.

    It looks at the last 8 half-lives of bars, as far as the symbol has them, and exists where `half_life` of them have
    a value.
    """
    keep, window = 0.5 ** (1.0 / half_life), WINDOW_HALF_LIVES * half_life
    return known_exponential_mean(source(panel), panel.age, keep, window, half_life)


def memory_features(sources: dict[str, Callable[[Panel], Floats]]) -> dict[str, Callable[[Panel], Floats]]:
    """Return `<source>_memory_<half-life>` of every source and half-life."""
    return {
        f"{name}_memory_{half_life}": partial(remembered, source=source, half_life=half_life)
        for name, source in sources.items()
        for half_life in HALF_LIVES
    }
