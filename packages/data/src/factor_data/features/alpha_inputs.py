"""What Alpha158 and Alpha360 share: their six columns, and filling a matrix by threads over symbols."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from factor_data.features.nested import Floats
from factor_data.panel.panel import Panel

# (open, high, low, close, volume, vwap, starts, result): fills the rows of the symbols in starts
Kernel = Callable[..., None]
CHUNK_ROWS = 100_000


def volume_weighted_price(panel: Panel) -> Floats:
    """Return the column `vwap`, or what stands for it in a panel without one; (num_rows,), in the bars' own units.

    With a column `amount` (money traded) it is `amount / volume`, NaN where no volume is known; both must be in
    the units of the price. Without either it is the mean of open, high, low and close.
    """
    if "vwap" in panel.columns:
        return panel.columns["vwap"]
    if "amount" in panel.columns:
        volume = panel.columns["volume"]
        return panel.columns["amount"] / np.where(volume > 0.0, volume, np.nan)
    open_, high, low, close = (panel.columns[name] for name in ("open", "high", "low", "close"))
    return (open_ + high + low + close) / 4.0


def adjusted_vwap(panel: Panel) -> Floats:
    """Return `volume_weighted_price` in adjusted units, (num_rows,)."""
    vwap = volume_weighted_price(panel)
    if "adj_close" not in panel.columns:
        return vwap
    return vwap * (panel.columns["adj_close"] / panel.columns["close"])


def alpha_columns(panel: Panel) -> tuple[Floats, ...]:
    """Return adjusted open, high, low, close, volume and vwap, each (num_rows,)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        prices = (panel.adjusted(name) for name in ("open", "high", "low", "close", "volume"))
        return (*prices, adjusted_vwap(panel))


def fill_by_symbol(panel: Panel, kernel: Kernel, num_features: int, threads: int | None) -> NDArray[np.float32]:
    """Return (num_rows, num_features) float32 that `kernel` filled, whole symbols per task.

    `threads` None: one per CPU. The result has the same bits for any number.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    columns, starts = alpha_columns(panel), panel.starts
    result = np.empty((panel.num_rows, num_features), dtype=np.float32)

    def fill(symbols: tuple[int, int]) -> None:
        own = starts[symbols[0] : symbols[1] + 1]
        rows = slice(own[0], own[-1])
        # Copies: contiguous, writable and finite or NaN, also where the panel is a memory map.
        pieces = [np.where(np.isfinite(column[rows]), column[rows], np.nan) for column in columns]
        kernel(*pieces, own - own[0], result[rows])

    with ThreadPoolExecutor(max_workers=threads or os.cpu_count()) as pool:
        list(pool.map(fill, symbol_chunks(starts)))
    return result


def symbol_chunks(starts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return ranges (first, last) of symbols that cover all, each of one symbol or at most `CHUNK_ROWS` rows."""
    chunks, first = [], 0
    for symbol in range(1, len(starts)):
        if starts[symbol] - starts[first] > CHUNK_ROWS and symbol - 1 > first:
            chunks.append((first, symbol - 1))
            first = symbol - 1
    if len(starts) - 1 > first:
        chunks.append((first, len(starts) - 1))
    return chunks
