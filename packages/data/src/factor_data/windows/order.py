"""The order of an epoch, and which part of it a process and a data worker see.

The order is a function of (seed, epoch) and a batch one of (seed, epoch, step): how many processes and workers
there are, and where a run was resumed, changes who makes a batch, never what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


def epoch_order(num_units: int, seed: int | None, epoch: int, run: int = 1) -> NDArray[np.int64]:
    """Return the numbers 0 .. num_units - 1 shuffled by (seed, epoch), as they are without a seed.

    With `run` above 1, runs of so many neighbours are shuffled and stay together; what is left over comes last.
    """
    if seed is None:
        return np.arange(num_units)
    num_runs = num_units // run
    starts = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(num_runs) * run
    shuffled = (starts[:, None] + np.arange(run)).reshape(-1)
    return np.concatenate([shuffled, np.arange(num_runs * run, num_units)])


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The steps of an epoch of `num_units` units (samples or dates), and whose they are.

    A step's global batch is `per_batch` units; rank `r` of `world_size` takes the r-th run of it. A rank's
    steps go round its data workers in turn, so that a reader which asks the workers in turn gets them in order.
    """

    num_units: int
    per_batch: int
    rank: int = 0
    world_size: int = 1
    worker: int = 0
    num_workers: int = 1
    start_step: int = 0
    drop_last: bool = False
    per_batch_name: str = "batch_size"

    def __post_init__(self) -> None:
        if self.per_batch < 1 or self.world_size < 1 or self.per_batch % self.world_size:
            raise ValueError(
                f"{self.per_batch_name} ({self.per_batch}) must be a multiple of world_size ({self.world_size})"
            )
        for name, value, size in (
            ("rank", self.rank, self.world_size),
            ("worker", self.worker, self.num_workers),
            ("start_step", self.start_step, self.num_steps + 1),
        ):
            if not 0 <= value < size:
                raise ValueError(f"{name} must lie in [0, {size}), got {value}")

    @property
    def num_steps(self) -> int:
        """Steps of the epoch, the same on every rank."""
        full, rest = divmod(self.num_units, self.per_batch)
        return full + (1 if rest and not self.drop_last else 0)

    def steps(self, order: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield (step, units) of this rank and worker; the units of the last step may be none."""
        for step in range(self.start_step + self.worker, self.num_steps, self.num_workers):
            units = order[step * self.per_batch : (step + 1) * self.per_batch]
            low, high = (len(units) * part // self.world_size for part in (self.rank, self.rank + 1))
            yield step, units[low:high]


class DateIndex(NamedTuple):
    """Samples of each date: positions `by_date[starts[d]:starts[d + 1]]` for the d-th of `codes`."""

    by_date: NDArray[np.int64]
    codes: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, date_of_sample: NDArray[np.int64]) -> DateIndex:
        """Return the index of samples by date; `date_of_sample` is (num_samples,)."""
        by_date = np.argsort(date_of_sample, kind="stable")
        codes, first = np.unique(date_of_sample[by_date], return_index=True)
        return cls(by_date, codes, np.r_[first, len(by_date)].astype(np.int64))

    def samples(self, dates: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the samples of some dates, and the number of each one's date among them."""
        spans = [self.by_date[self.starts[d] : self.starts[d + 1]] for d in dates]
        positions = np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)
        return positions, np.repeat(np.arange(len(spans), dtype=np.int64), [len(span) for span in spans])
