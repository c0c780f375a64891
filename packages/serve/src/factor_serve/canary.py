"""The canary of a bundle: one date forecast again from what members read then, beside what they said then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import read_parquet
from factor_serve.bundle import Bundle
from factor_serve.forecasts import ALL, STACK, forecast_rows, known_models
from factor_serve.rows import Rows, load_rows

KEYS = ["model", "label", "symbol"]
TOLERANCE, STACK_TOLERANCE = 1e-4, 1e-2
"""Largest difference, in standard deviations of the date's forecasts, that rounding of another CPU may make; of the
stack more, since it is made of ranks, in which two symbols that all but tie may change places."""


@dataclass(frozen=True, kw_only=True)
class CanaryResult:
    """A model's forecasts of the canary beside those that were stored."""

    model: str
    num_forecasts: int
    num_missing: int
    """Symbols that only one of the two has."""
    same_bits: bool
    largest: float
    """Largest difference, in standard deviations of the label's stored forecasts."""

    @property
    def passed(self) -> bool:
        """Return whether they are the same up to rounding."""
        allowed = STACK_TOLERANCE if self.model == STACK else TOLERANCE
        return self.num_missing == 0 and self.largest <= allowed


def canary_rows(bundle: Bundle) -> Rows:
    """Return what the members read on the canary's date."""
    per_bar = bundle.vectoriser.config.documents_per_bar if bundle.vectoriser is not None else 0
    return load_rows(bundle.folder / "canary", per_bar)


def canary_forecasts(bundle: Bundle, rows: Rows) -> pd.DataFrame:
    """Return the forecasts of members and stack for the canary, now."""
    return forecast_rows(bundle, rows, np.array([len(rows.dates) - 1]), ALL)


def compare_canary(bundle: Bundle) -> tuple[CanaryResult, ...]:
    """Forecast the canary and compare it with what was stored, a result per model."""
    stored = read_parquet(bundle.folder / "canary" / "forecasts.parquet")
    now = canary_forecasts(bundle, canary_rows(bundle))
    both = stored.merge(now, on=KEYS, how="outer", suffixes=("_then", "_now"))
    scale = stored.groupby(["model", "label"])["prediction"].std(ddof=0)
    results = []
    for model in known_models(bundle):
        mine = both[both["model"] == model]
        then, again = (mine[f"prediction_{when}"].to_numpy(dtype=np.float64) for when in ("then", "now"))
        units = np.array([scale.get((model, label), 1.0) for label in mine["label"]])
        results.append(
            CanaryResult(
                model=model,
                num_forecasts=len(mine),
                num_missing=int((np.isnan(then) | np.isnan(again)).sum()),
                same_bits=bool(np.array_equal(then, again)),
                largest=_largest(then, again, units),
            )
        )
    return tuple(results)


def _largest(then: NDArray[np.float64], now: NDArray[np.float64], units: NDArray[np.float64]) -> float:
    difference = np.abs(then - now)
    known = np.isfinite(difference)
    if not known.any():
        return 0.0
    return float(np.max(difference[known] / np.where(units[known] > 0, units[known], 1.0)))


def spreads(forecasts: Any) -> Mapping[tuple[str, str], float]:
    """Standard deviation of the forecasts among symbols, by model and label."""
    found: dict[tuple[str, str], float] = {}
    for key, values in forecasts.groupby(["model", "label"])["prediction"]:
        model, label = key
        found[model, label] = float(values.std(ddof=0))
    return found
