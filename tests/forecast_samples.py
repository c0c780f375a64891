"""Random forecasts and the prices that they are traded at, for tests of books."""

from __future__ import annotations

import numpy as np


def market(
    seed: int = 0, num_dates: int = 40, num_symbols: int = 12, missing: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions and prices, (num_dates, num_symbols) each, and the dates; a share of the prices is missing."""
    generator = np.random.default_rng(seed)
    price = 50.0 * np.exp(np.cumsum(generator.normal(0.0, 0.02, size=(num_dates, num_symbols)), axis=0))
    prediction = generator.normal(size=(num_dates, num_symbols))
    price[generator.random(price.shape) < missing] = np.nan
    return prediction, price, np.arange(num_dates)
