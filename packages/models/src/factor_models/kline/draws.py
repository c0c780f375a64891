"""The numbers that paths are drawn by, from a seed alone, in numpy: those of torch's generator, to the bit.

`CoupledDraws` takes them from torch; where a path is drawn by a graph there is none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def date_seed(seed: int, date: np.datetime64) -> int:
    """Return the seed of the draws of one date: of the model's seed and the date's stamp."""
    seconds = int(date.astype("datetime64[s]").astype(np.int64))
    return (seed * 1_000_003 + seconds) % 2**63


def uniform_numbers(seed: int, num_bars: int, num_samples: int) -> NDArray[np.float32]:
    """Return (num_bars, 2, num_samples) numbers in (0, 1): of each bar and token, one in each of S equal parts."""
    generator = np.random.RandomState(seed % 2**32)  # the Mersenne twister, begun as torch begins it
    shape = (num_bars, 2, num_samples)

    def drawn() -> NDArray[np.float32]:
        words = generator.randint(0, 2**32, shape, dtype=np.uint32)
        return (words & np.uint32(2**24 - 1)).astype(np.float32) * np.float32(2.0**-24)

    part = drawn().argsort(-1, kind="stable")
    return (part.astype(np.float32) + drawn()) / np.float32(num_samples)
