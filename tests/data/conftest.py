"""Small panels that the tests of factor_data share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factor_data import MarketConfig, Panel, SimulatedMarket, simulate_market


def random_frame(num_symbols: int = 5, num_dates: int = 150, seed: int = 0, missing: float = 0.05) -> pd.DataFrame:
    """Bars with gaps, a late listing and adjusted closes that differ from the closes."""
    generator = np.random.default_rng(seed)
    dates = pd.bdate_range("2020-01-01", periods=num_dates)
    frames = []
    for number in range(num_symbols):
        close = 50 * np.exp(np.cumsum(generator.normal(0, 0.02, num_dates)))
        opened = close * np.exp(generator.normal(0, 0.01, num_dates))
        spread = np.exp(np.abs(generator.normal(0, 0.01, (2, num_dates))))
        frame = pd.DataFrame(
            {
                "timestamp": dates,
                "symbol": f"S{number}",
                "open": opened,
                "high": np.maximum(opened, close) * spread[0],
                "low": np.minimum(opened, close) / spread[1],
                "close": close,
                "volume": generator.integers(1_000, 100_000, num_dates).astype(float),
                "adj_close": close * np.where(np.arange(num_dates) < num_dates // 2, 0.5, 1.0),
            }
        )
        keep = generator.random(num_dates) >= missing
        keep[: number * 7] = False
        frames.append(frame[keep])
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    return random_frame()


@pytest.fixture(scope="session")
def panel(bars: pd.DataFrame) -> Panel:
    return Panel.from_frame(bars)


@pytest.fixture(scope="session")
def market() -> SimulatedMarket:
    return simulate_market(MarketConfig(symbols=60, bars=400, seed=3))
