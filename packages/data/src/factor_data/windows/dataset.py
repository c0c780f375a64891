"""Windows: for each sample the last `lookback` bars of its symbol, read straight from the feature matrix.

The matrix is never expanded: a window is a contiguous block of rows, so gathering a batch copies that batch
only, and the cross-section of a date is not even copied where the layout allows a view (`copy=False`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from operator import attrgetter

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from factor_data.windows.augment import Augmentation
from factor_data.windows.batch import Batch
from factor_data.windows.checks import check_lengths, check_rules, check_weights
from factor_data.windows.order import DateIndex, Schedule, epoch_order
from factor_data.windows.prefetching import prefetch
from factor_data.windows.samples import find_samples
from factor_data.windows.source import DenseMatrix
from factor_data.windows.texts import DocumentVectors

Transform = Callable[[NDArray], NDArray]


class WindowDataset:
    """Windows over a feature matrix whose rows are sorted by (symbol, time).

    Parameters
    ----------
    features : (num_rows, num_features) float32 or uint8 tokens. Memory-mapped is fine: C order
        is used in place, any other layout is copied once
    labels : (num_rows, num_horizons) float32, or None
    lookback : int >= 1, bars per window, counted in the symbol's own bars
    symbol_code, date_code : (num_rows,) int; dates rise within a symbol
    rows : mask or indices of the rows that may be samples; default all. Windows may start before these rows
    weights : (num_rows,) weight of each row in the loss; finite and not negative where a row is a sample
    symbol_ids : (num_rows,) int, the id of each row's symbol in a vocabulary, for models that know symbols
    texts : DocumentVectors, the documents each row knows, for models that read texts
    max_missing : the largest share of missing values (NaN, token 0) in a window; 1 keeps every window, 0 only
        complete ones
    max_gap : the most calendar dates that may be missing between two neighbouring bars of a window; None: any
    session_code : (num_rows,) int; windows with bars of more than one session are refused (see `session_codes`)
    missing_mask : whether batches have as many inputs again, 1 where an input is missing (NaN) and else 0; `windows`
        has the inputs alone
    transform : (batch, lookback, num_features) -> the same shape, applied to every batch of windows, before
        augmentation: a normalisation that looks at each window alone

    Attributes
    ----------
    rows : (num_samples,) int64, row of each sample, ascending
    report : SampleReport, how many rows each rule refused
    """

    def __init__(  # noqa: PLR0913 -- the arrays of a dataset and the rules for its samples, all by keyword
        self,
        features: NDArray,
        labels: NDArray[np.float32] | None,
        lookback: int,
        *,
        symbol_code: NDArray[np.integer],
        date_code: NDArray[np.integer],
        rows: NDArray | None = None,
        weights: NDArray[np.floating] | None = None,
        symbol_ids: NDArray[np.integer] | None = None,
        texts: DocumentVectors | None = None,
        max_missing: float = 1.0,
        max_gap: int | None = None,
        session_code: NDArray[np.integer] | None = None,
        missing_mask: bool = False,
        transform: Transform | None = None,
    ) -> None:
        check_lengths(features, labels, {"symbol_code": symbol_code, "date_code": date_code})
        check_lengths(features, None, {"weights": weights, "symbol_ids": symbol_ids, "session_code": session_code})
        if texts is not None and texts.num_rows != features.shape[0]:
            raise ValueError(f"texts must have the {features.shape[0]} rows of features, got {texts.num_rows}")
        check_rules(lookback, max_missing, max_gap)
        self.lookback = lookback
        self.num_features = features.shape[1]
        self.transform = transform
        self._source = DenseMatrix(features)
        if missing_mask and not np.issubdtype(self._source.dtype, np.floating):
            raise ValueError(f"missing_mask needs floating-point features; {self._source.dtype} tokens have one, 0")
        self._missing_mask = missing_mask
        self._labels, self._weights, self._symbol_ids, self._texts = labels, weights, symbol_ids, texts
        self._symbol_code, self._date_code = np.asarray(symbol_code), np.asarray(date_code)
        self.rows, self.report = find_samples(
            self._source,
            lookback,
            self._symbol_code,
            self._date_code,
            rows,
            max_missing=max_missing,
            max_gap=max_gap,
            session_code=None if session_code is None else np.asarray(session_code),
        )
        if weights is not None:
            check_weights(np.asarray(weights), self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_dates(self) -> int:
        """Return the number of dates that have a sample."""
        return len(self.date_codes)

    @property
    def date_codes(self) -> NDArray[np.int64]:
        """(num_dates,) codes of the dates that have a sample, ascending."""
        return self._dates.codes

    @cached_property
    def _dates(self) -> DateIndex:
        return DateIndex.of(self._date_code[self.rows].astype(np.int64))

    def windows(self, positions: NDArray[np.integer], out: NDArray | None = None) -> NDArray:
        """Return (batch, lookback, num_features) for sample positions in `0..len(self) - 1`, transformed.

        With `out`, a C-ordered array of that shape and the features' type, the gathered windows lie there.
        """
        first_rows = self.rows[positions] - (self.lookback - 1)
        shape = (len(first_rows), self.lookback, self.num_features)
        if out is None:
            out = np.empty(shape, dtype=self._source.dtype)
        elif out.shape != shape or out.dtype != self._source.dtype or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-ordered {shape} {self._source.dtype}, got {out.shape} {out.dtype}")
        self._source.gather(first_rows, out)
        return self._transformed(out)

    def targets(self, positions: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return (batch, num_horizons), without columns if there are no labels."""
        if self._labels is None:
            return np.empty((len(positions), 0), dtype=np.float32)
        return np.asarray(self._labels[self.rows[positions]], dtype=np.float32)

    def num_batches(self, dates_per_batch: int, *, drop_last: bool = False) -> int:
        """Return how many batches `batches` yields, the same on every rank."""
        return Schedule(num_units=self.num_dates, per_batch=dates_per_batch, drop_last=drop_last).num_steps

    def num_sample_batches(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Return how many batches `sample_batches` yields, the same on every rank."""
        return Schedule(num_units=len(self), per_batch=batch_size, drop_last=drop_last).num_steps

    def batches(  # noqa: PLR0913 -- order, share of a process and prefetching, all by keyword
        self,
        dates_per_batch: int,
        *,
        dates_per_run: int = 1,
        seed: int | None = None,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        worker: int = 0,
        num_workers: int = 1,
        start_step: int = 0,
        drop_last: bool = False,
        copy: bool = True,
        augmentation: Augmentation | None = None,
        prefetch_bytes: int = 0,
    ) -> Iterator[Batch]:
        """Yield batches of whole dates; over all ranks and workers every date comes exactly once an epoch.

        The date order depends on (seed, epoch) alone; `seed=None` means time order. A global batch has
        `dates_per_batch` dates, of which each rank gets an equal run; so the global batches are the same for any
        world size. Every rank gets the same number of batches. The dates left over at the end form a smaller batch,
        of which some ranks may get one date less, or none; with `drop_last` they are not read, others in each epoch.

        Parameters
        ----------
        dates_per_run : dates are shuffled in runs of so many consecutive ones; it divides `dates_per_batch`
        worker, num_workers : worker w of a rank makes every `num_workers`-th batch from `start_step + w`
        start_step : the first step to make, to go on within an epoch; the batches are those of a whole epoch
        copy : False allows `windows` to be a read-only view of the matrix. It is one where the batch is a single date
            whose samples lie evenly spaced in the matrix: a panel without gaps, or one symbol
        augmentation : changes the windows; it is for training, so it needs a seed
        prefetch_bytes : above 0, a thread makes batches ahead, at most so many bytes of them (`prefetch`)
        """
        schedule = Schedule(
            num_units=self.num_dates, per_batch=dates_per_batch, rank=rank, world_size=world_size, worker=worker,
            num_workers=num_workers, start_step=start_step, drop_last=drop_last, per_batch_name="dates_per_batch",
        )  # fmt: skip
        _check_augmentation(augmentation, seed)
        if dates_per_run < 1 or dates_per_batch % dates_per_run:
            raise ValueError(
                f"dates_per_run ({dates_per_run}) must be at least 1 and divide dates_per_batch ({dates_per_batch})"
            )

        def make() -> Iterator[Batch]:
            for step, dates in schedule.steps(epoch_order(self.num_dates, seed, epoch, dates_per_run)):
                positions, groups = self._dates.samples(dates)
                view = None if copy or augmentation else self._view(positions)
                batch = self._batch(step, positions, groups, view)
                yield self._finished(batch, augmentation, seed, epoch)

        return prefetch(make(), prefetch_bytes, attrgetter("num_bytes")) if prefetch_bytes else make()

    def sample_batches(  # noqa: PLR0913 -- order, share of a process and prefetching, all by keyword
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        worker: int = 0,
        num_workers: int = 1,
        start_step: int = 0,
        drop_last: bool = False,
        reuse_buffer: bool = False,
        augmentation: Augmentation | None = None,
        prefetch_bytes: int = 0,
    ) -> Iterator[Batch]:
        """Yield batches of single samples; over all ranks and workers every sample comes exactly once an epoch.

        Parameters
        ----------
        batch_size : samples of a global batch, a multiple of `world_size`
        reuse_buffer : every batch's `windows` overwrites the last one's: use it before asking for the next.
            Not together with `prefetch_bytes`

        The others are those of `batches`, with samples in place of dates: the last, smaller batch is split as
        evenly as it can be, or dropped with `drop_last`. Without a seed the samples come in time order.
        """
        schedule = Schedule(
            num_units=len(self), per_batch=batch_size, rank=rank, world_size=world_size, worker=worker,
            num_workers=num_workers, start_step=start_step, drop_last=drop_last,
        )  # fmt: skip
        _check_augmentation(augmentation, seed)
        if reuse_buffer and prefetch_bytes:
            raise ValueError("reuse_buffer would overwrite batches that were made ahead (prefetch_bytes)")

        def make() -> Iterator[Batch]:
            size = batch_size // world_size if reuse_buffer else 0
            buffer = np.empty((size, self.lookback, self.num_features), dtype=self._source.dtype)
            for step, positions in schedule.steps(self._sample_order(seed, epoch)):
                _, groups = np.unique(self._date_code[self.rows[positions]], return_inverse=True)
                out = buffer[: len(positions)] if reuse_buffer else None
                batch = self._batch(step, positions, groups, out=out)
                yield self._finished(batch, augmentation, seed, epoch)

        return prefetch(make(), prefetch_bytes, attrgetter("num_bytes")) if prefetch_bytes else make()

    def _sample_order(self, seed: int | None, epoch: int) -> NDArray[np.int64]:
        return self._dates.by_date if seed is None else epoch_order(len(self), seed, epoch)

    def _batch(
        self,
        step: int,
        positions: NDArray[np.int64],
        groups: NDArray[np.int64],
        view: NDArray | None = None,
        out: NDArray | None = None,
    ) -> Batch:
        rows = self.rows[positions]
        weights = None if self._weights is None else np.asarray(self._weights[rows], dtype=np.float32)
        symbols = None if self._symbol_ids is None else np.asarray(self._symbol_ids[rows], dtype=np.int64)
        texts = None if self._texts is None else self._texts.gather(rows - (self.lookback - 1), self.lookback)
        return Batch(
            windows=self.windows(positions, out) if view is None else self._transformed(view),
            targets=self.targets(positions),
            groups=groups,
            rows=rows,
            weights=weights,
            symbols=symbols,
            texts=texts,
            step=step,
        )

    def _finished(self, batch: Batch, augmentation: Augmentation | None, seed: int | None, epoch: int) -> Batch:
        """Augment, then mark what is missing: what augmentation takes away is missing too.

        Samples are known by symbol and date as one number, the same whatever other bars there are.
        """
        if augmentation is not None:
            symbol, date = (codes[batch.rows].astype(np.int64) for codes in (self._symbol_code, self._date_code))
            batch = batch.augmented(augmentation, symbol << 32 | date, seed, epoch)
        return batch.with_missing_mask() if self._missing_mask else batch

    def _transformed(self, windows: NDArray) -> NDArray:
        if self.transform is None:
            return windows
        result = self.transform(windows)
        if result.shape != windows.shape:
            raise ValueError(f"transform must keep the shape {windows.shape}, gave {result.shape}")
        return result

    def _view(self, positions: NDArray[np.int64]) -> NDArray | None:
        """The windows without a copy, read-only; None where the samples do not lie evenly spaced."""
        if not len(positions):
            return None
        first_rows = self.rows[positions] - (self.lookback - 1)
        spacing = np.diff(first_rows)
        if len(spacing) and (spacing != spacing[0]).any():
            return None
        row_bytes, item_bytes = self._source.values.strides
        between = int(spacing[0]) * row_bytes if len(spacing) else 0
        return as_strided(
            self._source.values[first_rows[0] :],
            shape=(len(positions), self.lookback, self.num_features),
            strides=(between, row_bytes, item_bytes),
            writeable=False,
        )


def _check_augmentation(augmentation: Augmentation | None, seed: int | None) -> None:
    if augmentation is not None and seed is None:
        raise ValueError("augmentation is for training: it needs a seed")
