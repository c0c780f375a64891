"""Alpha158 for blocks of rows: what `alpha158` runs in threads.

A block is up to `BLOCK` consecutive bars of one symbol. Its columns are copied into arrays with `PAD` earlier bars
in front, NaN where the symbol has none, so that every formula reads its lags without a special case and an incomplete
window comes out as NaN by itself. Formulas and names: `factor_data.features.alpha158_features`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from factor_data.features import alpha158_names as column
from factor_data.features.nested import (
    NUM_WINDOWS,
    WINDOWS,
    Floats,
    nested_maxima,
    nested_means,
    nested_products,
    nested_sums,
    nested_trends,
)
from factor_data.features.ratios import (
    correlation,
    over,
    part,
    place_in_range,
    r_squared,
    residual_over,
    std_over,
)
from factor_data.features.window_kernels import replace_sorted
from factor_data.kernel_cache import kernel

NUM_FEATURES = len(column.ALPHA158_NAMES)
BLOCK = 1024
PAD = WINDOWS[-1] + 1  # the oldest move of the longest window starts one bar before it
Block = NDArray[np.float32]  # (158, num_rows), one row per feature


@kernel(nogil=True, error_model="numpy")
def alpha158_rows(
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
    vwap: Floats,
    starts: NDArray[np.int64],
    result: NDArray[np.float32],
) -> None:
    """Fill `result` (num_rows, 158) for the symbols whose bars are `starts[s]:starts[s + 1]`."""
    features = np.empty((NUM_FEATURES, BLOCK + 32), dtype=np.float32)
    padded = np.empty((6, PAD + BLOCK))
    for symbol in range(len(starts) - 1):
        for first in range(starts[symbol], starts[symbol + 1], BLOCK):
            num_rows = min(BLOCK, starts[symbol + 1] - first)
            for place, values in enumerate((open_, high, low, close, volume, vwap)):
                _load(values, starts[symbol], first, padded[place, : PAD + num_rows])
            columns = padded[:, : PAD + num_rows]
            block = features[:, :num_rows]
            _bar_shape(columns[:, PAD:], block)
            _close_and_volume(columns[3], columns[4], block)
            _extremes(columns[1], columns[2], columns[3], block)
            _quantiles(columns[3], block)
            _rank(columns[3], block)
            _changes(columns[3], columns[4], block)
            _gains_and_losses(columns[3], block[column.SUMP : column.VMA])
            _gains_and_losses(columns[4], block[column.VSUMP :])
            _signs(columns[3], block[column.CNTP : column.SUMP])
            _store(block, result[first : first + num_rows])


@kernel(nogil=True)
def _load(values: Floats, symbol_start: int, first: int, padded: Floats) -> None:
    """Copy the block with `PAD` bars before it; what lies before the symbol is NaN."""
    for i in range(len(padded)):
        row = first - PAD + i
        padded[i] = values[row] if row >= symbol_start else np.nan


@kernel(nogil=True)
def _store(block: Block, result: NDArray[np.float32]) -> None:
    """Transpose in tiles that fit the cache; infinities become NaN."""
    for first in range(0, result.shape[0], 16):
        for row in range(first, min(first + 16, result.shape[0])):
            for name in range(result.shape[1]):
                value = block[name, row]
                result[row, name] = value if value - value == 0.0 else np.nan


@kernel(nogil=True, error_model="numpy")
def _bar_shape(columns: NDArray[np.float64], block: Block) -> None:
    """The nine KBAR features and the four prices over the close."""
    for row in range(block.shape[1]):
        o, high, low, c = columns[0, row], columns[1, row], columns[2, row], columns[3, row]
        spread = high - low
        upper, lower = high - max(o, c), min(o, c) - low
        block[0, row] = (c - o) / o
        block[1, row] = (high - low) / o
        block[2, row] = part(c - o, spread)
        block[3, row] = upper / o
        block[4, row] = part(upper, spread)
        block[5, row] = lower / o
        block[6, row] = part(lower, spread)
        block[7, row] = (2.0 * c - high - low) / o
        block[8, row] = part(2.0 * c - high - low, spread)
        block[9, row] = o / c
        block[10, row] = high / c
        block[11, row] = low / c
        block[12, row] = columns[5, row] / c


@kernel(nogil=True, error_model="numpy")
def _close_and_volume(close: Floats, volume: Floats, block: Block) -> None:
    """ROC MA STD BETA RSQR RESI of the close, CORR with log volume, VMA and VSTD."""
    log_volume, scale = np.empty(len(volume)), np.empty(len(volume))
    for i in range(len(volume)):
        log_volume[i] = math.log(volume[i] + 1.0)
        scale[i] = volume[i] if volume[i] != 0.0 else np.nan
    mean, log_mean, volume_mean = nested_means(close), nested_means(log_volume), nested_means(volume)
    squares = nested_products(close, close, mean, mean)
    log_squares = nested_products(log_volume, log_volume, log_mean, log_mean)
    products = nested_products(close, log_volume, mean, log_mean)
    volume_squares = nested_products(volume, volume, volume_mean, volume_mean)
    trends = nested_trends(close, mean)
    c = close[PAD:]
    for k in range(NUM_WINDOWS):
        window = WINDOWS[k]
        bars = window * (window * window - 1.0) / 12.0  # sum of squares of the bar numbers around their mean
        over(close[PAD - window :], c, 1.0, block[column.ROC + k])
        over(mean[k, PAD:], c, 1.0, block[column.MA + k])
        std_over(squares[k, PAD:], window, c, block[column.STD + k])
        over(trends[k, PAD:], c, 1.0 / bars, block[column.BETA + k])
        r_squared(trends[k, PAD:], squares[k, PAD:], bars, block[column.RSQR + k])
        residual_over(c, mean[k, PAD:], trends[k, PAD:], 0.5 * (window - 1) / bars, block[column.RESI + k])
        correlation(products[k, PAD:], squares[k, PAD:], log_squares[k, PAD:], block[column.CORR + k])
        over(volume_mean[k, PAD:], scale[PAD:], 1.0, block[column.VMA + k])
        std_over(volume_squares[k, PAD:], window, scale[PAD:], block[column.VSTD + k])


@kernel(nogil=True, error_model="numpy")
def _changes(close: Floats, volume: Floats, block: Block) -> None:
    """CORD: correlation of close ratio and log volume ratio; WVMA: spread of volume-weighted abs returns."""
    ratio, flow, weighted = np.full((3, len(close)), np.nan)
    for i in range(1, len(close)):
        ratio[i] = close[i] / close[i - 1]
        growth = math.log(volume[i] / volume[i - 1] + 1.0)
        flow[i] = growth if growth - growth == 0.0 else np.nan
        weighted[i] = abs(ratio[i] - 1.0) * volume[i]
    ratio_mean, flow_mean, weighted_mean = nested_means(ratio), nested_means(flow), nested_means(weighted)
    ratio_squares = nested_products(ratio, ratio, ratio_mean, ratio_mean)
    flow_squares = nested_products(flow, flow, flow_mean, flow_mean)
    products = nested_products(ratio, flow, ratio_mean, flow_mean)
    weighted_squares = nested_products(weighted, weighted, weighted_mean, weighted_mean)
    for k in range(NUM_WINDOWS):
        correlation(products[k, PAD:], ratio_squares[k, PAD:], flow_squares[k, PAD:], block[column.CORD + k])
        std_over(weighted_squares[k, PAD:], WINDOWS[k], weighted_mean[k, PAD:], block[column.WVMA + k])


@kernel(nogil=True, error_model="numpy")
def _extremes(high: Floats, low: Floats, close: Floats, block: Block) -> None:
    """MAX MIN RSV IMAX IMIN IMXD: extremes of high and low, and how many bars ago they were."""
    tops, top_lags = nested_maxima(high)
    depths, bottom_lags = nested_maxima(-low)
    c = close[PAD:]
    for k in range(NUM_WINDOWS):
        window = WINDOWS[k]
        top, depth, top_lag, bottom_lag = (
            tops[k, PAD:], depths[k, PAD:], top_lags[k, PAD:], bottom_lags[k, PAD:],
        )  # fmt: skip
        over(top, c, 1.0, block[column.MAX + k])
        over(depth, c, -1.0, block[column.MIN + k])
        place_in_range(c, top, depth, block[column.RSV + k])
        for row in range(len(c)):
            unknown_top, unknown_bottom = 0.0 * top[row], 0.0 * depth[row]  # NaN stays
            block[column.IMAX + k, row] = (window - top_lag[row]) / window + unknown_top
            block[column.IMIN + k, row] = (window - bottom_lag[row]) / window + unknown_bottom
            block[column.IMXD + k, row] = (bottom_lag[row] - top_lag[row]) / window + unknown_top + unknown_bottom


@kernel(nogil=True)
def _quantiles(close: Floats, block: Block) -> None:
    """QTLU and QTLD: linearly interpolated 80 % and 20 % quantiles, from one sorted array per window."""
    known = np.where(np.isnan(close), np.inf, close)  # no price is infinite here: fill_by_symbol
    for k in range(NUM_WINDOWS):
        window = WINDOWS[k]
        ordered = np.sort(known[PAD - window : PAD])
        upper, lower = 0.8 * (window - 1), 0.2 * (window - 1)
        above, below = int(upper), int(lower)
        high, small = ordered[above:], ordered[below:]
        for row in range(block.shape[1]):
            replace_sorted(ordered, known[PAD - window + row], known[PAD + row])
            last = close[PAD + row] if ordered[window - 1] < np.inf else np.nan
            block[column.QTLU + k, row] = (high[0] + (high[1] - high[0]) * (upper - above)) / last
            block[column.QTLD + k, row] = (small[0] + (small[1] - small[0]) * (lower - below)) / last


@kernel(nogil=True, error_model="numpy")
def _rank(close: Floats, block: Block) -> None:
    """RANK: average rank of the last close in the window over the number of bars."""
    c = close[PAD:]
    rank = np.full(len(c), 0.5)  # the last close ties with itself below: 1/2 + 1/2 is its own place
    first = 0
    for k in range(NUM_WINDOWS):
        for lag in range(first, WINDOWS[k]):
            _add_rank(close[PAD - lag : len(close) - lag], c, rank)
        first = WINDOWS[k]
        for row in range(len(c)):
            block[column.RANK + k, row] = rank[row] / WINDOWS[k]


@kernel(nogil=True)
def _add_rank(earlier: Floats, last: Floats, rank: Floats) -> None:
    """Add 1 where the earlier value is smaller, 1/2 where it is equal; NaN stays."""
    for i in range(len(rank)):
        tie = 0.5 if earlier[i] == last[i] else 0.0 * earlier[i]
        rank[i] += 1.0 if earlier[i] < last[i] else tie


@kernel(nogil=True, error_model="numpy")
def _gains_and_losses(values: Floats, block: Block) -> None:
    """SUMP, SUMN, SUMD, or their volume forms: the share of the path that went up, down, and the difference."""
    gain, loss = np.full((2, len(values)), np.nan)
    for i in range(1, len(values)):
        move = values[i] - values[i - 1]
        gain[i] = 0.0 if move < 0.0 else move
        loss[i] = 0.0 if move > 0.0 else -move
    gains, losses = nested_sums(gain), nested_sums(loss)
    for k in range(NUM_WINDOWS):
        for row in range(block.shape[1]):
            up, down = gains[k, PAD + row], losses[k, PAD + row]
            path = up + down
            block[k, row] = part(up, path)
            block[NUM_WINDOWS + k, row] = part(down, path)
            block[2 * NUM_WINDOWS + k, row] = part(up - down, path)


@kernel(nogil=True, error_model="numpy")
def _signs(close: Floats, block: Block) -> None:
    """CNTP, CNTN, CNTD: shares of bars that closed above, below the bar before, and the difference."""
    up, down = np.full((2, len(close)), np.nan)
    for i in range(1, len(close)):
        move = close[i] - close[i - 1]
        up[i] = 1.0 if move > 0.0 else 0.0 * move
        down[i] = 1.0 if move < 0.0 else 0.0 * move
    ups, downs = nested_sums(up), nested_sums(down)
    for k in range(NUM_WINDOWS):
        for row in range(block.shape[1]):
            rises, falls = ups[k, PAD + row], downs[k, PAD + row]
            block[k, row] = rises / WINDOWS[k]
            block[NUM_WINDOWS + k, row] = falls / WINDOWS[k]
            block[2 * NUM_WINDOWS + k, row] = (rises - falls) / WINDOWS[k]
