"""Checks of a window dataset: arrays that belong together, possible rules, rows in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def check_lengths(features: NDArray, labels: NDArray | None, per_row: dict[str, NDArray | None]) -> None:
    """ValueError unless features, labels and what belongs to each row have the same number of rows."""
    if len(features.shape) != 2 or features.shape[1] < 1:
        raise ValueError(f"features must be (num_rows, num_features >= 1), got shape {features.shape}")
    num_rows = features.shape[0]
    if labels is not None and (labels.ndim != 2 or len(labels) != num_rows):
        raise ValueError(f"labels must be ({num_rows}, num_horizons), got shape {labels.shape}")
    for name, values in per_row.items():
        if values is not None and np.shape(values) != (num_rows,):
            raise ValueError(f"{name} must have the {num_rows} rows of features, got shape {np.shape(values)}")


def check_rules(lookback: int, max_missing: float, max_gap: int | None) -> None:
    """ValueError unless lookback, share of missing values and gap lie in their ranges."""
    if lookback < 1:
        raise ValueError(f"lookback must be at least 1 bar, got {lookback}")
    if not 0 <= max_missing <= 1:
        raise ValueError(f"max_missing must lie in [0, 1], got {max_missing}")
    if max_gap is not None and max_gap < 0:
        raise ValueError(f"max_gap must not be negative, got {max_gap}")


def check_weights(weights: NDArray, rows: NDArray[np.int64]) -> None:
    """ValueError unless the weights of `rows` are finite and not negative."""
    wrong = rows[~(np.isfinite(weights[rows]) & (weights[rows] >= 0))]
    if len(wrong):
        first = ", ".join(f"row {row} ({weights[row]})" for row in wrong[:3])
        raise ValueError(f"weights must be finite and not negative, are not in {len(wrong)} samples, first {first}")


def check_row_order(symbol_code: NDArray[np.integer], date_code: NDArray[np.integer]) -> None:
    """Refuse rows that are not sorted by (symbol, time): their windows would be no history of anything."""
    if np.any(symbol_code[1:] < symbol_code[:-1]):
        raise ValueError("symbol_code must be sorted: the rows of one symbol lie side by side")
    unsorted = np.flatnonzero((symbol_code[1:] == symbol_code[:-1]) & (date_code[1:] <= date_code[:-1])) + 1
    if len(unsorted):
        first = ", ".join(f"row {row} ({date_code[row - 1]} then {date_code[row]})" for row in unsorted[:3])
        raise ValueError(f"date_code must rise within each symbol, does not at {len(unsorted)} rows, first {first}")
