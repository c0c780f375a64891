"""What the graph of a K-line model reads: windows that were drawn at random, and those of the canary's date."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_models.kline import PathForecaster
from factor_models.kline.draws import date_seed, uniform_numbers
from factor_models.kline.predictor import STAMP_SIZES
from factor_serve.bundle import Bundle
from factor_serve.export.names import AHEAD, BARS, STAMPS, UNIFORM
from factor_serve.kline import path_windows
from factor_serve.rows import Rows

BATCHES = (1, 3, 200)
WITHOUT_VOLUME = 0.1
"""Share of random windows in which nothing was traded: columns of nothing have no scale."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Windows of one date."""

    bars: NDArray[np.float32]
    """(batch, lookback, 6) as they are."""
    stamps: NDArray[np.int64]
    """(batch, lookback, 5) the numbers of their stamps."""
    stamps_ahead: NDArray[np.int64]
    """(num_ahead, 5)"""
    seed: int
    """Decides the draws."""

    def feed(self, pair: PathForecaster) -> dict[str, NDArray]:
        """Return what a graph reads, in the order of its inputs."""
        numbers = uniform_numbers(self.seed, pair.num_ahead, pair.samples)
        return {BARS: self.bars, STAMPS: self.stamps, AHEAD: self.stamps_ahead, UNIFORM: numbers}


def random_windows(pair: PathForecaster) -> list[Windows]:
    """Return windows of several sizes: prices that go at random, from a ten-thousandth to ten thousand."""
    generator = np.random.default_rng(0)
    found = []
    for size in BATCHES:
        shape = (size, pair.lookback)
        start = 10.0 ** generator.uniform(-4.0, 4.0, (size, 1))
        close = start * np.exp(0.02 * generator.standard_normal(shape).cumsum(axis=1))
        opened = close * np.exp(0.01 * generator.standard_normal(shape))
        high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
        volume = 1e6 * np.exp(generator.standard_normal(shape))
        volume[generator.random(size) < WITHOUT_VOLUME] = 0.0
        bars = np.stack([opened, high, low, close, volume, volume * close], axis=2).astype(np.float32)
        found.append(
            Windows(
                bars=bars,
                stamps=_random_stamps(generator, shape),
                stamps_ahead=_random_stamps(generator, (pair.num_ahead,)),
                seed=int(generator.integers(2**63)),
            )
        )
    return found


def canary_windows(pair: PathForecaster, bundle: Bundle, rows: Rows) -> Windows:
    """Return what a member read on the canary's date."""
    code = len(rows.dates) - 1
    _, bars, stamps, ahead = path_windows(rows, code, pair.lookback, pair.num_ahead, bundle.train_dates)
    return Windows(bars=bars, stamps=stamps, stamps_ahead=ahead, seed=date_seed(pair.seed, rows.dates[code]))


def _random_stamps(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.stack([generator.integers(0, size, shape) for size in STAMP_SIZES.values()], axis=-1)
