"""News, or no news at all: with `use_news=False` nothing is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.reading.news import read_news


def load_news(
    path: str | Path, *, use_news: bool, calendar: NDArray[np.datetime64] | None = None
) -> pd.DataFrame | None:
    """Return `read_news(path, calendar)`, or None without touching the path if `use_news` is False.

    ValueError if `use_news` is not a bool: the text "False" would count as true.
    """
    if not isinstance(use_news, bool):
        raise ValueError(f"use_news must be true or false, got {use_news!r} ({type(use_news).__name__})")
    return read_news(path, calendar) if use_news else None
