"""Batches of windows for the engine: whole dates, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class KlineBatch:
    """Batch for `Engine.train_step`. Nothing is predicted from outside the window, so targets are zeros."""

    windows: NDArray
    """(B, T, ...) normalised bars, or tokens and stamps."""
    targets: NDArray[np.float32]
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]


def date_batches(
    dates: NDArray[np.int64],
    dates_per_batch: int,
    seed: int | None = None,
    epoch: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[NDArray[np.int64]]:
    """Numbers of the windows of each batch; `dates` (W,) is the date of each window.

    With a seed dates are shuffled anew each epoch. Each process gets its share of every batch, by whole dates; a share
    may be empty in the last batch. The batches of all processes together are those of one.
    """
    if dates_per_batch < 1:
        raise ValueError(f"dates_per_batch = {dates_per_batch}: must be >= 1")
    order = np.argsort(dates, kind="stable")
    unique, starts = np.unique(dates[order], return_index=True)
    by_date = np.split(order, starts[1:])
    sequence = np.arange(len(unique))
    if seed is not None:
        sequence = np.random.default_rng([seed, epoch]).permutation(sequence)
    for start in range(0, len(sequence), dates_per_batch):
        share = sequence[start : start + dates_per_batch][rank::world_size]
        numbers = [by_date[date] for date in share]
        yield np.concatenate(numbers) if numbers else np.empty(0, np.int64)


def num_batches(dates: NDArray[np.int64], dates_per_batch: int) -> int:
    """Return the number of batches that `date_batches` yields."""
    return -(-len(np.unique(dates)) // dates_per_batch)


def kline_batches(
    read: Callable[[NDArray[np.int64]], NDArray],
    dates: NDArray[np.int64],
    numbers_of_batches: Iterator[NDArray[np.int64]],
) -> Iterator[KlineBatch]:
    """Batches of the windows that `read(numbers)` gives."""
    for numbers in numbers_of_batches:
        yield KlineBatch(
            windows=read(numbers),
            targets=np.zeros((len(numbers), 1), np.float32),
            groups=dates[numbers],
            rows=numbers,
        )


def token_windows(
    pairs_WT2: NDArray[np.integer], stamps_D5: NDArray[np.integer], date_code_WT: NDArray[np.integer]
) -> NDArray[np.int64]:
    """(W, T, 7): s1, s2 and the stamp of each bar, as `Kronos.training_terms` reads them."""
    return np.concatenate([pairs_WT2.astype(np.int64), stamps_D5[date_code_WT]], axis=2)
