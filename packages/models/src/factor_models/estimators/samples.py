"""The samples of an estimator: arrays of one length, cut into batches of whole dates or of shuffled rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

ROWS_AT_ONCE = 4096
MOST_TOKENS = 255


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Samples to fit on or to predict; itself a batch of training (`factor_models.training.inputs.Batch`).

    Attributes
    ----------
    windows : (N, L, F) float32 with NaN = missing, or tokens with 0 = missing
    dates : (N,) date of each row; None: there are none
    targets : (N, H) float32, NaN = unknown; None when predicting
    weights : (N,) float32; None: all 1
    symbols : (N,) ids, 0 = unknown; None: all unknown
    texts : (N, L, K, D) float32, NaN = none; None: no news
    rows : (N,) position in the arrays of the caller
    """

    windows: np.ndarray
    rows: np.ndarray
    dates: np.ndarray | None = None
    targets: np.ndarray | None = None
    weights: np.ndarray | None = None
    symbols: np.ndarray | None = None
    texts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def groups(self) -> np.ndarray:
        """(N,) the date of each row; without dates all rows are one."""
        return np.zeros(len(self), np.int64) if self.dates is None else self.dates

    def take(self, rows: np.ndarray) -> Samples:
        """Some rows, in that order."""
        arrays = {name: values[rows] for name, values in vars(self).items() if values is not None}
        return Samples(**arrays)

    def train_batches(self, batch_dates: int, batch_rows: int, seed: int, epoch: int) -> Iterator[Samples]:
        """Yield all samples once, in an order that depends on seed and epoch.

        A batch has `batch_dates` whole dates, or without dates a block of at most `batch_rows` rows, which counts as
        one date.
        """
        generator = np.random.default_rng((seed, epoch))
        if self.dates is None:
            blocks = np.array_split(generator.permutation(len(self)), -(-len(self) // batch_rows))
            yield from (self.take(block) for block in blocks)
            return
        rows_of_date = self._rows_of_dates()
        order = generator.permutation(len(rows_of_date))
        for first in range(0, len(order), batch_dates):
            yield self.take(np.concatenate([rows_of_date[date] for date in order[first : first + batch_dates]]))

    def num_train_batches(self, batch_dates: int, batch_rows: int) -> int:
        """Return the number of batches in an epoch."""
        num_units, per_batch = (len(self), batch_rows) if self.dates is None else (
            len(np.unique(self.dates)),
            batch_dates,
        )  # fmt: skip
        return -(-num_units // per_batch)

    def predict_batches(self, whole_dates: bool) -> Iterator[Samples]:
        """All samples once: dates one by one (all rows at once without dates), or any rows."""
        if whole_dates:
            yield from (self.take(rows) for rows in self._rows_of_dates())
            return
        for first in range(0, len(self), ROWS_AT_ONCE):
            yield self.take(np.arange(first, min(first + ROWS_AT_ONCE, len(self))))

    def split_last(self, share: float) -> tuple[Samples, Samples]:
        """All but the last `share` of the dates, and these; without dates, of the rows as they stand."""
        units = np.arange(len(self)) if self.dates is None else self.dates
        known = np.unique(units)
        num_last = int(np.ceil(share * len(known)))
        if num_last >= len(known):
            raise ValueError(
                f"valid_share = {share}: leaves none of {len(known)} dates (rows, without dates) to train on"
            )
        last = units >= known[-num_last]
        return self.take(np.flatnonzero(~last)), self.take(np.flatnonzero(last))

    def _rows_of_dates(self) -> list[np.ndarray]:
        dates, code = np.unique(self.groups, return_inverse=True)
        order = np.argsort(code, kind="stable")
        return np.split(order, np.searchsorted(code[order], np.arange(1, len(dates))))


def quantile_edges(windows: np.ndarray, num_tokens: int) -> np.ndarray:
    """(F, num_tokens - 1) float32 inner quantiles of each feature over all bars; 0 for a feature without values."""
    if not 2 <= num_tokens <= MOST_TOKENS:
        raise ValueError(f"num_tokens = {num_tokens}: must be in [2, {MOST_TOKENS}]")
    levels = np.arange(1, num_tokens) / num_tokens
    edges = np.zeros((windows.shape[2], num_tokens - 1), np.float32)
    for feature in range(windows.shape[2]):
        values = windows[:, :, feature]
        known = values[np.isfinite(values)]
        if len(known):
            edges[feature] = np.quantile(known, levels)
    return edges


def quantile_tokens(windows: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Tokens 1 .. num_tokens by the quantile a value lies in, 0 = missing; the shape of `windows`, uint8."""
    tokens = np.zeros(windows.shape, np.uint8)
    for feature, inner in enumerate(edges):
        values = windows[:, :, feature]
        place = np.searchsorted(inner, values, side="right") + 1
        tokens[:, :, feature] = np.where(np.isnan(values), 0, place)
    return tokens
