"""What a training on windows of bars takes of memory, as `stages.fitting.memory` has it for windows of features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from factor_models.kline import KlineBatch
from stages.fitting.memory import made_ahead, smaller

BYTES_OF_BAR = 7 * 8
"""Two tokens and five parts of a stamp as whole numbers, or six float32, at most."""


def ahead_of_steps(
    batches: Iterable[KlineBatch], dates: NDArray[np.int64], batch_dates: int, window: int
) -> Iterator[KlineBatch]:
    """The batches of windows, whose dates are `dates` (W,), made while a step is under way; see `made_ahead`."""
    most = int(np.bincount(dates).max())
    return iter(made_ahead(batches, batch_bytes, batch_dates * most * window * BYTES_OF_BAR))


def batch_bytes(batch: KlineBatch) -> int:
    """Return the bytes of a batch's arrays."""
    return sum(array.nbytes for array in (batch.windows, batch.targets, batch.groups, batch.rows))


def shorter(section: str, batch_dates: int, lookback: int, num_ahead: int, max_context: int | None = None) -> str:
    """Advice where memory has run out: fewer dates in a batch, then a shorter lookback, then a smaller context."""
    of_batch = f"{section}.train.batch_dates" if max_context else f"{section}.batch_dates"
    sizes = [(of_batch, batch_dates, 1), ("tokenize_kline.lookback", lookback, 2)]
    if max_context is not None:
        sizes.append((f"{section}.max_context", max_context, max(lookback // 2, 2) + num_ahead))
    return smaller(*sizes)
