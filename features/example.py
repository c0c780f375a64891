"""An example of features of your own: `tokenize.functions: {features/example.py: [momentum_250_20]}` computes it.

A function takes a panel and returns a number per bar, NaN where it is unknown. It is handed whole symbols, perhaps not
all of them, and may look at a symbol's own bars up to t only: tokenize holds it to that before it uses it.
docs/features.md says what a panel has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_data import Panel
from factor_data.history import bar_age, lagged


def momentum_250_20(panel: Panel) -> NDArray[np.float64]:
    """Return of the last 250 bars without the last 20: Jegadeesh & Titman (1993), J. Finance 48."""
    close, age = panel.adjusted("close"), bar_age(panel.symbol_code)
    return lagged(close, age, 20) / lagged(close, age, 250) - 1.0
